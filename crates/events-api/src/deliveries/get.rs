//! `GET /v1/deliveries/{delivery}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{missing, parse_id, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::outgoing;
use crate::problem::Problem;

/// Shows a delivery.
#[utoipa::path(get, path = "/v1/deliveries/{delivery}", tag = "deliveries", params(("delivery" = String, Path)),
    responses((status = 200, body = api_types::Delivery), (status = 404, body = api_types::Problem)))]
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
