//! Changes of the catalogue: what they would do, and doing it.

pub(crate) mod apply;
pub(crate) mod openapi;
pub(crate) mod reasoning;

use std::sync::Arc;

use actix_web::{HttpResponse, web};

use api_types::{CutOff, EventTypeRequest, VersionRequest, Warning};
use delivery_log::Edited;
use delivery_log::catalogue::pinned_to;
use delivery_log::idempotency::{Once, Performed};
use model::audit::{Action, Entry};
use model::catalogue::{EventTypeEntry, MAX_TYPES, Saved, VersionStatus, WantedSchema, WantedType, save};
use model::event_type::EventType;
use model::ids::ProjectId;
use model::schema::{Fault, Reasoner};

use serde_json::json;

use crate::api::Api;
use crate::auth::Caller;
use crate::incoming::Incoming;
use crate::once::Prepared;
use crate::outgoing;
use crate::problem::{Code, Faults, Problem};
use reasoning::apart;

/// How often a change is checked again because something else changed meanwhile.
const ATTEMPTS: usize = 10;

/// A change of a type, with the pointer to where it stands in the request.
pub(crate) struct Change {
    pub(crate) name: EventType,
    pub(crate) wanted: WantedType,
    /// Where the type stands.
    pub(crate) at: String,
    /// Where its only version stands, if the request is about one alone.
    pub(crate) version_at: Option<String>,
}

/// What a change would do.
pub(crate) struct Plan {
    /// The version of the configuration that it was checked against.
    checked_at: i64,
    /// The types that change, as they will be.
    pub(crate) saved: Vec<Saved>,
    /// What stands in the way.
    pub(crate) faults: Faults,
    /// Endpoints that would get nothing more.
    pub(crate) cut_off: Vec<CutOff>,
}

impl Plan {
    /// The only type that changes.
    pub(crate) fn entry(&self) -> Result<&EventTypeEntry, Problem> {
        let only = self.saved.first().map(|saved| &saved.entry);
        only.ok_or_else(|| Problem::new(Code::Conflict, "nothing to change"))
    }

    /// What could not be told, or could be better.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        self.saved.iter().flat_map(|saved| warnings(&saved.warnings)).collect()
    }

    /// The plan, if nothing stands in its way.
    pub(crate) fn accepted(self) -> Result<Self, Problem> {
        let Self { faults, cut_off, .. } = &self;
        if !faults.is_empty() {
            return Err(self.faults.into());
        }
        if !cut_off.is_empty() {
            return Err(cut_off_problem(cut_off));
        }
        Ok(self)
    }
}

fn warnings(found: &[Fault]) -> Vec<Warning> {
    let warning = |one: &Fault| Warning {
        pointer: one.pointer.clone(),
        code: "not_told".to_owned(),
        detail: one.detail.clone(),
    };
    found.iter().map(warning).collect()
}

fn cut_off_problem(cut_off: &[CutOff]) -> Problem {
    let mut faults = Faults::default();
    for one in cut_off {
        let CutOff { tenant, endpoint, event_type, version } = one;
        let detail = format!("endpoint {endpoint} of tenant {tenant} is pinned to {event_type}@{version}");
        faults.add("", "cut_off", detail);
    }
    let detail = "endpoints would get nothing more; give the new version a downgrade, or let them move first";
    faults.with(Code::Conflict, detail)
}

/// The catalogue belongs to the project; a key that is bound to a tenant reads it only.
pub(crate) fn may_change(caller: &Caller) -> Result<(), Problem> {
    match caller.view().tenant {
        None => Ok(()),
        Some(_) => {
            let detail = "a key that is bound to a tenant cannot change the catalogue";
            Err(Problem::new(Code::Forbidden, detail))
        }
    }
}

/// Checks changes against the catalogue and the endpoints as they are known now.
pub(crate) fn plan(api: &Api, project: ProjectId, changes: &[Change], reasoner: &dyn Reasoner) -> Plan {
    let configuration = api.store.configuration();
    let mut plan = Plan {
        checked_at: configuration.version(),
        saved: Vec::new(),
        faults: Faults::default(),
        cut_off: Vec::new(),
    };
    let now = api.now();
    let known = configuration.event_types(project);
    let new = changes.iter().filter(|change| !known.iter().any(|entry| entry.name == change.name)).count();
    if known.len() + new > MAX_TYPES {
        plan.faults.add("", "too_many", format!("a project can have at most {MAX_TYPES} event types"));
    }
    for change in changes {
        let before = known.iter().find(|entry| entry.name == change.name);
        match save((project, &change.name), before.map(Arc::as_ref), &change.wanted, now, reasoner) {
            Ok(saved) => {
                if saved.type_changed || !saved.created.is_empty() || !saved.changed.is_empty() {
                    plan.cut_off.extend(cut_off(api, before.map(Arc::as_ref), &saved.entry));
                    plan.saved.push(saved);
                }
            }
            Err(found) => {
                for fault in found {
                    let pointer = match (&change.version_at, fault.pointer.strip_prefix("/versions/0")) {
                        (Some(at), Some(rest)) => format!("{at}{rest}"),
                        _ => format!("{}{}", change.at, fault.pointer),
                    };
                    plan.faults.add(pointer, "invalid_value", fault.detail);
                }
            }
        }
    }
    plan
}

/// The endpoints that got what was newest, and would not any more.
fn cut_off(api: &Api, before: Option<&EventTypeEntry>, after: &EventTypeEntry) -> Vec<CutOff> {
    let Some(before) = before else { return Vec::new() };
    let (Some(old), Some(new)) = (before.newest(), after.newest()) else { return Vec::new() };
    let configuration = api.store.configuration();
    let mut cut_off = Vec::new();
    for live in configuration.endpoints_in(after.project) {
        let endpoint = &live.endpoint;
        let wanted = |entry, version| {
            model::catalogue::wants(&endpoint.subscriptions, Some(entry), &after.name, version)
        };
        if let (Ok(version), Err(_)) = (wanted(before, old.number), wanted(after, new.number)) {
            let tenant = configuration.tenant_by_id(endpoint.tenant);
            cut_off.push(CutOff {
                tenant: tenant.map(|tenant| tenant.handle.to_string()).unwrap_or_default(),
                endpoint: endpoint.id.to_string(),
                event_type: after.name.to_string(),
                version,
            });
        }
    }
    cut_off.sort_by(|one, other| one.endpoint.cmp(&other.endpoint));
    cut_off
}

/// What came of a change.
pub(crate) enum Changed {
    /// It is so now.
    Done(Plan),
    /// The request was done before, or its key was used for another.
    Repeated(Performed<Edited>),
}

/// Makes changes, checked against what is there when they are made. `once` is
/// made from the plan.
pub(crate) async fn change(
    api: &web::Data<Api>,
    caller: &Caller,
    changes: Vec<Change>,
    once: impl Fn(&Plan) -> Result<Option<Once>, Problem>,
) -> Result<Changed, Problem> {
    let (changes, project): (Arc<[Change]>, _) = (changes.into(), caller.view().project);
    for _ in 0..ATTEMPTS {
        api.store.refresh().await?;
        let changes = Arc::clone(&changes);
        let plan = apart(api, move |api, reasoner| plan(api, project, &changes, reasoner)).await?;
        let plan = plan.accepted()?;
        let entries: Vec<EventTypeEntry> = plan.saved.iter().map(|saved| saved.entry.clone()).collect();
        let entry = saved(api, caller, &entries);
        match api.store.save_event_types(&entries, plan.checked_at, once(&plan)?, entry).await? {
            Performed::First(Edited::Done) => return Ok(Changed::Done(plan)),
            Performed::First(Edited::Outdated) => {}
            repeated => return Ok(Changed::Repeated(repeated)),
        }
    }
    Err(Problem::new(Code::Unavailable, "the configuration is changing too often; try again"))
}

/// What the audit log is to say of event types that are saved: their versions, and
/// not the schemas, which may be large.
fn saved(api: &Api, caller: &Caller, entries: &[EventTypeEntry]) -> Entry {
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let target = match names.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("{} event types", many.len()),
    };
    let types = entries.iter().map(|entry| {
        let versions = entry.versions.iter();
        let versions =
            versions.map(|version| json!({ "number": version.number, "status": version.status.to_string() }));
        json!({ "name": entry.name.as_str(), "versions": versions.collect::<Vec<_>>() })
    });
    api.entry(caller, Action::CatalogueUpdated, target).after(&types.collect::<Vec<_>>())
}

/// Makes one change, whose answer is kept for repetitions of the request.
pub(crate) async fn change_once(
    api: &web::Data<Api>,
    caller: &Caller,
    wanted: Change,
    prepare: impl Fn(&Plan) -> Result<Prepared, Problem>,
) -> Result<HttpResponse, Problem> {
    match change(api, caller, vec![wanted], |plan| Ok(prepare(plan)?.once())).await? {
        Changed::Done(plan) => prepare(&plan)?.settle(Performed::First(()), Ok),
        Changed::Repeated(Performed::Repeated(answer)) => Ok(outgoing::kept(answer, true, None)),
        Changed::Repeated(_) => Err(Problem::key_reused()),
    }
}

/// Removes a type, checked against what is there when it is removed.
pub(crate) async fn remove(
    api: &Api,
    caller: &Caller,
    name: &EventType,
    incoming: &Incoming,
) -> Result<(), Problem> {
    let project = caller.view().project;
    for _ in 0..ATTEMPTS {
        api.store.refresh().await?;
        let configuration = api.store.configuration();
        let checked_at = configuration.version();
        let entry =
            configuration.event_type(project, name).ok_or_else(|| Problem::not_found("event type"))?;
        incoming.check_if_match(entry.updated_at)?;
        let endpoints = configuration.endpoints_in(project);
        let named = |live: &&Arc<delivery_log::configuration::LiveEndpoint>| {
            live.endpoint.subscriptions.iter().any(|one| one.is_exact() && one.selects(name))
        };
        let users = endpoints.iter().filter(named).count();
        if users > 0 {
            let detail = format!("{users} endpoints name this event type; they have to let go of it first");
            return Err(Problem::new(Code::Conflict, detail));
        }
        let newest = entry.newest().map(|newest| newest.number);
        let older = entry.versions.iter().filter(|version| Some(version.number) != newest);
        let pinned: usize = older.map(|version| pinned_to(configuration, &entry, version.number).len()).sum();
        if pinned > 0 {
            let detail =
                format!("{pinned} endpoints are pinned to older versions, and would get the newest one");
            return Err(Problem::new(Code::Conflict, detail));
        }
        let audit = api.entry(caller, Action::EventTypeDeleted, name.as_str());
        if api.store.remove_event_type(project, name, checked_at, audit).await? == Edited::Done {
            return Ok(());
        }
    }
    Err(Problem::new(Code::Unavailable, "the configuration is changing too often; try again"))
}

/// A type as a request wants it.
pub(crate) fn wanted_type(faults: &mut Faults, at: &str, request: &EventTypeRequest) -> WantedType {
    let versions = request.versions.iter().enumerate();
    WantedType {
        description: request.description.clone(),
        size_budget: request.size_budget_bytes,
        versions: versions
            .map(|(place, version)| wanted_version(faults, &format!("{at}/versions/{place}"), version))
            .collect(),
    }
}

/// A version as a request wants it.
pub(crate) fn wanted_version(faults: &mut Faults, at: &str, request: &VersionRequest) -> WantedSchema {
    let status = request
        .status
        .as_deref()
        .map(|text| text.parse::<VersionStatus>().map_err(|_| "must be active, deprecated or retired"));
    let text_or_null = |raw: &serde_json::value::RawValue| match raw.get() {
        "null" => None,
        text => Some(text.to_owned()),
    };
    WantedSchema {
        number: request.number,
        schema: request.schema.as_ref().map(|raw| raw.get().to_owned()),
        example: request.example.as_deref().map(text_or_null),
        changelog: request.changelog.clone(),
        status: status.and_then(|status| faults.check(&format!("{at}/status"), status)),
        sunset_at: request.sunset_at,
        downgrade: request.downgrade.as_ref().map(|value| (!value.is_null()).then(|| value.clone())),
    }
}
