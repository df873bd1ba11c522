//! `PATCH /v1/event-types/{name}/versions/{version}`

use actix_web::{HttpResponse, web};
use api_types::VersionRequest;
use model::access::Scope;
use model::catalogue::{WantedSchema, WantedType};

use super::{find_version, missing_version, present_version};
use crate::api::Api;
use crate::auth::Credentials;
use crate::catalogue::{Change, Changed, Plan, change, may_change, wanted_version};
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::openapi::parameters::{Expected, OfVersion};
use crate::outgoing;
use crate::problem::{Faults, Problem};

/// Changes a version: its schema compatibly, its words, its downgrade, or how
/// it stands.
#[utoipa::path(patch, path = "/v1/event-types/{name}/versions/{version}", tag = "Event types", operation_id = "eventTypes.updateVersion",
    security(("api_key" = ["event_types:write"])),
    params(OfVersion, Expected),
    request_body = VersionRequest,
    responses((status = 200, description = "The version, changed.", body = api_types::Version),
        (status = 409, description = "Endpoints would be cut off.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesWrite).await?;
    may_change(&caller)?;
    let (entry, number) = find_version(&api, &caller, &path).await?;
    incoming.check_if_match(entry.version(number).ok_or_else(missing_version)?.updated_at)?;
    let request: VersionRequest = incoming.text(&api, &caller, BODY_LIMIT).await?.parse()?;
    let mut faults = Faults::default();
    if request.number.is_some_and(|other| other != number) {
        faults.add("/number", "read_only", "cannot be changed");
    }
    let version = WantedSchema { number: Some(number), ..wanted_version(&mut faults, "", &request) };
    faults.finish()?;
    let wanted = WantedType { versions: vec![version], ..WantedType::default() };
    let wanted =
        Change { name: entry.name.clone(), wanted, at: String::new(), version_at: Some(String::new()) };
    let unchanged = |_: &Plan| {
        let now = api.store.configuration().event_type(entry.project, &entry.name);
        match now.as_ref().and_then(|now| now.version(number)) {
            Some(version) => incoming.check_if_match(version.updated_at).map(|()| None),
            None => Err(Problem::changed_meanwhile()),
        }
    };
    let changed = change(&api, &caller, vec![wanted], unchanged).await?;
    let warnings = match changed {
        Changed::Done(plan) => plan.warnings(),
        Changed::Repeated(_) => Vec::new(),
    };
    let (entry, _) = find_version(&api, &caller, &path).await?;
    let version = entry.version(number).ok_or_else(missing_version)?;
    let shown = api_types::Version { warnings, ..present_version(&entry, version) };
    Ok(outgoing::one(&shown, version.updated_at))
}
