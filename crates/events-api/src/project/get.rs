//! `GET /v1/project`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::Known;
use crate::outgoing;
use crate::problem::Problem;

/// Shows the settings of the project.
#[utoipa::path(get, path = "/v1/project", tag = "Project", operation_id = "project.get",
    security(("api_key" = ["events:read"])),
    params(Known),
    responses((status = 200, description = "The project.", body = api_types::Project)))]
pub(crate) async fn handle(api: web::Data<Api>, credentials: Credentials) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsRead).await?;
    let found = api.store.find_project(caller.view().project).await?;
    let project = found.ok_or_else(|| Problem::not_found("project"))?;
    Ok(outgoing::one(&present(&project), project.updated_at))
}
