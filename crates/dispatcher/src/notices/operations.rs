//! The platform tells operators about itself, through its own machinery.

use delivery_log::configuration::LiveEndpoint;
use delivery_log::events::Publish;
use delivery_log::idempotency::{KEPT, KeySpace, KeyUse, SpacedKey};
use model::endpoint::Endpoint;
use model::event::{EventData, Labels};
use model::ids::ProjectId;
use model::names::{IdempotencyKey, Subject};
use model::operations::{self, Operation};
use serde_json::{Value, json};

use crate::context::Context;
use crate::until_taken::until_taken;

/// Details of our own making are far smaller.
const MAX_DATA: usize = 16 * 1024;

/// Publishes what operators should know about an endpoint, if one of their
/// endpoints wants it. `details` are added to who and where it is.
pub(crate) async fn tell(context: &Context, live: &LiveEndpoint, what: Operation, details: Value) {
    let Endpoint { id, project, tenant, .. } = &live.endpoint;
    let configuration = context.store.configuration();
    // What happens to the operators' own endpoints is in the log alone.
    if configuration.tenant(*project, &operations::handle()).is_some_and(|operators| operators.id == *tenant)
    {
        return;
    }
    let handle = configuration.tenant_by_id(*tenant).map(|tenant| tenant.handle.to_string());
    let mut data = json!({ "endpoint": id.to_string(), "tenant": handle });
    if let (Some(data), Value::Object(details)) = (data.as_object_mut(), details) {
        data.extend(details);
    }
    publish(context, *project, what, &id.to_string(), &data, None).await;
}

/// Publishes what operators should know, if one of their endpoints wants it.
/// With a key, it is published once, whoever does it.
pub(crate) async fn publish(
    context: &Context,
    project: ProjectId,
    what: Operation,
    subject: &str,
    data: &Value,
    key: Option<&str>,
) {
    let configuration = context.store.configuration();
    let Some(operators) = configuration.tenant(project, &operations::handle()) else { return };
    let event_type = what.event_type();
    let wanted = configuration.endpoints_of(operators.id).unwrap_or_default();
    if !wanted.iter().any(|endpoint| endpoint.endpoint.wants(None, &event_type, 1).is_ok()) {
        return;
    }
    let (Ok(data), Ok(subject)) = (EventData::parse(&data.to_string(), MAX_DATA), Subject::parse(subject))
    else {
        return tracing::warn!(subject, "operators were not told: the notice is too long");
    };
    let key_use = key.and_then(|key| IdempotencyKey::parse(key).ok()).map(|key| KeyUse {
        fingerprint: [0; 32],
        key: SpacedKey::new(KeySpace::Notices, &key),
        expires_at: context.env.now().plus(KEPT),
    });
    let event = Publish {
        project,
        tenant: operators.id,
        event_type,
        schema_version: 1,
        subject,
        revision: None,
        occurred_at: None,
        ordering_key: None,
        labels: Labels::default(),
        data,
        matched: None,
        key_use,
        test: None,
        endpoints: 0,
    };
    if let Err(error) = until_taken(Some(&context.cut), || context.store.publish(event.clone())).await {
        tracing::warn!(%error, event.subject = %event.subject, "operators were not told");
    }
}
