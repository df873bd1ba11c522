//! Erasures go on, also when the request that began one has ended.

use std::sync::Arc;

use delivery_log::erasures::ErasureStep;
use tokio_util::sync::CancellationToken;

use super::Job;
use crate::context::Context;

/// How many erasures go on at one look.
const AT_ONCE: u32 = 16;
/// How many events are removed in one transaction, so that writers wait little.
const STEP: u32 = 200;

/// Goes on with each erasure as far as it goes now.
pub(super) struct Erasures;

impl Job for Erasures {
    async fn step(&mut self, context: &Arc<Context>, stop: &CancellationToken) -> delivery_log::Result<()> {
        for id in context.store.running_erasures(AT_ONCE).await? {
            while !stop.is_cancelled() {
                match context.store.advance_erasure(id, STEP).await {
                    Ok(Some(ErasureStep::GoesOn(_))) => tokio::task::yield_now().await,
                    Ok(Some(ErasureStep::Ended(_))) => {
                        tracing::info!(erasure.id = %id, "an erasure has ended");
                        break;
                    }
                    Ok(Some(ErasureStep::Waits(_)) | None) => break,
                    // The others go on.
                    Err(error) => {
                        tracing::warn!(%error, erasure.id = %id, "a step of an erasure failed and will be retried");
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
