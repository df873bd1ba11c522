//! `POST /v1/project/pause` and `/resume`

use actix_web::{HttpResponse, web};
use model::access::Scope;
use model::audit::Action;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::Expected;
use crate::outgoing;
use crate::problem::{Code, Problem};

/// Holds everything that waits for the project's endpoints, until it is resumed.
#[utoipa::path(post, path = "/v1/project/pause", tag = "Project", operation_id = "project.pause",
    security(("api_key" = ["project:write"])),
    params(Expected),
    responses((status = 200, description = "The project, paused.", body = api_types::Project)))]
pub(crate) async fn pause(
    api: web::Data<Api>,
    credentials: Credentials,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    set(&api, credentials, &incoming, true).await
}

/// Lets go what was held by a pause of the project.
#[utoipa::path(post, path = "/v1/project/resume", tag = "Project", operation_id = "project.resume",
    security(("api_key" = ["project:write"])),
    params(Expected),
    responses((status = 200, description = "The project, going on.", body = api_types::Project)))]
pub(crate) async fn resume(
    api: web::Data<Api>,
    credentials: Credentials,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    set(&api, credentials, &incoming, false).await
}

async fn set(
    api: &Api,
    credentials: Credentials,
    incoming: &Incoming,
    paused: bool,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::ProjectWrite).await?;
    if caller.view().tenant.is_some() {
        return Err(Problem::new(
            Code::Forbidden,
            "a key that is bound to a tenant cannot pause the project",
        ));
    }
    let found = api.store.find_project(caller.view().project).await?;
    let before = found.ok_or_else(|| Problem::not_found("project"))?;
    incoming.check_if_match(before.updated_at)?;
    let action = if paused { Action::ProjectPaused } else { Action::ProjectResumed };
    let entry = api.entry(&caller, action, &before.name);
    let after = api.store.pause_project(caller.view().project, paused, entry).await?;
    let after = after.ok_or_else(|| Problem::not_found("project"))?;
    Ok(outgoing::one(&present(&after), after.updated_at))
}
