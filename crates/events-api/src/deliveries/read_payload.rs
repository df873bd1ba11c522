//! `GET /v1/deliveries/{delivery}/payload`

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{missing, parse_id};
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::OfDelivery;
use crate::problem::Problem;

/// Gives the exact bytes that are signed and sent.
#[utoipa::path(get, path = "/v1/deliveries/{delivery}/payload", tag = "Deliveries", operation_id = "deliveries.getPayload",
    security(("api_key" = ["payloads:read"])),
    params(OfDelivery),
    responses((status = 200, description = "The body that is sent, byte for byte.", body = serde_json::Value,
        example = json!({"type": "order.paid", "timestamp": "2026-11-21T12:00:00.000Z",
            "id": "evt_01m8bgdg0bf4srfdw4n1pmmy1c", "schema_version": 2, "subject": "ord_1", "revision": 7,
            "sequence": 42, "data": {"total": 1200}}))))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::PayloadsRead).await?;
    let found = api.store.read_payload(caller.view(), parse_id(&path)?).await?;
    let (delivery, event, data) = found.ok_or_else(missing)?;
    api.note_payload_read(&caller);
    let body = delivery.payload.render(&event, &data);
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "private, no-cache"));
    Ok(response.content_type("application/json").body(body))
}
