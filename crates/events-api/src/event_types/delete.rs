//! `DELETE /v1/event-types/{name}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::find;
use crate::api::Api;
use crate::auth::Credentials;
use crate::catalogue::{may_change, remove};
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, OfType};
use crate::outgoing;
use crate::problem::Problem;

/// Removes an event type with its versions, unless an endpoint names it.
/// Events of it that were published stay as they are.
#[utoipa::path(delete, path = "/v1/event-types/{name}", tag = "Event types", operation_id = "eventTypes.delete",
    security(("api_key" = ["event_types:write"])),
    params(OfType, Expected),
    responses((status = 204, description = "It is gone."),
        (status = 409, description = "An endpoint names it.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesWrite).await?;
    may_change(&caller)?;
    let entry = find(&api, &caller, &path).await?;
    remove(&api, &caller, &entry.name, &incoming).await?;
    Ok(outgoing::nothing())
}
