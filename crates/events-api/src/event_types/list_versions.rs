//! `GET /v1/event-types/{name}/versions`

use actix_web::{HttpResponse, web};
use api_types::Versions;
use model::access::Scope;

use super::{find, present_version};
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::OfType;
use crate::outgoing;
use crate::problem::Problem;

/// Lists the versions of an event type with their schemas, from the first on.
#[utoipa::path(get, path = "/v1/event-types/{name}/versions", tag = "Event types", operation_id = "eventTypes.listVersions",
    security(("api_key" = ["event_types:read"])),
    params(OfType),
    responses((status = 200, description = "All versions.", body = Versions)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesRead).await?;
    let entry = find(&api, &caller, &path).await?;
    let data = entry.versions.iter().map(|version| present_version(&entry, version)).collect();
    Ok(outgoing::plain(&Versions { data, next_cursor: None }))
}
