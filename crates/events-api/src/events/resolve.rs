//! What the names in a request stand for: the tenant, and the version of the type.

use std::sync::Arc;

use delivery_log::configuration::Configuration;
use model::audit::Action;
use model::catalogue::{EventTypeEntry, Version, VersionStatus};
use model::event_type::EventType;
use model::ids::{ProjectId, TenantId};
use model::names::TenantHandle;
use model::operations;
use model::project::{UndeclaredTypes, UnknownTenant};

use crate::api::Api;
use crate::auth::Caller;
use crate::problem::Problem;

/// The tenant of a name, made now if the project makes those that it does not know.
pub(super) async fn tenant(api: &Api, caller: &Caller, handle: &TenantHandle) -> Result<TenantId, Problem> {
    if let Some(tenant) = api.find_tenant(caller, handle).await? {
        return Ok(tenant.id);
    }
    let project = api.store.configuration().project(caller.view().project);
    let creates = project.is_some_and(|project| project.unknown_tenant == UnknownTenant::Create);
    if creates
        && caller.view().tenant.is_none()
        && !operations::is_reserved(handle)
        && let Some(tenant) = api
            .make_tenant(
                caller.view().project,
                handle,
                handle.as_str(),
                api.entry(caller, Action::TenantCreated, handle),
            )
            .await?
    {
        return Ok(tenant.id);
    }
    Err(unknown_tenant())
}

/// The problem of a publish for a tenant that is not there.
pub(super) fn unknown_tenant() -> Problem {
    Problem::invalid(
        "/tenant",
        "unknown_tenant",
        "is not a tenant of this project; create it with PUT /v1/tenants/{tenant}",
    )
}

/// The type of an event, and the version that it is published in.
pub(super) struct ResolvedType {
    /// None if it is not in the catalogue.
    pub(super) entry: Option<Arc<EventTypeEntry>>,
    /// The version.
    pub(super) version: u32,
}

impl ResolvedType {
    /// The version as the catalogue has it, if it has one.
    pub(super) fn declared_version(&self) -> Option<&Version> {
        self.entry.as_ref()?.version(self.version)
    }
}

/// The type of a name and the version that is wanted, or the newest.
///
/// # Errors
///
/// The project does not take types that are not in the catalogue, or the version
/// is not there or retired.
pub(super) async fn event_type(
    api: &Api,
    project: ProjectId,
    name: &EventType,
    wanted: Option<u32>,
) -> Result<ResolvedType, Problem> {
    let configuration = api.store.configuration();
    if let Ok(resolved) = known_type(configuration, project, name, wanted) {
        return Ok(resolved);
    }
    // What is not known here may just have been made by another process.
    api.store.refresh().await?;
    known_type(configuration, project, name, wanted)
}

fn known_type(
    configuration: &Configuration,
    project: ProjectId,
    name: &EventType,
    wanted: Option<u32>,
) -> Result<ResolvedType, Problem> {
    let Some(entry) = configuration.event_type(project, name) else {
        let project = configuration.project(project);
        if project.is_some_and(|project| project.undeclared_types == UndeclaredTypes::Reject) {
            let detail = "is not in the catalogue; add it with POST /v1/event-types";
            return Err(Problem::invalid("/type", "undeclared_type", detail));
        }
        return Ok(ResolvedType { entry: None, version: wanted.unwrap_or(1) });
    };
    let version = published_version(&entry, wanted)?;
    Ok(ResolvedType { entry: Some(entry), version })
}

/// The version that an event of a type is published in. A type without versions
/// has whatever version is named.
fn published_version(entry: &EventTypeEntry, wanted: Option<u32>) -> Result<u32, Problem> {
    let Some(newest) = entry.newest() else { return Ok(wanted.unwrap_or(1)) };
    let wanted = wanted.unwrap_or(newest.number);
    let refuse = |detail: String| Err(Problem::invalid("/schema_version", "invalid_value", detail));
    match entry.version(wanted) {
        None => refuse(format!("{} has no version {wanted}; the newest is {}", entry.name, newest.number)),
        Some(version) if version.status == VersionStatus::Retired => refuse(format!(
            "version {wanted} of {} is retired; publish version {}",
            entry.name, newest.number
        )),
        Some(_) => Ok(wanted),
    }
}
