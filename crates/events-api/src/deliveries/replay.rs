//! `POST /v1/deliveries/{delivery}/replay`

use actix_web::{HttpResponse, web};
use api_types::ReplayRequest;
use delivery_log::deliveries::Replayed;
use delivery_log::idempotency::Performed;
use model::access::Scope;

use super::{accepted, missing, parse_id};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::{Prepared, repeated};
use crate::problem::{Code, Problem};

/// Sends the same delivery again: the same event id and bytes, to the
/// endpoint's present URL with its present secret.
#[utoipa::path(post, path = "/v1/deliveries/{delivery}/replay", tag = "deliveries",
    params(("delivery" = String, Path)), request_body = ReplayRequest,
    responses((status = 202, body = api_types::Delivery), (status = 409, body = api_types::Problem)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::DeliveriesReplay).await?;
    let id = parse_id(&path)?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    if let Some(answer) = repeated(&api, (&incoming, &caller, None), &text).await? {
        return Ok(answer);
    }
    let before = api.store.find_delivery(caller.view(), id).await?.ok_or_else(missing)?;
    incoming.check_if_match(before.updated_at)?;
    let wanted: ReplayRequest = text.parse()?;
    let kept = serde_json::json!({ "id": id.to_string(), "status": "queued" });
    let prepared = Prepared::new(
        &api,
        (&incoming, &caller, None),
        &text,
        202,
        Some(format!("/v1/deliveries/{id}")),
        &kept,
    )?;
    let replayed = api.store.replay(caller.view(), id, wanted.force, prepared.once()).await?;
    match replayed {
        Performed::First(replayed) => {
            check(replayed)?;
            accepted(&api, &caller, id, false).await
        }
        repeated => prepared.settle(repeated, check),
    }
}

fn check(replayed: Replayed) -> Result<(), Problem> {
    let conflict = |detail: &str| Err(Problem::new(Code::Conflict, detail));
    match replayed {
        Replayed::Due => Ok(()),
        Replayed::AlreadyDelivered => {
            conflict("it was delivered; send {\"force\":true} to send it again all the same")
        }
        Replayed::EndpointNotEnabled => {
            conflict("its endpoint is paused, disabled or deleted; enable the endpoint first")
        }
        Replayed::NotFound => Err(missing()),
    }
}
