//! `GET /v1/event-types/{name}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{find, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::{Known, OfType};
use crate::outgoing;
use crate::problem::Problem;

/// Shows an event type.
#[utoipa::path(get, path = "/v1/event-types/{name}", tag = "Event types", operation_id = "eventTypes.get",
    security(("api_key" = ["event_types:read"])),
    params(OfType, Known),
    responses((status = 200, description = "The event type.", body = api_types::EventType)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesRead).await?;
    let entry = find(&api, &caller, &path).await?;
    Ok(outgoing::one(&present(&entry), entry.updated_at))
}
