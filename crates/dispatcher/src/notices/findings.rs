//! What follows from what was found out about an endpoint.

use std::sync::Arc;

use delivery_log::Edited;
use delivery_log::configuration::LiveEndpoint;
use model::audit::{Action, Actor, Entry};
use model::clock::Timestamp;
use model::endpoint::Endpoint;
use model::health::{Finding, GONE_EVENTS};
use model::operations::Operation;
use serde_json::json;

use super::operations;
use crate::context::Context;
use crate::until_taken::until_taken;

/// Does what has to be done, when the attempt is in the log.
pub(crate) async fn act(context: &Arc<Context>, live: &LiveEndpoint, findings: Vec<Finding>) {
    for finding in findings {
        let id = live.endpoint.id;
        match finding {
            Finding::BreakerOpened { until } => {
                context.metrics.breaker_opened.inc();
                tracing::info!(endpoint.id = %id, %until, "an endpoint's breaker has opened");
                let details = json!({ "url": live.endpoint.url.as_str(), "until": until });
                operations::tell(context, live, Operation::BreakerOpened, details).await;
            }
            Finding::BreakerClosed => {
                tracing::info!(endpoint.id = %id, "an endpoint's breaker is closed again");
                operations::tell(context, live, Operation::BreakerClosed, json!({})).await;
            }
            Finding::Warning { after, failing_since } => {
                let hours = after.as_secs() / 3_600;
                tracing::warn!(endpoint.id = %id, %failing_since, hours, "an endpoint is failing");
                let details = json!({ "failing_since": failing_since, "hours": hours });
                operations::tell(context, live, Operation::EndpointWarning, details).await;
                warn_contacts(context, live, hours, failing_since).await;
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

async fn warn_contacts(context: &Context, live: &LiveEndpoint, hours: u64, since: Timestamp) {
    let Endpoint { id, url, .. } = &live.endpoint;
    let text = format!(
        "Every call to {url} has failed since {since}, for {hours} hours.\n\n\
         Undelivered events are kept and retried. If no call succeeds within 120 hours, \
         the endpoint will be disabled.\n\n\
         Endpoint {id}\n"
    );
    mail(context, live, "Your webhook endpoint is failing", &text).await;
}

async fn mail(context: &Context, live: &LiveEndpoint, subject: &str, text: &str) {
    let Some(mailer) = &context.mailer else { return };
    let tenant = context.store.configuration().tenant_by_id(live.endpoint.tenant);
    if let Some(tenant) = tenant {
        mailer.send(&tenant.contacts, subject, text, context.env.entropy.as_ref()).await;
    }
}

async fn disable(context: &Context, live: &LiveEndpoint, reason: &str) {
    let id = live.endpoint.id;
    let entry = Entry::by(Actor::Posthorn, Action::EndpointDisabled, id).because(reason);
    let entry = context.store.configuration().entry_about(entry, Some(live.endpoint.tenant));
    let disable = || context.store.disable_endpoint(&live.endpoint, reason, entry.clone());
    match until_taken(Some(&context.cut), disable).await {
        // Somebody has changed it meanwhile: what it answered before says nothing.
        Ok(Edited::Outdated) => return,
        Ok(Edited::Done) => tracing::info!(endpoint.id = %id, reason, "disabled an endpoint"),
        Err(error) => return tracing::warn!(%error, endpoint.id = %id, "an endpoint was not disabled"),
    }
    let details = json!({ "url": live.endpoint.url.as_str(), "reason": reason });
    operations::tell(context, live, Operation::EndpointDisabled, details).await;
    let text = format!(
        "{} no longer receives events.\n\nReason: {reason}.\n\nUndelivered events are kept. \
         Enable the endpoint again when it is healthy.\n\nEndpoint {id}\n",
        live.endpoint.url
    );
    mail(context, live, "Your webhook endpoint was disabled", &text).await;
}
