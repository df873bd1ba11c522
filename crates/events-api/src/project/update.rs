//! `PATCH /v1/project`

use actix_web::{HttpResponse, web};
use api_types::ProjectChange;
use delivery_log::access::Project;
use model::access::Scope;
use model::audit::Action;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::openapi::parameters::Expected;
use crate::outgoing;
use crate::problem::{Code, Faults, Problem, made};

/// Changes the settings of the project.
#[utoipa::path(patch, path = "/v1/project", tag = "Project", operation_id = "project.update",
    security(("api_key" = ["project:write"])),
    params(Expected),
    request_body = ProjectChange,
    responses((status = 200, description = "The project, changed.", body = api_types::Project)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::ProjectWrite).await?;
    if caller.view().tenant.is_some() {
        return Err(Problem::new(
            Code::Forbidden,
            "a key that is bound to a tenant cannot change the project",
        ));
    }
    let found = api.store.find_project(caller.view().project).await?;
    let before = found.ok_or_else(|| Problem::not_found("project"))?;
    incoming.check_if_match(before.updated_at)?;
    let change: ProjectChange = incoming.text(&api, &caller, BODY_LIMIT).await?.parse()?;
    let expected = before.updated_at;
    let entry = api.entry(&caller, Action::ProjectUpdated, &before.name).before(&present(&before));
    let after = changed(before, change, &api)?;
    made(api.store.update_project(&after, expected, entry.after(&present(&after))).await?)?;
    Ok(outgoing::one(&present(&after), after.updated_at))
}

fn changed(project: Project, change: ProjectChange, api: &Api) -> Result<Project, Problem> {
    let mut faults = Faults::default();
    let unknown_tenant = faults.word("/unknown_tenant", change.unknown_tenant);
    let days = change.retention_days.map(|days| match days {
        1..=365 => Ok(days),
        _ => Err("must be from 1 to 365"),
    });
    let days = days.and_then(|value| faults.check("/retention_days", value));
    let undeclared_types = faults.word("/undeclared_types", change.undeclared_types);
    let validation = faults.word("/validation", change.validation);
    faults.finish()?;
    Ok(Project {
        undeclared_types: undeclared_types.unwrap_or(project.undeclared_types),
        validation: validation.unwrap_or(project.validation),
        unknown_tenant: unknown_tenant.unwrap_or(project.unknown_tenant),
        retention_days: days.unwrap_or(project.retention_days),
        updated_at: api.change_time(project.updated_at),
        ..project
    })
}
