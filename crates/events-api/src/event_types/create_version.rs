//! `POST /v1/event-types/{name}/versions`

use actix_web::{HttpResponse, web};
use api_types::VersionRequest;
use model::access::Scope;
use model::catalogue::WantedType;

use super::{find, missing_version, present_version};
use crate::api::Api;
use crate::auth::Credentials;
use crate::catalogue::{Change, Plan, change_once, may_change, wanted_version};
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::{Prepared, repeated};
use crate::openapi::parameters::{Expected, OfType, Repeatable};
use crate::problem::{Code, Faults, Problem};

/// Adds a version to an event type. It is active at once: what is published
/// without a version is published in it.
#[utoipa::path(post, path = "/v1/event-types/{name}/versions", tag = "Event types", operation_id = "eventTypes.createVersion",
    security(("api_key" = ["event_types:write"])),
    params(OfType, Repeatable, Expected),
    request_body = VersionRequest,
    responses((status = 201, description = "The version.", body = api_types::Version),
        (status = 409, description = "There is a version of this number, or endpoints would be cut off.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesWrite).await?;
    may_change(&caller)?;
    incoming.expect_no_if_match()?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    let request: VersionRequest = text.parse()?;
    let about = (&incoming, &caller, None);
    if let Some(answer) = repeated(&api, about, &text).await? {
        return Ok(answer);
    }
    let entry = find(&api, &caller, &path).await?;
    let next = entry.versions.len() as u32 + 1;
    if request.number.is_some_and(|number| number < next) {
        let detail =
            format!("there is a version {} already; use PATCH to change it", request.number.unwrap_or(0));
        return Err(Problem::new(Code::Conflict, detail));
    }
    let mut faults = Faults::default();
    let version = wanted_version(&mut faults, "", &request);
    faults.finish()?;
    let number = version.number.unwrap_or(next);
    // Another one may be made meanwhile: this one is not to change it.
    let version = model::catalogue::WantedSchema { number: Some(number), ..version };
    let prepare = |plan: &Plan| {
        let entry = plan.entry()?;
        if !plan.saved.iter().any(|saved| saved.created.contains(&number)) {
            let detail = format!("version {number} was made by somebody else meanwhile; try again");
            return Err(Problem::new(Code::Conflict, detail));
        }
        let version = entry.version(number).ok_or_else(missing_version)?;
        let shown = api_types::Version { warnings: plan.warnings(), ..present_version(entry, version) };
        let location = Some(format!("/v1/event-types/{}/versions/{number}", entry.name));
        Ok(Prepared::new(&api, about, &text, 201, location, &shown)?.with_etag(version.updated_at))
    };
    let wanted = WantedType { versions: vec![version], ..WantedType::default() };
    let change =
        Change { name: entry.name.clone(), wanted, at: String::new(), version_at: Some(String::new()) };
    change_once(&api, &caller, change, prepare).await
}
