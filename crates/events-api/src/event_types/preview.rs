//! `GET /v1/event-types/{name}/versions/{version}/preview`

use std::cmp::Ordering;

use actix_web::{HttpResponse, web};
use api_types::{Preview, PreviewedEvent};
use delivery_log::events::{EventFilter, StoredEvent};
use delivery_log::page::{Order, PageRequest};
use model::access::Scope;
use model::catalogue::EventTypeEntry;
use model::event_type::Pattern;
use model::names::TenantHandle;

use super::{find_version, raw};
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::Incoming;
use crate::openapi::parameters::{OfTenant, OfVersion};
use crate::outgoing;
use crate::problem::Problem;
use crate::query::Query;

/// How many events are shown.
const LAST: u32 = 10;

/// Shows a tenant's last events of a type as they would be in another version.
#[utoipa::path(get, path = "/v1/event-types/{name}/versions/{version}/preview", tag = "Event types", operation_id = "eventTypes.preview",
    security(("api_key" = ["events:read", "event_types:read"])),
    params(OfVersion, OfTenant),
    responses((status = 200, description = "The events in this version.", body = Preview)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsRead).await?;
    caller.require(Scope::EventTypesRead)?;
    let (entry, number) = find_version(&api, &caller, &path).await?;
    let mut query = Query::parse(incoming.path(), incoming.query())?;
    let tenant = query.take("tenant", TenantHandle::parse);
    query.finish()?;
    let tenant = match tenant {
        Some(handle) => Some(api.tenant(&caller, handle.as_str()).await?.id),
        None => None,
    };
    let filter = EventFilter {
        tenant,
        event_type: Some(Pattern::Exact(entry.name.clone())),
        ..EventFilter::default()
    };
    let newest = PageRequest { limit: LAST, after: None, order: Order::Descending };
    let page = api.store.list_events(caller.view(), &filter, newest).await?;
    let mut data = Vec::with_capacity(page.rows.len());
    for stored in page.rows {
        data.push(previewed(&api, &caller, &entry, number, &stored).await?);
    }
    api.note_payload_read(&caller);
    Ok(outgoing::plain(&Preview { data }))
}

async fn previewed(
    api: &Api,
    caller: &Caller,
    entry: &EventTypeEntry,
    number: u32,
    stored: &StoredEvent,
) -> Result<PreviewedEvent, Problem> {
    let event = &stored.event;
    let data = api.store.read_data(caller.view(), event.id).await?;
    // What has just been purged has nothing to show.
    let published = data.and_then(|data| String::from_utf8(data.as_bytes().to_vec()).ok());
    let published = published.unwrap_or_else(|| "{}".to_owned());
    let in_version = in_version(entry, &published, event.schema_version, number);
    let data = match &in_version {
        Ok(text) if caller.may(Scope::PayloadsRead) => Some(raw(text)),
        Ok(_) => Some(raw(&masked(entry, &published, event.schema_version, number))),
        Err(_) => None,
    };
    Ok(PreviewedEvent {
        id: event.id.to_string(),
        subject: event.subject.to_string(),
        occurred_at: event.occurred_at,
        published_version: event.schema_version,
        data,
        problem: in_version.err(),
    })
}

/// Data in a version, or why there is none.
fn in_version(entry: &EventTypeEntry, published: &str, from: u32, to: u32) -> Result<String, String> {
    match to.cmp(&from) {
        Ordering::Equal => Ok(published.to_owned()),
        Ordering::Less => entry.downgraded(published, from, to).map_err(|faults| {
            let told = faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail));
            told.collect::<Vec<_>>().join("; ")
        }),
        Ordering::Greater => Err(format!("it was published in version {from}; nothing is converted upwards")),
    }
}

/// Data in a version, without what either version marks as sensitive.
fn masked(entry: &EventTypeEntry, published: &str, from: u32, to: u32) -> String {
    let by = |text: &str, number: u32| match entry.version(number) {
        Some(version) => version.schema.masked(&serde_json::from_str(text).unwrap_or_default()).to_string(),
        None => "{}".to_owned(),
    };
    let lowered = entry.lowered(&by(published, from), from, to);
    lowered.map_or_else(|_| "{}".to_owned(), |text| by(&text, to))
}
