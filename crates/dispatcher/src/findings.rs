//! What follows from what was found out about an endpoint.

use std::sync::Arc;
use std::time::Duration;

use delivery_log::configuration::LiveEndpoint;
use model::health::{Finding, GONE_EVENTS};

use crate::context::Context;

/// How long to wait before the store is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Does what has to be done, when the attempt is in the log.
pub(crate) async fn act(context: &Arc<Context>, live: &LiveEndpoint, findings: Vec<Finding>) {
    for finding in findings {
        let endpoint = &live.endpoint;
        match finding {
            Finding::BreakerOpened { until } => {
                context.metrics.breaker_opened.inc();
                tracing::info!(endpoint.id = %endpoint.id, %until, "an endpoint's breaker has opened");
            }
            Finding::BreakerClosed => {
                tracing::info!(endpoint.id = %endpoint.id, "an endpoint's breaker is closed again");
            }
            Finding::Warning { after, failing_since } => {
                let hours = after.as_secs() / 3_600;
                tracing::warn!(endpoint.id = %endpoint.id, %failing_since, hours, "an endpoint has only failed");
            }
            Finding::Gone => {
                let reason = format!(
                    "the endpoint answered 410 Gone for {GONE_EVENTS} different events within an hour"
                );
                disable(context, live, &reason).await;
            }
            Finding::Hopeless { failing_since } => {
                disable(context, live, &format!("every call has failed since {failing_since}")).await;
            }
        }
    }
}

async fn disable(context: &Context, live: &LiveEndpoint, reason: &str) {
    let id = live.endpoint.id;
    loop {
        match context.store.disable_endpoint(id, reason).await {
            Ok(()) => return tracing::info!(endpoint.id = %id, reason, "disabled an endpoint"),
            Err(error) if error.is_transient() && !context.cut.is_cancelled() => {
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => {
                return tracing::warn!(%error, endpoint.id = %id, "an endpoint was not disabled");
            }
        }
    }
}
