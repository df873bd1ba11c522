//! What was attempted goes into the log, and operators hear of what failed for good.

use std::sync::Arc;

use serde_json::json;

use delivery_log::configuration::LiveEndpoint;
use delivery_log::deliveries::{Finished, Recorded};
use delivery_log::hand_off::ReadyDelivery;
use model::attempt::Trigger;
use model::delivery::{DeliveryStatus, Failure};
use model::operations::Operation;

use crate::context::Context;
use crate::notices::operations;
use crate::until_taken::until_taken;

/// Offers the attempt to the log until it is taken; gives what became of it, or
/// nothing if it never will be.
///
/// While the database is away, attempts gather here; their number is bounded
/// by the slots, because a lane does not start more than it may leave unrecorded.
pub(crate) async fn record(context: &Context, finished: &Arc<Finished>) -> Option<Recorded> {
    context.metrics.unrecorded.inc();
    let recorded = until_taken(None, || context.store.finish(Arc::clone(finished))).await;
    context.metrics.unrecorded.dec();
    match recorded {
        Ok(Recorded::Advanced) => context.metrics.ended(finished.verdict.status),
        Ok(Recorded::Late) => context.metrics.late.inc(),
        Err(ref error) => {
            tracing::error!(%error, delivery.id = %finished.attempt.delivery, "an attempt cannot be logged");
        }
    }
    recorded.ok()
}

/// Why a delivery failed for good with this attempt, if that is for operators to know.
pub(crate) fn failed_for_good(
    ready: &ReadyDelivery,
    finished: &Finished,
    recorded: Option<Recorded>,
) -> Option<Failure> {
    match finished.verdict.status {
        DeliveryStatus::Failed(failure)
            if recorded == Some(Recorded::Advanced) && ready.trigger != Trigger::Test =>
        {
            Some(failure)
        }
        _ => None,
    }
}

/// Tells operators that a delivery has failed for good.
pub(crate) async fn tell_of_failure(
    context: &Context,
    ready: &ReadyDelivery,
    endpoint: &LiveEndpoint,
    finished: &Finished,
    failure: Failure,
) {
    let details = json!({
        "delivery": ready.id.to_string(),
        "event": ready.event.id.to_string(),
        "type": ready.event.event_type.as_str(),
        "failure": failure.as_str(),
        "attempts": finished.attempt.number,
        "error_class": finished.attempt.error_class.as_str(),
        "http_status": finished.attempt.http_status(),
    });
    operations::tell(context, endpoint, Operation::DeliveryFailed, details).await;
}
