//! Event types and the versions of their schemas.

pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod create_version;
pub(crate) mod delete;
pub(crate) mod dependents;
pub(crate) mod get;
pub(crate) mod get_version;
pub(crate) mod list;
pub(crate) mod list_versions;
pub(crate) mod preview;
pub(crate) mod update;
pub(crate) mod update_version;

use std::sync::Arc;

use api_types::VersionSummary;
use model::catalogue::{EventTypeEntry, Version};
use model::event_type::EventType;
use serde_json::value::RawValue;

use crate::api::Api;
use crate::auth::Caller;
use crate::problem::Problem;

fn present(entry: &EventTypeEntry) -> api_types::EventType {
    api_types::EventType {
        name: entry.name.to_string(),
        description: entry.description.clone(),
        size_budget_bytes: entry.size_budget,
        newest_version: entry.newest().map(|version| version.number),
        versions: entry.versions.iter().map(summary).collect(),
        warnings: Vec::new(),
        created_at: entry.created_at,
        updated_at: entry.updated_at,
    }
}

fn summary(version: &Version) -> VersionSummary {
    VersionSummary {
        number: version.number,
        status: version.status.to_string(),
        relation: version.relation.to_string(),
        sunset_at: version.sunset_at,
    }
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("it was JSON when it was saved")
}

fn present_version(entry: &EventTypeEntry, version: &Version) -> api_types::Version {
    api_types::Version {
        event_type: entry.name.to_string(),
        number: version.number,
        schema: raw(version.schema.text()),
        example: version.example.as_deref().map(raw),
        changelog: version.changelog.clone(),
        status: version.status.to_string(),
        deprecated_at: version.deprecated_at,
        sunset_at: version.sunset_at,
        successor: version.successor,
        downgrade: version.downgrade.as_ref().map(|downgrade| downgrade.source().clone()),
        relation: version.relation.to_string(),
        warnings: Vec::new(),
        created_at: version.created_at,
        updated_at: version.updated_at,
    }
}

/// The type in a path.
async fn find(api: &Api, caller: &Caller, name: &str) -> Result<Arc<EventTypeEntry>, Problem> {
    let missing = || Problem::not_found("event type");
    let name = EventType::parse(name).map_err(|_| missing())?;
    api.store.refresh().await?;
    api.store.configuration().event_type(caller.view().project, &name).ok_or_else(missing)
}

fn missing_version() -> Problem {
    Problem::not_found("version of this event type")
}

/// The type and the number of the version in a path.
async fn find_version(
    api: &Api,
    caller: &Caller,
    path: &(String, String),
) -> Result<(Arc<EventTypeEntry>, u32), Problem> {
    let entry = find(api, caller, &path.0).await?;
    let number = path.1.parse().map_err(|_| missing_version())?;
    entry.version(number).ok_or_else(missing_version)?;
    Ok((entry, number))
}
