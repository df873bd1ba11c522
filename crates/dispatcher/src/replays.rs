//! Replays go on part by part, on whichever dispatcher looks first.

use std::sync::Arc;
use std::time::Duration;

use model::replay::KEPT;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::rest::rest;

/// How often it is looked for parts that are due.
const LOOK: Duration = Duration::from_millis(250);
/// How many replays go on at one look.
const AT_ONCE: u32 = 16;

/// Lets replays go on, again and again until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    while rest(&stop, LOOK).await {
        if !context.lease.is_valid() {
            continue;
        }
        if let Err(error) = step(&context).await {
            tracing::warn!(%error, "replays wait and go on later");
        }
    }
}

/// Sends one part of each replay that is due.
async fn step(context: &Context) -> delivery_log::Result<()> {
    let now = context.surroundings.now();
    for id in context.store.due_replays(now, AT_ONCE).await? {
        if let Err(error) = context.store.advance_replay(id).await {
            tracing::warn!(%error, replay.id = %id, "a part of a replay was not sent and is tried again");
        }
    }
    Ok(())
}

/// Forgets replays that ended long ago.
pub(crate) async fn forget(context: &Context, limit: u32) -> delivery_log::Result<u64> {
    context.store.forget_replays(context.surroundings.now().minus(KEPT), limit).await
}
