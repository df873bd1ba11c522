//! Events.

pub(crate) mod accept;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod list_deliveries;
mod parse;
pub(crate) mod publish;
pub(crate) mod publish_batch;
mod quarantine;
mod resolve;
mod validate;

use delivery_log::events::StoredEvent;
use model::event::EventData;
use serde_json::value::RawValue;

fn present(stored: &StoredEvent, data: Option<&EventData>) -> api_types::Event {
    let event = &stored.event;
    api_types::Event {
        id: event.id.to_string(),
        tenant: stored.tenant.to_string(),
        event_type: event.event_type.to_string(),
        subject: event.subject.to_string(),
        schema_version: event.schema_version,
        revision: event.revision,
        sequence: event.sequence,
        occurred_at: event.occurred_at,
        ordering_key: event.ordering_key.to_string(),
        labels: event.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        test: event.test,
        unmatched: stored
            .unmatched
            .iter()
            .map(|unmatched| api_types::Unmatched {
                endpoint: unmatched.endpoint.to_string(),
                reason: unmatched.reason.clone(),
            })
            .collect(),
        created_at: event.created_at,
        data: data.and_then(raw),
    }
}

/// The publisher's bytes, as they stand in an answer.
fn raw(data: &EventData) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(data.as_bytes().to_vec()).ok()?).ok()
}
