//! Looks whether other processes have stopped their heartbeats, and takes
//! over what they had. Beside the beat, because taking over much takes a while.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Job;
use crate::context::Context;

/// Takes over from the dead.
pub(super) struct TakeOver;

impl Job for TakeOver {
    async fn step(&mut self, context: &Arc<Context>, _: &CancellationToken) -> delivery_log::Result<()> {
        match context.store.take_over_dead().await? {
            0 => {}
            interrupted => {
                tracing::info!(interrupted, "took over the deliveries of a process whose heartbeat stopped")
            }
        }
        Ok(())
    }
}
