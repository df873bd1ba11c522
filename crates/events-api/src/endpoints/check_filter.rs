//! `POST /v1/tenants/{tenant}/endpoints/check-filter`

use actix_web::{HttpResponse, web};
use api_types::{FilterCheck, FilterCheckRequest, FilteredEvent};
use delivery_log::events::EventFilter;
use delivery_log::page::{Order, PageRequest};
use delivery_log::tenants::Tenant;
use model::access::Scope;
use model::endpoint::NoMatch;
use model::event_type::Subscription;
use model::filter::{Candidate, Filter};

use super::build;
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::openapi::parameters::{Expected, InTenant};
use crate::outgoing;
use crate::problem::{Faults, Problem};

/// So many events are looked at, the newest first.
const LAST: u32 = 20;

/// Checks a filter, changes nothing, and shows which of the tenant's last
/// events an endpoint with it would have got.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/endpoints/check-filter", tag = "Endpoints", operation_id = "endpoints.checkFilter",
    security(("api_key" = ["endpoints:read", "events:read", "payloads:read"])),
    params(InTenant, Expected),
    request_body = FilterCheckRequest,
    responses((status = 200, description = "Which of the last events match.", body = FilterCheck)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsRead).await?;
    // What a filter lets through tells what is in the data.
    caller.require(Scope::EventsRead)?;
    caller.require(Scope::PayloadsRead)?;
    let tenant = api.tenant(&caller, &path).await?;
    let wanted: FilterCheckRequest = incoming.text(&api, &caller, BODY_LIMIT).await?.parse()?;
    let mut faults = Faults::default();
    let subscriptions = build::subscriptions(&mut faults, wanted.event_types.as_deref());
    let filter = build::filter(&mut faults, "/filter", &wanted.filter);
    faults.finish()?;
    let events = match filter {
        Some(filter) => try_on_last(&api, &caller, &tenant, &subscriptions, &filter).await?,
        None => Vec::new(),
    };
    let matched = events.iter().filter(|event| event.matches).count();
    Ok(outgoing::plain(&FilterCheck { events, matched }))
}

async fn try_on_last(
    api: &Api,
    caller: &Caller,
    tenant: &Tenant,
    subscriptions: &[Subscription],
    filter: &Filter,
) -> Result<Vec<FilteredEvent>, Problem> {
    let of_tenant = EventFilter { tenant: Some(tenant.id), ..EventFilter::default() };
    let newest = PageRequest { limit: LAST, after: None, order: Order::Descending };
    let page = api.store.list_events(caller.view(), &of_tenant, newest).await?;
    let mut seen = Vec::with_capacity(page.rows.len());
    for stored in page.rows.into_iter().filter(|stored| !stored.event.test) {
        let event = stored.event;
        let data = api.store.read_data(caller.view(), event.id).await?;
        let data = data.and_then(|data| data.to_value());
        let candidate = Candidate {
            event_type: &event.event_type,
            subject: &event.subject,
            labels: &event.labels,
            data: data.as_ref(),
        };
        let entry = api.store.configuration().event_type(event.project, &event.event_type);
        let wants =
            model::catalogue::wants(subscriptions, entry.as_deref(), &event.event_type, event.schema_version);
        let passes = || if filter.passes(&candidate) { Ok(()) } else { Err(NoMatch::Filter) };
        let reason = wants.and_then(|_| passes()).err();
        seen.push(FilteredEvent {
            id: event.id.to_string(),
            event_type: event.event_type.to_string(),
            subject: event.subject.to_string(),
            matches: reason.is_none(),
            reason: reason.map(|reason| reason.as_str().to_owned()),
        });
    }
    Ok(seen)
}
