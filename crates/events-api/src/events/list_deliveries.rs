//! `GET /v1/events/{event}/deliveries`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{OfEvent, Paged};
use crate::problem::Problem;
use crate::query::Query;
use crate::{deliveries, page};

/// Lists the deliveries of an event.
#[utoipa::path(get, path = "/v1/events/{event}/deliveries", tag = "Events", operation_id = "events.listDeliveries",
    security(("api_key" = ["deliveries:read"])),
    params(OfEvent, Paged),
    responses((status = 200, description = "A page of deliveries.", body = api_types::Page<api_types::Delivery>)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::DeliveriesRead).await?;
    let missing = || Problem::not_found("event");
    let id = path.parse().map_err(|_| missing())?;
    let request = Query::parse(incoming.path(), incoming.query())?.list(&[])?;
    api.store.find_event(caller.view(), id).await?.ok_or_else(missing)?;
    let found = api.store.deliveries_of_event(caller.view(), id, request.page).await?;
    Ok(page::answer(incoming.path(), &request, found.map(|delivery| deliveries::present(&delivery))))
}
