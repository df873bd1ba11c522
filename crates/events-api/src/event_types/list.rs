//! `GET /v1/event-types`

use actix_web::{HttpResponse, web};
use api_types::EventTypes;
use model::access::Scope;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::outgoing;
use crate::problem::Problem;

/// Lists the event types of the catalogue, by their names.
#[utoipa::path(get, path = "/v1/event-types", tag = "Event types", operation_id = "eventTypes.list",
    security(("api_key" = ["event_types:read"])),
    responses((status = 200, description = "All event types.", body = EventTypes)))]
pub(crate) async fn handle(api: web::Data<Api>, credentials: Credentials) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesRead).await?;
    api.store.refresh().await?;
    let entries = api.store.configuration().event_types(caller.view().project);
    Ok(outgoing::plain(&EventTypes {
        data: entries.iter().map(|entry| present(entry)).collect(),
        next_cursor: None,
    }))
}
