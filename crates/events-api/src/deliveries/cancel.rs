//! `POST /v1/deliveries/{delivery}/cancel`

use actix_web::{HttpResponse, web};
use delivery_log::deliveries::Canceled;
use delivery_log::idempotency::Performed;
use model::access::Scope;

use super::{accepted, missing, parse_id};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::{Prepared, repeated};
use crate::problem::{Code, Problem};

/// Withdraws a delivery that waits. A call that is under way is not cut.
#[utoipa::path(post, path = "/v1/deliveries/{delivery}/cancel", tag = "deliveries",
    params(("delivery" = String, Path)),
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
    let kept = serde_json::json!({ "id": id.to_string(), "status": "canceled" });
    let prepared = Prepared::new(
        &api,
        (&incoming, &caller, None),
        &text,
        202,
        Some(format!("/v1/deliveries/{id}")),
        &kept,
    )?;
    let canceled = api.store.cancel(caller.view(), id, prepared.once()).await?;
    match canceled {
        Performed::First(canceled) => {
            check(canceled)?;
            accepted(&api, &caller, id, false).await
        }
        repeated => prepared.settle(repeated, check),
    }
}

fn check(canceled: Canceled) -> Result<(), Problem> {
    match canceled {
        Canceled::Done => Ok(()),
        Canceled::AlreadyEnded => {
            Err(Problem::new(Code::Conflict, "it has been delivered, has failed, or was canceled before"))
        }
        Canceled::NotFound => Err(missing()),
    }
}
