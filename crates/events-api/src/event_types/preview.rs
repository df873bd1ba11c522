//! `GET /v1/event-types/{name}/versions/{version}/preview`

use actix_web::{HttpResponse, web};
use api_types::{Preview, PreviewedEvent};
use delivery_log::events::{EventFilter, StoredEvent};
use delivery_log::page::{Order, PageRequest};
use model::access::Scope;
use model::catalogue::EventTypeEntry;
use model::names::TenantHandle;

use super::{find_version, missing_version, raw};
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::Incoming;
use crate::outgoing;
use crate::problem::Problem;
use crate::query::Query;

/// How many events are shown.
const LAST: u32 = 10;

/// Shows a tenant's last events of a type as they would be in another version.
#[utoipa::path(get, path = "/v1/event-types/{name}/versions/{version}/preview", tag = "event types",
    params(("name" = String, Path), ("version" = u32, Path), ("tenant" = Option<String>, Query)),
    responses((status = 200, body = Preview)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsRead).await?;
    caller.require(Scope::EventTypesRead)?;
    let (entry, number) = find_version(&api, &caller, &path).await?;
    let mut query = Query::parse(incoming.query())?;
    let tenant = query.take("tenant", TenantHandle::parse);
    query.finish()?;
    let tenant = match tenant {
        Some(handle) => Some(api.tenant(&caller, handle.as_str()).await?.id),
        None => None,
    };
    let filter = EventFilter { tenant, event_type: Some(entry.name.clone()), ..EventFilter::default() };
    let newest = PageRequest { limit: LAST, after: None, order: Order::Descending };
    let page = api.store.list_events(caller.view(), &filter, newest).await?;
    let mut data = Vec::with_capacity(page.rows.len());
    for stored in page.rows {
        data.push(previewed(&api, &caller, &entry, number, &stored).await?);
    }
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
    let published =
        data.and_then(|data| String::from_utf8(data.as_bytes().to_vec()).ok()).unwrap_or_default();
    let in_version = match number.cmp(&event.schema_version) {
        std::cmp::Ordering::Equal => Ok(published.clone()),
        std::cmp::Ordering::Less => {
            entry.downgraded(&published, event.schema_version, number).map_err(|faults| {
                let told: Vec<String> =
                    faults.iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect();
                told.join("; ")
            })
        }
        std::cmp::Ordering::Greater => {
            Err(format!("it was published in version {}; nothing is converted upwards", event.schema_version))
        }
    };
    let shown = match &in_version {
        Ok(text) if caller.may(Scope::PayloadsRead) => Some(raw(text)),
        Ok(text) => {
            let masked = |text: &str, version: u32| {
                let schema = &entry.version(version).ok_or_else(missing_version)?.schema;
                let value = serde_json::from_str(text).unwrap_or_default();
                Ok::<_, Problem>(schema.masked(&value).to_string())
            };
            // What either version marks is nobody's business.
            let _ = text;
            let published = masked(&published, event.schema_version)?;
            let lowered =
                entry.lowered(&published, event.schema_version, number).unwrap_or_else(|_| "{}".to_owned());
            Some(raw(&masked(&lowered, number)?))
        }
        Err(_) => None,
    };
    Ok(PreviewedEvent {
        id: event.id.to_string(),
        subject: event.subject.to_string(),
        occurred_at: event.occurred_at,
        published_version: event.schema_version,
        data: shown,
        problem: in_version.err(),
    })
}
