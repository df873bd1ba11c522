//! `GET /v1/quarantine/{id}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{find, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::{Known, OfQuarantined};
use crate::outgoing;
use crate::problem::Problem;

/// Shows an event in quarantine.
#[utoipa::path(get, path = "/v1/quarantine/{id}", tag = "Quarantine", operation_id = "quarantine.get",
    security(("api_key" = ["events:read"])),
    params(OfQuarantined, Known),
    responses((status = 200, description = "The event.", body = api_types::QuarantinedEvent)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsRead).await?;
    let one = find(&api, &caller, &path).await?;
    api.note_payload_read(&caller);
    Ok(outgoing::one(&present(&api, &caller, &one), one.updated_at))
}
