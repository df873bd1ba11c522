//! Events for many endpoints that somebody left half done.
//!
//! A process gives such an event to all endpoints by itself. If it ends before
//! that, or the store fails it, the store knows for whom the rest is.

use std::sync::Arc;
use std::time::Duration;

use model::clock::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::rest::rest;

/// How often it is looked whether something was left.
const LOOK: Duration = Duration::from_secs(5);
/// What was not gone on with for so long was left by whoever was at it.
const LEFT: Duration = Duration::from_secs(10);
/// How many events are gone on with at once.
const STEP: u32 = 100;

/// Goes on with what was left, again and again until `stop`. At the start, that is
/// everything: an embedded store has no other process that could be at it, and
/// where there is one, whoever comes second does nothing.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    let mut is_start = true;
    loop {
        let unmoved_since = match is_start {
            true => Timestamp::FAR_FUTURE,
            false => context.surroundings.now().minus(LEFT),
        };
        // What was handed in goes on as long as the store is open.
        let going_on = context.store.go_on_with_fan_outs(unmoved_since, STEP);
        let Some(gone_on) = stop.run_until_cancelled(going_on).await else { return };
        match gone_on {
            Ok(events) => {
                is_start &= events == u64::from(STEP);
                if events > 0 {
                    tracing::info!(events, "went on with events for many endpoints");
                }
            }
            Err(error) => tracing::warn!(%error, "events for many endpoints are gone on with later"),
        }
        if !rest(&stop, LOOK).await {
            return;
        }
    }
}
