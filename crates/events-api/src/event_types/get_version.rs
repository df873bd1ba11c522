//! `GET /v1/event-types/{name}/versions/{version}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{find_version, missing_version, present_version};
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::{Known, OfVersion};
use crate::outgoing;
use crate::problem::Problem;

/// Shows a version of an event type.
#[utoipa::path(get, path = "/v1/event-types/{name}/versions/{version}", tag = "Event types", operation_id = "eventTypes.getVersion",
    security(("api_key" = ["event_types:read"])),
    params(OfVersion, Known),
    responses((status = 200, description = "The version.", body = api_types::Version)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesRead).await?;
    let (entry, number) = find_version(&api, &caller, &path).await?;
    let version = entry.version(number).ok_or_else(missing_version)?;
    Ok(outgoing::one(&present_version(&entry, version), version.updated_at))
}
