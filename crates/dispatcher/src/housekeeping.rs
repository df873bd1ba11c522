//! What nobody waits for: expired holds, deleted endpoints, old events.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::replays;
use crate::rest::rest;

/// What was held for longer is given up.
const MAX_HOLD: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How many rows are changed in one transaction, so that writers wait little.
const STEP: u32 = 500;

/// Looks after things again and again until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    while rest(&stop, context.settings.housekeeping_interval).await {
        if let Err(error) = tidy(&context, &stop).await {
            tracing::warn!(%error, "housekeeping failed and goes on later");
        }
    }
}

/// Does all there is to do, in small steps.
async fn tidy(context: &Context, stop: &CancellationToken) -> delivery_log::Result<()> {
    if context.clocks.are_in_doubt() {
        return Ok(());
    }
    let now = context.surroundings.now();
    while !stop.is_cancelled() {
        let settled = context.store.settle_held(now.minus(MAX_HOLD), STEP).await?;
        let purged = context.store.purge(now, STEP).await?
            + replays::forget(context, 1).await?
            + context.store.forget_quarantined(now, STEP).await?;
        if settled > 0 || purged > 0 {
            tracing::debug!(settled, purged, "tidied up");
        }
        if settled + purged < u64::from(STEP) {
            return Ok(());
        }
        // Others want to write too.
        tokio::task::yield_now().await;
    }
    Ok(())
}
