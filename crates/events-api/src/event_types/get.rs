//! `GET /v1/event-types/{name}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{find, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::outgoing;
use crate::problem::Problem;

/// Shows an event type.
#[utoipa::path(get, path = "/v1/event-types/{name}", tag = "event types", params(("name" = String, Path)),
    responses((status = 200, body = api_types::EventType), (status = 404, body = api_types::Problem)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesRead).await?;
    let entry = find(&api, &caller, &path).await?;
    Ok(outgoing::one(&present(&entry), entry.updated_at))
}
