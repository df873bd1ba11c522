//! `GET /v1/events`

use actix_web::{HttpResponse, web};
use delivery_log::events::EventFilter;
use model::access::Scope;
use model::event_type::EventType;
use model::names::{Subject, TenantHandle};

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::outgoing;
use crate::problem::Problem;
use crate::query::Query;

/// Lists events in the order in which they were accepted. `expand=data` adds
/// the data, for a reader with `payloads:read`.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query), ("order" = Option<String>, Query),
        ("expand" = Option<String>, Query), ("tenant" = Option<String>, Query), ("type" = Option<String>, Query),
        ("subject" = Option<String>, Query), ("occurred_after" = Option<String>, Query),
        ("occurred_before" = Option<String>, Query)),
    responses((status = 200, body = api_types::EventPage)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsRead).await?;
    let mut query = Query::parse(incoming.query())?;
    let tenant = query.take("tenant", TenantHandle::parse);
    let mut filter = EventFilter {
        tenant: None,
        event_type: query.take("type", EventType::parse),
        subject: query.take("subject", Subject::parse),
        occurred_after: query.time("occurred_after"),
        occurred_before: query.time("occurred_before"),
    };
    let request = query.list(incoming.query(), &["data"])?;
    if let Some(handle) = tenant {
        filter.tenant = Some(api.tenant(&caller, handle.as_str()).await?.id);
    }
    if request.expands("data") {
        caller.require(Scope::PayloadsRead)?;
    }
    let page = api.store.list_events(caller.view(), &filter, request.page).await?;
    let mut rows = Vec::with_capacity(page.rows.len());
    for stored in &page.rows {
        let data = match request.expands("data") {
            true => api.store.read_data(caller.view(), stored.event.id).await?,
            false => None,
        };
        rows.push(present(stored, data.as_ref()));
    }
    let page = delivery_log::page::Page { rows, next: page.next };
    Ok(outgoing::page(incoming.path(), &request, page))
}
