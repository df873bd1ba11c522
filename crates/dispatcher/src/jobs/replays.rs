//! Replays go on part by part, on whichever dispatcher looks first.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Job;
use crate::context::Context;

/// How many replays go on at one look.
const AT_ONCE: u32 = 16;

/// Sends one part of each replay that is due.
pub(super) struct Replays;

impl Job for Replays {
    async fn step(&mut self, context: &Arc<Context>, _: &CancellationToken) -> delivery_log::Result<()> {
        let now = context.env.now();
        for id in context.store.due_replays(now, AT_ONCE).await? {
            if let Err(error) = context.store.advance_replay(id).await {
                tracing::warn!(%error, replay.id = %id, "a part of a replay failed and will be retried");
            }
        }
        Ok(())
    }
}
