//! Events that wait because their data does not fit its schema.

pub(crate) mod drop;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod release;

use delivery_log::quarantine::Quarantined;
use model::access::Scope;
use model::ids::QuarantineId;
use serde_json::value::RawValue;

use crate::api::Api;
use crate::auth::Caller;
use crate::problem::{Code, Problem};

fn present(api: &Api, caller: &Caller, one: &Quarantined) -> api_types::QuarantinedEvent {
    let tenant = api.store.configuration().tenant_by_id(one.tenant);
    let faults = one.faults.iter();
    let error = |fault: &model::schema::Fault| api_types::FieldError {
        pointer: fault.pointer.clone(),
        code: "schema".to_owned(),
        detail: fault.detail.clone(),
    };
    api_types::QuarantinedEvent {
        id: one.id.to_string(),
        tenant: tenant.map(|tenant| tenant.handle.to_string()).unwrap_or_default(),
        event_type: one.event.event_type.clone(),
        schema_version: one.event.schema_version,
        subject: one.event.subject.clone(),
        state: one.state.to_string(),
        event: one.became.map(|event| event.to_string()),
        errors: faults.map(error).collect(),
        data: data(caller, one),
        created_at: one.created_at,
        updated_at: one.updated_at,
    }
}

/// The data, for a reader with `payloads:read`. It does not fit its schema, so
/// the schema cannot tell what in it is sensitive.
fn data(caller: &Caller, one: &Quarantined) -> Option<Box<RawValue>> {
    let text =
        caller.may(Scope::PayloadsRead).then(|| String::from_utf8_lossy(one.data.as_bytes()).into_owned());
    text.and_then(|text| RawValue::from_string(text).ok())
}

fn missing() -> Problem {
    Problem::not_found("event in quarantine")
}

fn ended(one: &Quarantined) -> Problem {
    Problem::new(Code::Conflict, format!("it was {} already", one.state))
}

/// The event in a path, if the caller may see it.
async fn find(api: &Api, caller: &Caller, id: &str) -> Result<Quarantined, Problem> {
    let id: QuarantineId = id.parse().map_err(|_| missing())?;
    api.store.find_quarantined(caller.view(), id).await?.ok_or_else(missing)
}
