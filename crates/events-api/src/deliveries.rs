//! Deliveries and attempts.

pub(crate) mod cancel;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod list_attempts;
pub(crate) mod read_payload;
pub(crate) mod replay;

use actix_web::HttpResponse;
use delivery_log::idempotency::KeptAnswer;
use model::delivery::Delivery;
use model::ids::DeliveryId;

use crate::api::Api;
use crate::auth::Caller;
use crate::outgoing;
use crate::problem::Problem;

/// A delivery as it is shown.
pub(crate) fn present(delivery: &Delivery) -> api_types::Delivery {
    api_types::Delivery {
        id: delivery.id.to_string(),
        tenant: delivery.tenant_handle.to_string(),
        endpoint: delivery.endpoint.to_string(),
        event: delivery.event.to_string(),
        event_type: delivery.event_type.to_string(),
        subject: delivery.subject.to_string(),
        occurred_at: delivery.occurred_at,
        payload: delivery.payload.mode().to_string(),
        status: delivery.visible_status().to_string(),
        failure: delivery.status.failure().map(|failure| failure.as_str().to_owned()),
        held_by: delivery.hold.map(|hold| hold.by.as_str().to_owned()),
        held_until: delivery.hold.and_then(|hold| hold.until),
        attempts: delivery.attempts,
        next_attempt_at: delivery.next_attempt_at,
        error_class: delivery.last_error.map(|class| class.to_string()),
        http_status: delivery.last_http_status,
        created_at: delivery.created_at,
        updated_at: delivery.updated_at,
    }
}

/// A delivery in a path, as far as its form goes.
fn parse_id(text: &str) -> Result<DeliveryId, Problem> {
    text.parse().map_err(|_| missing())
}

fn missing() -> Problem {
    Problem::not_found("delivery")
}

/// A delivery as it stands now.
pub(crate) async fn show(api: &Api, caller: &Caller, id: DeliveryId) -> Result<api_types::Delivery, Problem> {
    let delivery = api.store.find_delivery(caller.view(), id).await?.ok_or_else(missing)?;
    Ok(present(&delivery))
}

/// 202 with the delivery as it stands now.
pub(crate) async fn accepted(
    api: &Api,
    caller: &Caller,
    id: DeliveryId,
    repeated: bool,
) -> Result<HttpResponse, Problem> {
    let delivery = api.store.find_delivery(caller.view(), id).await?.ok_or_else(missing)?;
    let answer = KeptAnswer {
        status: 202,
        location: Some(format!("/v1/deliveries/{id}")),
        body: outgoing::to_json(&present(&delivery)),
    };
    Ok(outgoing::kept(answer, repeated, Some(delivery.updated_at)))
}
