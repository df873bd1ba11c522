//! What nobody waits for: expired holds, deleted endpoints, old events.

use std::sync::Arc;
use std::time::Duration;

use model::audit;
use model::portal;
use model::replay::KEPT;
use tokio_util::sync::CancellationToken;

use super::Job;
use crate::context::Context;

/// What was held for longer is given up.
const MAX_HOLD: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How many rows are changed in one transaction, so that writers wait little.
const STEP: u32 = 500;

/// Does all there is to do, in small steps.
pub(super) struct Housekeeping;

impl Job for Housekeeping {
    async fn step(&mut self, context: &Arc<Context>, stop: &CancellationToken) -> delivery_log::Result<()> {
        if context.clocks.are_in_doubt() {
            return Ok(());
        }
        let now = context.env.now();
        while !stop.is_cancelled() {
            let settled = context.store.settle_held(now.minus(MAX_HOLD), STEP).await?;
            let purged = context.store.purge(now, STEP).await?
                + context.store.forget_replays(now.minus(KEPT), 1).await?
                + context.store.forget_quarantined(now, STEP).await?
                + context.store.forget_portal_sessions(now.minus(portal::KEPT), STEP).await?
                + context.store.forget_audit(now.minus(audit::KEPT), STEP).await?;
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
}
