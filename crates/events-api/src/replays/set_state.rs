//! `POST /v1/replays/{replay}/pause`, `/resume` and `/cancel`

use actix_web::{HttpResponse, web};
use delivery_log::replays::ReplaySet;
use model::access::Scope;
use model::audit::Action;
use model::replay::ReplayState;

use super::{find, missing, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, OfReplay};
use crate::outgoing;
use crate::problem::{Code, Problem};

/// Sends nothing more until the replay is resumed. What was sent goes its way.
#[utoipa::path(post, path = "/v1/replays/{replay}/pause", tag = "Replays", operation_id = "replays.pause",
    security(("api_key" = ["deliveries:replay"])),
    params(OfReplay, Expected),
    responses((status = 200, description = "The replay, paused.", body = api_types::Replay),
        (status = 409, description = "It has ended.")))]
pub(crate) async fn pause(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    set(&api, credentials, &path, &incoming, (ReplayState::Paused, Action::ReplayPaused)).await
}

/// Lets a paused replay go on.
#[utoipa::path(post, path = "/v1/replays/{replay}/resume", tag = "Replays", operation_id = "replays.resume",
    security(("api_key" = ["deliveries:replay"])),
    params(OfReplay, Expected),
    responses((status = 200, description = "The replay, going on.", body = api_types::Replay),
        (status = 409, description = "It has ended.")))]
pub(crate) async fn resume(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    set(&api, credentials, &path, &incoming, (ReplayState::Running, Action::ReplayResumed)).await
}

/// Ends a replay, and withdraws what it has sent and what has not gone out.
#[utoipa::path(post, path = "/v1/replays/{replay}/cancel", tag = "Replays", operation_id = "replays.cancel",
    security(("api_key" = ["deliveries:replay"])),
    params(OfReplay, Expected),
    responses((status = 200, description = "The replay, withdrawn.", body = api_types::Replay),
        (status = 409, description = "It has ended.")))]
pub(crate) async fn cancel(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    set(&api, credentials, &path, &incoming, (ReplayState::Canceled, Action::ReplayCanceled)).await
}

async fn set(
    api: &Api,
    credentials: Credentials,
    id: &str,
    incoming: &Incoming,
    (state, action): (ReplayState, Action),
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::DeliveriesReplay).await?;
    let before = find(api, &caller, id).await?;
    incoming.check_if_match(before.updated_at)?;
    let entry = api.entry_in(&caller, before.tenant, action, before.id);
    match api.store.set_replay(caller.view(), before.id, state, entry).await? {
        ReplaySet::Done => {
            let after = find(api, &caller, id).await?;
            Ok(outgoing::one(&present(&after), after.updated_at))
        }
        ReplaySet::NotFound => Err(missing()),
        ReplaySet::Ended(state) => {
            Err(Problem::new(Code::Conflict, format!("the replay is {state}; start another one")))
        }
    }
}
