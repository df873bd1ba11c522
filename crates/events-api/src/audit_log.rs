//! The audit log, to be read.

pub(crate) mod list;

use delivery_log::audit::Recorded;

fn present(recorded: &Recorded) -> api_types::AuditEntry {
    let content = recorded.content.as_ref().ok();
    api_types::AuditEntry {
        id: recorded.id.to_string(),
        number: recorded.number,
        at: recorded.at,
        actor: content.map(|said| said.actor.clone()),
        address: content.and_then(|said| said.address).map(|address| address.to_string()),
        request_id: content.and_then(|said| said.request.clone()),
        action: content.map(|said| said.action.to_string()),
        target: content.map(|said| said.target.clone()),
        tenant: content.and_then(|said| said.tenant.clone()),
        before: content.and_then(|said| said.before.clone()),
        after: content.and_then(|said| said.after.clone()),
        reason: content.and_then(|said| said.reason.clone()),
        erased_by: recorded.content.as_ref().err().map(ToString::to_string),
    }
}
