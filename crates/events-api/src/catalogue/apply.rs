//! `POST /v1/catalogue/apply`

use actix_web::{HttpResponse, web};
use api_types::words::StepAction;
use api_types::{ApplyPlan, ApplyRequest, ApplyStep, EventTypeRequest};
use model::access::Scope;
use model::catalogue::Saved;
use model::event_type::EventType;

use super::reasoning::apart;
use super::{Change, Changed, Plan, change, may_change, plan, wanted_type};
use crate::api::Api;
use crate::auth::Credentials;
use crate::event_types::check::shown;
use crate::incoming::Incoming;
use crate::openapi::parameters::Expected;
use crate::outgoing;
use crate::problem::{Faults, Problem};

/// The longest body, in bytes.
const LIMIT: usize = 16 * 1024 * 1024;

/// Makes many types and versions as they are to be, all or none. Types that
/// are not named stay. With `dry_run`, shows what would be done.
#[utoipa::path(post, path = "/v1/catalogue/apply", tag = "Event types", operation_id = "catalogue.apply",
    security(("api_key" = ["event_types:write"])),
    params(Expected),
    request_body = ApplyRequest,
    responses((status = 200, description = "What was done, or with `dry_run` would be.", body = ApplyPlan),
        (status = 409, description = "An endpoint would get nothing more of a type, or the catalogue was changed at the same moment.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesWrite).await?;
    may_change(&caller)?;
    incoming.expect_no_if_match()?;
    let wanted: ApplyRequest = incoming.text(&api, &caller, LIMIT).await?.parse()?;
    let changes = changes(&wanted.types)?;
    let project = caller.view().project;
    if wanted.dry_run {
        api.store.refresh().await?;
        let plan = apart(&api, move |api, reasoner| plan(api, project, &changes, reasoner)).await?;
        return Ok(outgoing::plain(&present(plan, false)));
    }
    match change(&api, &caller, changes, |_| Ok(None)).await? {
        Changed::Done(plan) => Ok(outgoing::plain(&present(plan, true))),
        Changed::Repeated(_) => Err(Problem::key_reused()),
    }
}

fn changes(types: &[EventTypeRequest]) -> Result<Vec<Change>, Problem> {
    let mut faults = Faults::default();
    let mut changes: Vec<Change> = Vec::with_capacity(types.len());
    for (place, request) in types.iter().enumerate() {
        let at = format!("/types/{place}");
        let wanted = wanted_type(&mut faults, &at, request);
        let name = request.name.as_deref().unwrap_or_default();
        let Some(name) = faults.check(&format!("{at}/name"), EventType::parse(name)) else { continue };
        if changes.iter().any(|other| other.name == name) {
            faults.add(format!("{at}/name"), "repeated", "appears twice in the request");
        }
        changes.push(Change { name, wanted, at, version_at: None });
    }
    faults.finish()?;
    Ok(changes)
}

fn present(plan: Plan, applied: bool) -> ApplyPlan {
    let warnings = plan.warnings();
    ApplyPlan {
        applied,
        steps: plan.saved.iter().flat_map(steps).collect(),
        errors: plan.faults.into_errors(),
        cut_off: plan.cut_off,
        warnings,
    }
}

fn steps(saved: &Saved) -> Vec<ApplyStep> {
    let entry = &saved.entry;
    let step = |action: StepAction, version: Option<u32>| ApplyStep {
        action: action.to_string(),
        event_type: entry.name.to_string(),
        version,
        relation: version
            .filter(|_| action == StepAction::Create)
            .and_then(|number| entry.version(number))
            .map(|version| version.relation.to_string()),
        breaks: version
            .and_then(|number| saved.breaks.get(&number))
            .map(|breaks| breaks.iter().cloned().map(shown).collect())
            .unwrap_or_default(),
    };
    let of_type = saved
        .type_changed
        .then(|| step(if saved.is_new { StepAction::Create } else { StepAction::Change }, None));
    let created = saved.created.iter().map(|number| step(StepAction::Create, Some(*number)));
    let changed = saved.changed.iter().map(|number| step(StepAction::Change, Some(*number)));
    of_type.into_iter().chain(created).chain(changed).collect()
}
