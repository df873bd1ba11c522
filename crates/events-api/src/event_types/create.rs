//! `POST /v1/event-types`

use actix_web::{HttpResponse, web};
use api_types::EventTypeRequest;
use model::access::Scope;
use model::event_type::EventType;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::catalogue::{Change, Plan, change_once, may_change, wanted_type};
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::{Prepared, repeated};
use crate::openapi::parameters::{Expected, Repeatable};
use crate::problem::{Code, Faults, Problem};

/// Adds an event type to the catalogue, with versions of its schema if they
/// are given.
#[utoipa::path(post, path = "/v1/event-types", tag = "Event types", operation_id = "eventTypes.create",
    security(("api_key" = ["event_types:write"])),
    params(Repeatable, Expected),
    request_body = EventTypeRequest,
    responses((status = 201, description = "The event type.", body = api_types::EventType),
        (status = 409, description = "There is one of this name.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesWrite).await?;
    may_change(&caller)?;
    incoming.expect_no_if_match()?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    let request: EventTypeRequest = text.parse()?;
    let about = (&incoming, &caller, None);
    if let Some(answer) = repeated(&api, about, &text).await? {
        return Ok(answer);
    }
    let mut faults = Faults::default();
    let name = request.name.as_deref().ok_or_else(|| Problem::invalid("/name", "required", "is required"))?;
    let name = faults.check("/name", EventType::parse(name));
    let wanted = wanted_type(&mut faults, "", &request);
    let Some(name) = name else { return Err(faults.into()) };
    faults.finish()?;
    api.store.refresh().await?;
    if api.store.configuration().event_type(caller.view().project, &name).is_some() {
        let detail = format!("there is an event type {name} already; use PATCH, or add a version to it");
        return Err(Problem::new(Code::Conflict, detail));
    }
    let prepare = |plan: &Plan| {
        let entry = plan.entry()?;
        if plan.saved.iter().any(|saved| !saved.is_new) {
            let detail = format!("{} was made by somebody else meanwhile", entry.name);
            return Err(Problem::new(Code::Conflict, detail));
        }
        let shown = api_types::EventType { warnings: plan.warnings(), ..present(entry) };
        let location = Some(format!("/v1/event-types/{}", entry.name));
        Ok(Prepared::new(&api, about, &text, 201, location, &shown)?.with_etag(entry.updated_at))
    };
    let change = Change { name, wanted, at: String::new(), version_at: None };
    change_once(&api, &caller, change, prepare).await
}
