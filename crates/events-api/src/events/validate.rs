//! Whether the data of an event fits what the catalogue says of its type.

use api_types::Warning;
use delivery_log::publishing::Matched;
use model::catalogue::VersionStatus;
use model::event::ReadOnce;
use model::schema::Fault;

use super::resolve::ResolvedType;
use crate::problem::{Faults, Problem};

/// What was found in the data of an event.
#[derive(Default)]
pub(super) struct Findings {
    /// Where it does not fit; pointers into the request.
    pub(super) faults: Vec<Fault>,
    /// What the publisher should know.
    warnings: Vec<Warning>,
}

/// Compares data with the size and the schema that its type has.
///
/// # Errors
///
/// There is a schema, and the data is no JSON that it could be compared with.
pub(super) fn validate(resolved: &ResolvedType, data: &ReadOnce<'_>) -> Result<Findings, Problem> {
    let mut findings = Findings::default();
    let Some(entry) = &resolved.entry else { return Ok(findings) };
    let bytes = data.data().as_bytes().len();
    if let Some(budget) = entry.size_budget.filter(|budget| bytes > *budget as usize) {
        let detail = format!("has {bytes} bytes; {} should have at most {budget}", entry.name);
        findings.warn("/data", "over_budget", detail);
    }
    let Some(version) = resolved.declared_version() else { return Ok(findings) };
    if version.status == VersionStatus::Deprecated {
        let end = version.sunset_at.map(|at| format!(" and will be retired on {at}")).unwrap_or_default();
        findings.warn(
            "/schema_version",
            "deprecated_version",
            format!("version {} is deprecated{end}", version.number),
        );
    }
    let not_json = || Problem::invalid("/data", "invalid_json", "is not JSON");
    let value = data.value().ok_or_else(not_json)?;
    if let Err(faults) = version.schema.validate(value, bytes) {
        findings.faults = faults.into_iter().map(|fault| below_data(fault, "")).collect();
    }
    Ok(findings)
}

fn below_data(fault: Fault, before: &str) -> Fault {
    Fault { pointer: format!("/data{}", fault.pointer), detail: format!("{before}{}", fault.detail) }
}

impl Findings {
    fn warn(&mut self, pointer: &str, code: &str, detail: String) {
        self.warnings.push(Warning { pointer: pointer.to_owned(), code: code.to_owned(), detail });
    }

    /// Data that fits its own schema has to fit the older versions that endpoints
    /// are pinned to, too.
    pub(super) fn add_downgrades(&mut self, matched: &Matched) {
        if !self.faults.is_empty() {
            return;
        }
        for (version, faults) in matched.downgrade_faults() {
            let before = format!("in version {version}, which endpoints are pinned to: ");
            self.faults.extend(faults.iter().map(|fault| below_data(fault.clone(), &before)));
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
    pub(super) fn into_warnings(self) -> Vec<Warning> {
        let of_fault = |fault: Fault| Warning {
            pointer: fault.pointer,
            code: "schema".to_owned(),
            detail: fault.detail,
        };
        self.faults.into_iter().map(of_fault).chain(self.warnings).collect()
    }
}
