//! From a request to an event that cannot be invalid.

use api_types::PublishRequest;
use delivery_log::events::Publish;
use delivery_log::idempotency::{self, Claim, KeySpace, SpacedKey};
use delivery_log::tenants::Tenant;
use model::event::{EventData, InvalidData, Labels};
use model::event_type::EventType;
use model::ids::TenantId;
use model::names::{IdempotencyKey, OrderingKey, Subject, TenantHandle};
use model::operations;
use model::project::UnknownTenant;

use super::fits::{Fitting, fit};
use crate::api::{Api, new_id};
use crate::auth::Caller;
use crate::incoming::fingerprint;
use crate::problem::{Code, Faults, Problem};

/// The greatest revision: what a signed 64-bit number holds.
const MAX_REVISION: u64 = i64::MAX as u64;

/// An event to publish, and how its data fits the catalogue.
pub(super) struct Built {
    pub(super) publish: Publish,
    /// Or why it cannot be published, whatever it holds.
    pub(super) fitting: Result<Fitting, Problem>,
}

/// An event to publish. `key` is that of the request's header; it, or that of
/// the event itself, belongs to `space`.
pub(super) async fn publish(
    api: &Api,
    caller: &Caller,
    wanted: &PublishRequest,
    key: Option<IdempotencyKey>,
    space: KeySpace,
) -> Result<Built, Problem> {
    let mut faults = Faults::default();
    let handle = faults.check("/tenant", TenantHandle::parse(&wanted.tenant));
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
    let data = match EventData::parse(wanted.data.get(), api.settings.max_data_bytes) {
        Err(error @ InvalidData::TooLarge { .. }) => {
            return Err(Problem::new(Code::PayloadTooLarge, format!("/data: {error}")));
        }
        other => faults.check("/data", other),
    };
    let (Some(handle), Some(event_type), Some(subject), Some(labels), Some(data)) =
        (handle, event_type, subject, labels, data)
    else {
        return Err(faults.into());
    };
    faults.finish()?;
    let tenant = tenant(api, caller, &handle).await?;
    let project = caller.view().project;
    let mut fitting = fit(api, (project, tenant), &event_type, wanted.schema_version, &data);
    if fitting.is_err() {
        // What is not known here may just have been made by another process.
        api.store.refresh().await?;
        fitting = fit(api, (project, tenant), &event_type, wanted.schema_version, &data);
    }
    let publish = Publish {
        project,
        tenant,
        event_type,
        schema_version: fitting.as_ref().map_or(1, |fitting| fitting.version),
        subject,
        revision: wanted.revision,
        occurred_at: wanted.occurred_at,
        ordering_key,
        labels,
        data,
        older: fitting.as_mut().map(|fitting| std::mem::take(&mut fitting.older)).unwrap_or_default(),
        claim: key.map(|key| claim(api, SpacedKey::new(space, &key), tenant, wanted)),
        test: None,
        endpoints: 0,
    };
    Ok(Built { publish, fitting })
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

/// What a repetition is recognised by: every field that was given, and not
/// the bytes of the request, so that a batch can repeat a single publish. The
/// tenant counts by its own id: one that was created again is another.
fn claim(api: &Api, key: SpacedKey, tenant: TenantId, wanted: &PublishRequest) -> Claim {
    let number = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    let labels = serde_json::to_string(&wanted.labels).unwrap_or_default();
    let fingerprint = fingerprint(&[
        &tenant.to_string(),
        &wanted.event_type,
        &wanted.subject,
        wanted.data.get(),
        &number(wanted.schema_version.map(u64::from)),
        &number(wanted.revision),
        &wanted.occurred_at.map(|at| at.as_micros().to_string()).unwrap_or_default(),
        wanted.ordering_key.as_deref().unwrap_or_default(),
        &labels,
    ]);
    Claim { key, fingerprint, expires_at: api.now().plus(idempotency::KEPT) }
}

async fn tenant(api: &Api, caller: &Caller, handle: &TenantHandle) -> Result<TenantId, Problem> {
    if let Some(tenant) = api.find_tenant(caller, handle).await? {
        return Ok(tenant.id);
    }
    let project = api.store.configuration().project(caller.view().project);
    let creates = project.is_some_and(|project| project.unknown_tenant == UnknownTenant::Create);
    if creates && caller.view().tenant.is_none() && !operations::is_reserved(handle) {
        create_tenant(api, caller, handle).await?;
        if let Some(tenant) = api.find_tenant(caller, handle).await? {
            return Ok(tenant.id);
        }
    }
    Err(unknown_tenant())
}

/// The problem of a publish for a tenant that is not there.
pub(super) fn unknown_tenant() -> Problem {
    Problem::invalid(
        "/tenant",
        "unknown_tenant",
        "is not a tenant of this project; create it with PUT /v1/tenants/{tenant}",
    )
}

async fn create_tenant(api: &Api, caller: &Caller, handle: &TenantHandle) -> Result<(), Problem> {
    let now = api.now();
    let tenant = Tenant {
        id: new_id!(TenantId, api),
        project: caller.view().project,
        handle: handle.clone(),
        name: handle.to_string(),
        metadata: "{}".to_owned(),
        contacts: Vec::new(),
        paused_at: None,
        created_at: now,
        updated_at: now,
    };
    // Another publish may have made it first: then that one is used.
    api.store.create_tenant(&tenant, None).await?;
    Ok(())
}
