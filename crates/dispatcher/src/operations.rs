//! The platform tells operators about itself, through its own machinery.

use std::time::Duration;

use delivery_log::configuration::LiveEndpoint;
use delivery_log::events::Publish;
use model::endpoint::Endpoint;
use model::event::{EventData, Labels};
use model::names::Subject;
use model::operations::{self, Operation};
use serde_json::{Value, json};

use crate::context::Context;

/// How long to wait before the store is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// Details of our own making are far smaller.
const MAX_DATA: usize = 16 * 1024;

/// Publishes what operators should know about an endpoint, if one of their
/// endpoints wants it. `details` are added to who and where it is.
pub(crate) async fn tell(context: &Context, live: &LiveEndpoint, what: Operation, details: Value) {
    let Endpoint { id, project, tenant, .. } = &live.endpoint;
    let configuration = context.store.configuration();
    let Some(operators) = configuration.tenant(*project, &operations::handle()) else { return };
    // What happens to the operators' own endpoints is in the log alone.
    if operators.id == *tenant {
        return;
    }
    let event_type = what.event_type();
    let wanted = configuration.endpoints_of(operators.id).unwrap_or_default();
    if !wanted.iter().any(|endpoint| endpoint.endpoint.wants(&event_type, 1).is_ok()) {
        return;
    }
    let handle = configuration.tenant_by_id(*tenant).map(|tenant| tenant.handle.to_string());
    let mut data = json!({ "endpoint": id.to_string(), "tenant": handle });
    if let (Some(data), Value::Object(details)) = (data.as_object_mut(), details) {
        data.extend(details);
    }
    let Ok(data) = EventData::parse(&data.to_string(), MAX_DATA) else { return };
    let event = Publish {
        project: *project,
        tenant: operators.id,
        event_type,
        schema_version: 1,
        subject: Subject::parse(&id.to_string()).expect("an id is a subject"),
        revision: None,
        occurred_at: None,
        ordering_key: None,
        labels: Labels::default(),
        data,
        claim: None,
        test: None,
    };
    while let Err(error) = context.store.publish(event.clone()).await {
        if !error.is_transient() || context.cut.is_cancelled() {
            return tracing::warn!(%error, endpoint.id = %id, "operators were not told");
        }
        tokio::time::sleep(AGAIN).await;
    }
}
