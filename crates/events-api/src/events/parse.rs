//! From a request to what cannot be invalid. Nothing else is looked at here.

use api_types::PublishRequest;
use model::clock::Timestamp;
use model::event::{EventData, InvalidData, Labels};
use model::event_type::EventType;
use model::names::{IdempotencyKey, OrderingKey, Subject, TenantHandle};

use crate::problem::{Code, Faults, Problem};

/// The greatest revision: what a signed 64-bit number holds.
const MAX_REVISION: u64 = i64::MAX as u64;

/// A request to publish an event, of which every field is valid by itself.
pub(super) struct Parsed {
    pub(super) tenant: TenantHandle,
    pub(super) event_type: EventType,
    pub(super) schema_version: Option<u32>,
    pub(super) subject: Subject,
    pub(super) revision: Option<u64>,
    pub(super) occurred_at: Option<Timestamp>,
    pub(super) ordering_key: Option<OrderingKey>,
    pub(super) labels: Labels,
    pub(super) data: EventData,
    pub(super) key: Option<IdempotencyKey>,
}

/// Parses a request. `key` is that of its header.
///
/// # Errors
///
/// Names every field that is not valid.
pub(super) fn parse(
    wanted: &PublishRequest,
    key: Option<IdempotencyKey>,
    max_data_bytes: usize,
) -> Result<Parsed, Problem> {
    let mut faults = Faults::default();
    let tenant = faults.check("/tenant", TenantHandle::parse(&wanted.tenant));
    let event_type = faults.check("/type", EventType::parse(&wanted.event_type));
    let subject = faults.check("/subject", Subject::parse(&wanted.subject));
    let ordering_key = wanted.ordering_key.as_deref().map(OrderingKey::parse);
    let ordering_key = ordering_key.and_then(|key| faults.check("/ordering_key", key));
    let labels = wanted.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let labels = faults.check("/labels", Labels::parse(labels));
    if wanted.revision.is_some_and(|revision| revision > MAX_REVISION) {
        faults.add("/revision", "invalid_value", format_args!("must be at most {MAX_REVISION}"));
    }
    if wanted.schema_version == Some(0) {
        faults.add("/schema_version", "invalid_value", "must be at least 1");
    }
    let key = chosen_key(&mut faults, key, wanted.idempotency_key.as_deref());
    let data = match EventData::parse(wanted.data.get(), max_data_bytes) {
        Err(error @ InvalidData::TooLarge { .. }) => {
            return Err(Problem::new(Code::PayloadTooLarge, format!("/data: {error}")));
        }
        other => faults.check("/data", other),
    };
    let (Some(tenant), Some(event_type), Some(subject), Some(labels), Some(data)) =
        (tenant, event_type, subject, labels, data)
    else {
        return Err(faults.into());
    };
    faults.finish()?;
    Ok(Parsed {
        tenant,
        event_type,
        schema_version: wanted.schema_version,
        subject,
        revision: wanted.revision,
        occurred_at: wanted.occurred_at,
        ordering_key,
        labels,
        data,
        key,
    })
}

/// The key of the header or of the field; both may be given if they are equal.
fn chosen_key(
    faults: &mut Faults,
    header: Option<IdempotencyKey>,
    field: Option<&str>,
) -> Option<IdempotencyKey> {
    let field = field.and_then(|text| faults.check("/idempotency_key", IdempotencyKey::parse(text)));
    match (header, field) {
        (Some(header), Some(field)) if header != field => {
            faults.add("/idempotency_key", "invalid_value", "differs from the header Idempotency-Key");
            None
        }
        (header, field) => header.or(field),
    }
}
