//! `GET /v1/events`

use actix_web::{HttpResponse, web};
use delivery_log::events::EventFilter;
use model::access::Scope;
use model::event::Label;
use model::event_type::Pattern;
use model::names::{Subject, TenantHandle};

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::memory::Holder;
use crate::openapi::parameters::{Expanded, FilterEvents, Paged};
use crate::page::{self, Rows};
use crate::problem::Problem;
use crate::query::Query;

/// Lists events, newest first. `expand=data` adds
/// the data, for a reader with `payloads:read`.
#[utoipa::path(get, path = "/v1/events", tag = "Events", operation_id = "events.list",
    security(("api_key" = ["events:read"])),
    params(Paged, FilterEvents, Expanded),
    responses((status = 200, description = "A page of events.", body = api_types::Page<api_types::Event>)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsRead).await?;
    let mut query = Query::parse(incoming.path(), incoming.query())?;
    let tenant = query.take("tenant", TenantHandle::parse);
    let mut filter = EventFilter {
        tenant: None,
        event_type: query.take("type", str::parse::<Pattern>),
        label: query.take("label", str::parse::<Label>),
        subject: query.take("subject", Subject::parse),
        occurred_after: query.time("occurred_after"),
        occurred_before: query.time("occurred_before"),
    };
    let request = query.list(&["data"])?;
    if let Some(handle) = tenant {
        filter.tenant = Some(api.tenant(&caller, handle.as_str()).await?.id);
    }
    if request.expands("data") {
        caller.require(Scope::PayloadsRead)?;
    }
    // Whoever has no room left is told before the store is asked for anything.
    let _gathering = match request.expands("data") {
        true => Some(api.memory.gather(Holder::of(&caller)).await?),
        false => None,
    };
    let found = api.store.list_events(caller.view(), &filter, request.page).await?;
    if !request.expands("data") {
        return Ok(page::answer(incoming.path(), &request, found.map(|stored| present(&stored, None))));
    }
    api.note_payload_read(&caller);
    let mut rows = Rows::new(&request);
    for (stored, cursor) in found.rows.iter().zip(found.cursors) {
        let data = api.store.read_data(caller.view(), stored.event.id).await?;
        if !rows.add(&present(stored, data.as_ref()), cursor) {
            break;
        }
    }
    rows.end_of(found.next);
    Ok(rows.into_answer(incoming.path()))
}
