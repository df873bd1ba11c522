//! Deliveries and attempts.

pub(crate) mod cancel;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod list_attempts;
pub(crate) mod read_payload;
pub(crate) mod replay;

use actix_web::HttpResponse;
use api_types::EndpointFailed;
use delivery_log::idempotency::{KeptAnswer, Once, Performed};
use model::audit::{Action, Entry};
use model::delivery::Delivery;
use model::ids::DeliveryId;

use crate::api::Api;
use crate::auth::Caller;
use crate::incoming::{BODY_LIMIT, Incoming, Text};
use crate::once::repeated;
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
        endpoint_failed: delivery
            .endpoint_failed
            .map(|(class, http_status)| EndpointFailed { error_class: class.to_string(), http_status }),
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

/// A request to do something to a delivery.
enum Begun {
    /// It was made before, under the same key, and answered with this.
    Repeated(HttpResponse),
    /// It is new: its body, what the store needs to keep its answer, and what the
    /// audit log is to say.
    New(Text, Option<Once>, Box<Entry>),
}

/// Reads a request to do something to a delivery, and checks what can be
/// checked before it is done.
async fn begin(
    api: &Api,
    caller: &Caller,
    id: DeliveryId,
    action: Action,
    incoming: &mut Incoming,
) -> Result<Begun, Problem> {
    let text = incoming.text(api, caller, BODY_LIMIT).await?;
    if let Some(answer) = repeated(api, (incoming, caller, None), &text).await? {
        return Ok(Begun::Repeated(answer));
    }
    let before = api.store.find_delivery(caller.view(), id).await?.ok_or_else(missing)?;
    incoming.check_if_match(before.updated_at)?;
    let key_use = incoming.key_use(caller, None, &text, api.now())?;
    let once = key_use.map(|key_use| Once { key_use, answer: answer_about(&before), show: Some(shown) });
    let entry = api.entry_in(caller, before.tenant, action, id);
    Ok(Begun::New(text, once, Box::new(entry)))
}

/// What is answered after something was done to a delivery.
fn settle<T>(
    performed: Performed<T>,
    accept: impl FnOnce(T) -> Result<Box<Delivery>, Problem>,
) -> Result<HttpResponse, Problem> {
    match performed {
        Performed::First(result) => {
            let after = accept(result)?;
            Ok(outgoing::kept(answer_about(&after), false, Some(after.updated_at)))
        }
        Performed::Repeated(answer) => Ok(outgoing::kept(answer, true, None)),
        Performed::KeyReused => Err(Problem::key_reused()),
    }
}

fn answer_about(delivery: &Delivery) -> KeptAnswer {
    KeptAnswer {
        status: 202,
        location: Some(format!("/v1/deliveries/{}", delivery.id)),
        body: shown(delivery),
    }
}

fn shown(delivery: &Delivery) -> String {
    outgoing::to_json(&present(delivery))
}

/// A status of HTTP (RFC 9110, section 15: three digits).
pub(crate) fn http_status(status: u16) -> Result<u16, &'static str> {
    if (100..=999).contains(&status) { Ok(status) } else { Err("must be a status of HTTP, from 100 to 999") }
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
    Ok(outgoing::kept(answer_about(&delivery), repeated, Some(delivery.updated_at)))
}
