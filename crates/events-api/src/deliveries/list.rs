//! `GET /v1/deliveries`

use actix_web::{HttpResponse, web};
use delivery_log::deliveries::DeliveryFilter;
use model::access::Scope;
use model::attempt::ErrorClass;
use model::delivery::VisibleStatus;
use model::event::Label;
use model::event_type::Pattern;
use model::ids::{EndpointId, ReplayId};
use model::names::{Subject, TenantHandle};

use super::{http_status, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{FilterDeliveries, FilterEvents, Paged};
use crate::page;
use crate::problem::Problem;
use crate::query::Query;

/// Lists deliveries, newest first.
#[utoipa::path(get, path = "/v1/deliveries", tag = "Deliveries", operation_id = "deliveries.list",
    security(("api_key" = ["deliveries:read"])),
    params(Paged, FilterEvents, FilterDeliveries),
    responses((status = 200, description = "A page of deliveries.", body = api_types::Page<api_types::Delivery>)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::DeliveriesRead).await?;
    let mut query = Query::parse(incoming.path(), incoming.query())?;
    let tenant = query.take("tenant", TenantHandle::parse);
    let mut filter = DeliveryFilter {
        tenant: None,
        endpoint: query.take("endpoint", str::parse::<EndpointId>),
        event: None,
        event_type: query.take("type", str::parse::<Pattern>),
        label: query.take("label", str::parse::<Label>),
        subject: query.take("subject", Subject::parse),
        replay: query.take("replay", str::parse::<ReplayId>),
        statuses: query.several("status", str::parse::<VisibleStatus>),
        undelivered: query.flag("undelivered"),
        error_class: query.take("error_class", str::parse::<ErrorClass>),
        http_status: query.take("http_status", |text| http_status(text.parse().unwrap_or_default())),
        occurred_after: query.time("occurred_after"),
        occurred_before: query.time("occurred_before"),
    };
    let request = query.list(&[])?;
    if let Some(handle) = tenant {
        filter.tenant = Some(api.tenant(&caller, handle.as_str()).await?.id);
    }
    let found = api.store.list_deliveries(caller.view(), &filter, request.page).await?;
    Ok(page::answer(incoming.path(), &request, found.map(|delivery| present(&delivery))))
}
