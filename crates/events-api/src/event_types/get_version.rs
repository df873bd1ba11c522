//! `GET /v1/event-types/{name}/versions/{version}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{find_version, missing_version, present_version};
use crate::api::Api;
use crate::auth::Credentials;
use crate::outgoing;
use crate::problem::Problem;

/// Shows a version of an event type.
#[utoipa::path(get, path = "/v1/event-types/{name}/versions/{version}", tag = "event types",
    params(("name" = String, Path), ("version" = u32, Path)),
    responses((status = 200, body = api_types::Version), (status = 404, body = api_types::Problem)))]
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
