//! `GET /v1/events/{event}`

use actix_web::{HttpResponse, web};
use delivery_log::events::StoredEvent;
use model::access::Scope;
use model::event::EventData;

use super::present;
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::Incoming;
use crate::openapi::parameters::{InVersion, Known, OfEvent};
use crate::outgoing;
use crate::problem::Problem;
use crate::query::Query;

/// Shows an event; its data too, to a reader with `payloads:read`, and in an
/// older version if one is named.
#[utoipa::path(get, path = "/v1/events/{event}", tag = "Events", operation_id = "events.get",
    security(("api_key" = ["events:read"])),
    params(OfEvent, InVersion, Known),
    responses((status = 200, description = "The event.", body = api_types::Event)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsRead).await?;
    let missing = || Problem::not_found("event");
    let id = path.parse().map_err(|_| missing())?;
    let stored = api.store.find_event(caller.view(), id).await?.ok_or_else(missing)?;
    let mut query = Query::parse(incoming.path(), incoming.query())?;
    let version = query.take("schema_version", str::parse::<u32>);
    query.finish()?;
    let version = version.filter(|version| *version != stored.event.schema_version);
    let data = match (caller.may(Scope::PayloadsRead), version) {
        (false, _) => None,
        (true, None) => api.store.read_data(caller.view(), id).await?,
        (true, Some(version)) => Some(in_version(&api, &caller, &stored, version).await?),
    };
    if data.is_some() {
        api.note_payload_read(&caller);
    }
    let mut shown = present(&stored, data.as_ref());
    shown.schema_version = version.unwrap_or(shown.schema_version);
    Ok(outgoing::one(&shown, stored.event.created_at))
}

/// The data in an older version: as somebody got it, or as it would be now.
async fn in_version(
    api: &Api,
    caller: &Caller,
    stored: &StoredEvent,
    version: u32,
) -> Result<EventData, Problem> {
    let event = &stored.event;
    let refuse = |detail: String| Problem::invalid("schema_version", "invalid_value", detail);
    if let Some(data) = api.store.read_older_data(caller.view(), event.id).await?.get(version) {
        return Ok(data.clone());
    }
    if version > event.schema_version {
        let detail =
            format!("it was published in version {}; nothing is converted upwards", event.schema_version);
        return Err(refuse(detail));
    }
    let data = api.store.read_data(caller.view(), event.id).await?;
    let entry = api.store.configuration().event_type(event.project, &event.event_type);
    let (Some(data), Some(entry)) = (data, entry) else {
        return Err(refuse("is not a version of this event".to_owned()));
    };
    let text = String::from_utf8_lossy(data.as_bytes()).into_owned();
    let older = entry.downgraded(&text, event.schema_version, version).map_err(|faults| {
        let told: Vec<String> =
            faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect();
        refuse(told.join("; "))
    })?;
    EventData::parse(&older, usize::MAX).map_err(|error| refuse(error.to_string()))
}
