//! Events for many endpoints that somebody left half done.
//!
//! A process gives such an event to all endpoints by itself. If it ends before
//! that, or the store fails it, the store knows for whom the rest is.

use std::sync::Arc;
use std::time::Duration;

use model::clock::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Job;
use crate::context::Context;

/// What was not gone on with for so long was left by whoever was at it.
const LEFT: Duration = Duration::from_secs(10);
/// How many events are gone on with at once.
const STEP: u32 = 100;

/// Goes on with what was left. At the start, that is everything: an embedded store
/// has no other process that could be at it, and where there is one, whoever comes
/// second does nothing.
#[derive(Default)]
pub(super) struct FanOuts {
    is_started: bool,
}

impl Job for FanOuts {
    async fn step(&mut self, context: &Arc<Context>, stop: &CancellationToken) -> delivery_log::Result<()> {
        let unmoved_since = match self.is_started {
            false => Timestamp::FAR_FUTURE,
            true => context.env.now().minus(LEFT),
        };
        // What was handed in goes on as long as the store is open.
        let going_on = context.store.go_on_with_fan_outs(unmoved_since, STEP);
        let Some(events) = stop.run_until_cancelled(going_on).await.transpose()? else { return Ok(()) };
        self.is_started |= events < u64::from(STEP);
        if events > 0 {
            tracing::info!(events, "resumed the fan-out of events that were left unfinished");
        }
        Ok(())
    }
}
