//! `GET /v1/deliveries/{delivery}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{missing, parse_id, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::{Known, OfDelivery};
use crate::outgoing;
use crate::problem::Problem;

/// Shows a delivery.
#[utoipa::path(get, path = "/v1/deliveries/{delivery}", tag = "Deliveries", operation_id = "deliveries.get",
    security(("api_key" = ["deliveries:read"])),
    params(OfDelivery, Known),
    responses((status = 200, description = "The delivery.", body = api_types::Delivery)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::DeliveriesRead).await?;
    let found = api.store.find_delivery(caller.view(), parse_id(&path)?).await?;
    let delivery = found.ok_or_else(missing)?;
    Ok(outgoing::one(&present(&delivery), delivery.updated_at))
}
