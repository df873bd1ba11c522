//! Looks whether the time of day jumped, and makes up for it.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Job;
use crate::context::Context;

/// Compares the time of day with a clock that only runs on.
pub(super) struct Clock;

impl Job for Clock {
    async fn step(&mut self, context: &Arc<Context>, _: &CancellationToken) -> delivery_log::Result<()> {
        let jump = context.clocks.look(context.env.now(), Instant::now());
        let Some(jump) = jump else { return Ok(()) };
        let seconds = jump.by / 1_000_000;
        tracing::error!(
            seconds,
            "the time of day jumped; what waits is given that time again, and nothing is thrown away for an hour: \
             check this host's clock"
        );
        context.metrics.clock_jumps.inc();
        // Not again: what was made up for already would be made up for twice.
        if let Err(error) = context.store.make_up_for_jump(jump.before, jump.by).await {
            tracing::error!(%error, "cannot reschedule what waits after a clock jump");
        }
        Ok(())
    }
}
