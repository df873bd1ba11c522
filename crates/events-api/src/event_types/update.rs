//! `PATCH /v1/event-types/{name}`

use actix_web::{HttpResponse, web};
use api_types::EventTypeRequest;
use model::access::Scope;

use super::{find, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::catalogue::{Change, Plan, change, may_change, wanted_type};
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::openapi::parameters::{Expected, OfType};
use crate::outgoing;
use crate::problem::{Faults, Problem};

/// Changes the description or the size budget of an event type.
#[utoipa::path(patch, path = "/v1/event-types/{name}", tag = "Event types", operation_id = "eventTypes.update",
    security(("api_key" = ["event_types:write"])),
    params(OfType, Expected),
    request_body = EventTypeRequest,
    responses((status = 200, description = "The event type, changed.", body = api_types::EventType)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesWrite).await?;
    may_change(&caller)?;
    let before = find(&api, &caller, &path).await?;
    incoming.check_if_match(before.updated_at)?;
    let request: EventTypeRequest = incoming.text(&api, &caller, BODY_LIMIT).await?.parse()?;
    let mut faults = Faults::default();
    if request.name.as_ref().is_some_and(|name| name != before.name.as_str()) {
        faults.add("/name", "read_only", "cannot be changed; make another type");
    }
    if !request.versions.is_empty() {
        faults.add("/versions", "read_only", "are added and changed at …/versions");
    }
    let wanted = wanted_type(&mut faults, "", &request);
    faults.finish()?;
    let wanted = Change { name: before.name.clone(), wanted, at: String::new(), version_at: None };
    let unchanged = |_: &Plan| match api.store.configuration().event_type(before.project, &before.name) {
        Some(now) => incoming.check_if_match(now.updated_at).map(|()| None),
        None => Err(Problem::changed_meanwhile()),
    };
    change(&api, &caller, vec![wanted], unchanged).await?;
    let after = find(&api, &caller, &path).await?;
    Ok(outgoing::one(&present(&after), after.updated_at))
}
