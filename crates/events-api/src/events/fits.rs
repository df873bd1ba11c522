//! Whether the data of an event fits what the catalogue says of its type.

use std::sync::Arc;

use api_types::Warning;
use model::catalogue::{EventTypeEntry, Version, VersionStatus};
use model::event::{EventData, OlderData};
use model::event_type::EventType;
use model::ids::{ProjectId, TenantId};
use model::project::UndeclaredTypes;
use model::schema::Fault;

use crate::api::Api;
use crate::problem::{Faults, Problem};

/// What is known of the data of an event.
pub(super) struct Fitting {
    /// The version that it is published in.
    pub(super) version: u32,
    /// Where it does not fit; pointers into the request.
    pub(super) faults: Vec<Fault>,
    /// The data in the older versions that endpoints of the tenant are pinned to.
    pub(super) older: OlderData,
    /// What the publisher should know.
    pub(super) warnings: Vec<Warning>,
}

/// Compares data with the schema of its type, and gives it in the versions
/// that endpoints of the tenant want.
pub(super) fn fit(
    api: &Api,
    (project, tenant): (ProjectId, TenantId),
    event_type: &EventType,
    wanted: Option<u32>,
    data: &EventData,
) -> Result<Fitting, Problem> {
    let configuration = api.store.configuration();
    let plain =
        |version| Fitting { version, faults: Vec::new(), older: OlderData::default(), warnings: Vec::new() };
    let Some(entry) = configuration.event_type(project, event_type) else {
        let project = configuration.project(project);
        if project.is_some_and(|project| project.undeclared_types == UndeclaredTypes::Reject) {
            let detail = "is not in the catalogue; add it with POST /v1/event-types";
            return Err(Problem::invalid("/type", "undeclared_type", detail));
        }
        return Ok(plain(wanted.unwrap_or(1)));
    };
    let version = published_version(&entry, wanted)?;
    let mut fitting = plain(version.map_or(wanted.unwrap_or(1), |version| version.number));
    let bytes = data.as_bytes().len();
    if let Some(budget) = entry.size_budget.filter(|budget| bytes > *budget as usize) {
        let detail = format!("has {bytes} bytes; {event_type} should have at most {budget}");
        fitting.warn("/data", "over_budget", detail);
    }
    let Some(version) = version else { return Ok(fitting) };
    if version.status == VersionStatus::Deprecated {
        let end = version.sunset_at.map(|at| format!(" and goes at {at}")).unwrap_or_default();
        fitting.warn(
            "/schema_version",
            "deprecated_version",
            format!("version {} is deprecated{end}", version.number),
        );
    }
    let not_json = || Problem::invalid("/data", "invalid_json", "is not JSON");
    let value = data.to_value().ok_or_else(not_json)?;
    if let Err(faults) = version.schema.validate(&value, bytes) {
        fitting.faults = faults.into_iter().map(|fault| below_data(fault, "")).collect();
        return Ok(fitting);
    }
    fitting.give_older(api, tenant, &entry, data);
    Ok(fitting)
}

/// The version that an event is published in. `None` if the type has none.
fn published_version(entry: &Arc<EventTypeEntry>, wanted: Option<u32>) -> Result<Option<&Version>, Problem> {
    let newest = entry.newest();
    let Some(wanted) = wanted else { return Ok(newest) };
    let refuse = |detail: String| Err(Problem::invalid("/schema_version", "invalid_value", detail));
    let Some(newest) = newest else { return Ok(None) };
    match entry.version(wanted) {
        None => refuse(format!("{} has no version {wanted}; the newest is {}", entry.name, newest.number)),
        Some(version) if version.status == VersionStatus::Retired => refuse(format!(
            "version {wanted} of {} is retired; publish version {}",
            entry.name, newest.number
        )),
        found => Ok(found),
    }
}

fn below_data(fault: Fault, before: &str) -> Fault {
    Fault { pointer: format!("/data{}", fault.pointer), detail: format!("{before}{}", fault.detail) }
}

impl Fitting {
    fn warn(&mut self, pointer: &str, code: &str, detail: String) {
        self.warnings.push(Warning { pointer: pointer.to_owned(), code: code.to_owned(), detail });
    }

    fn give_older(&mut self, api: &Api, tenant: TenantId, entry: &EventTypeEntry, data: &EventData) {
        let Ok(text) = std::str::from_utf8(data.as_bytes()) else { return };
        for live in api.store.configuration().endpoints_of(tenant).unwrap_or_default() {
            let wanted = live.endpoint.wants(Some(entry), &entry.name, self.version);
            let Ok(version) = wanted else { continue };
            if version == self.version || self.older.get(version).is_some() {
                continue;
            }
            match entry.downgraded(text, self.version, version) {
                Ok(text) => self.older.add(version, text),
                Err(faults) => {
                    let before = format!("in version {version}, which endpoints are pinned to: ");
                    self.faults.extend(faults.into_iter().map(|fault| below_data(fault, &before)));
                    return;
                }
            }
        }
    }

    /// What is wrong, as a problem.
    pub(super) fn problem(&self) -> Problem {
        let mut faults = Faults::default();
        for fault in &self.faults {
            faults.add(fault.pointer.clone(), "schema", &fault.detail);
        }
        faults.into()
    }

    /// What is wrong, as warnings, with those that there were.
    pub(super) fn all_warnings(&self) -> Vec<Warning> {
        let of_faults = self.faults.iter().map(|fault| Warning {
            pointer: fault.pointer.clone(),
            code: "schema".to_owned(),
            detail: fault.detail.clone(),
        });
        of_faults.chain(self.warnings.iter().cloned()).collect()
    }
}
