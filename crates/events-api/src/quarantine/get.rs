//! `GET /v1/quarantine/{id}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{find, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::outgoing;
use crate::problem::Problem;

/// Shows an event in quarantine.
#[utoipa::path(get, path = "/v1/quarantine/{id}", tag = "quarantine", params(("id" = String, Path)),
    responses((status = 200, body = api_types::QuarantinedEvent), (status = 404, body = api_types::Problem)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsRead).await?;
    let one = find(&api, &caller, &path).await?;
    Ok(outgoing::one(&present(&api, &caller, &one), one.updated_at))
}
