//! Events for many endpoints that somebody left half done.
//!
//! A process gives such an event to all endpoints by itself. If it ends before
//! that, or the store fails it, the store knows for whom the rest is.

use std::sync::Arc;
use std::time::Duration;

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
    let mut left = Duration::ZERO;
    loop {
        let unmoved_since = context.surroundings.now().minus(left);
        match context.store.go_on_with_fan_outs(unmoved_since, STEP).await {
            Ok(0) => left = LEFT,
            Ok(events) => tracing::info!(events, "went on with events for many endpoints"),
            Err(error) => tracing::warn!(%error, "events for many endpoints are gone on with later"),
        }
        if !rest(&stop, LOOK).await {
            return;
        }
    }
}
