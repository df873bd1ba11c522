//! Tenants.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod pause;
pub(crate) mod replace;
pub(crate) mod update;

use api_types::TenantRequest;
use delivery_log::tenants::Tenant;
use model::audit::{Action, Entry};
use model::ids::TenantId;
use model::names::{TenantHandle, check_address, check_text};
use model::operations;

use crate::api::Api;
use crate::auth::Caller;
use crate::outgoing::to_json;
use crate::problem::{Faults, Problem};

/// The longest name of a tenant, in bytes.
const MAX_NAME: usize = 256;
/// The greatest number of mail addresses of a tenant.
const MAX_CONTACTS: usize = 10;
/// The longest metadata, in bytes of JSON.
pub(crate) const MAX_METADATA: usize = 8 * 1024;

fn present(tenant: &Tenant) -> api_types::Tenant {
    api_types::Tenant {
        id: tenant.handle.to_string(),
        name: tenant.name.clone(),
        contacts: tenant.contacts.clone(),
        paused_at: tenant.paused_at,
        metadata: metadata(&tenant.metadata),
        created_at: tenant.created_at,
        updated_at: tenant.updated_at,
    }
}

/// What the audit log is to say of a tenant that is made.
fn new_entry(api: &Api, caller: &Caller, tenant: &Tenant) -> Entry {
    let entry = api.entry(caller, Action::TenantCreated, &tenant.handle).after(&present(tenant));
    entry.of_tenant(tenant.id, &tenant.handle)
}

/// What the audit log is to say of a change of a tenant.
fn updated_entry(api: &Api, caller: &Caller, before: &Tenant, after: &Tenant) -> Entry {
    let entry = api.entry_in(caller, before.id, Action::TenantUpdated, &before.handle);
    entry.before(&present(before)).after(&present(after))
}

/// Metadata as it was stored.
pub(crate) fn metadata(text: &str) -> api_types::Metadata {
    serde_json::from_str(text).unwrap_or_default()
}

/// The text of metadata, if it is not too long.
pub(crate) fn check_metadata(metadata: &api_types::Metadata) -> Result<String, String> {
    let text = to_json(metadata);
    if text.len() > MAX_METADATA {
        return Err(format!("is longer than {MAX_METADATA} bytes"));
    }
    if text.contains("\\u0000") {
        return Err("must not contain NUL".to_owned());
    }
    Ok(text)
}

/// Mail addresses that look like some.
fn contacts(faults: &mut Faults, wanted: Vec<String>) -> Vec<String> {
    if wanted.len() > MAX_CONTACTS {
        faults.add("/contacts", "invalid_value", format_args!("has more than {MAX_CONTACTS} entries"));
    }
    for (index, address) in wanted.iter().enumerate().take(MAX_CONTACTS) {
        if let Err(error) = check_address(address) {
            faults.add(format!("/contacts/{index}"), "invalid_value", error);
        }
    }
    wanted
}

/// A new tenant, checked. `handle` is the one in the path, if there is one.
fn build(api: &Api, caller: &Caller, handle: Option<&str>, wanted: TenantRequest) -> Result<Tenant, Problem> {
    let mut faults = Faults::default();
    let id = match (handle, wanted.id.as_deref()) {
        (Some(path), Some(body)) if path != body => {
            faults.add("/id", "invalid_value", "must be the id in the path, or left out");
            None
        }
        (Some(path), _) => faults.check("/id", TenantHandle::parse(path)),
        (None, Some(body)) => faults.check("/id", TenantHandle::parse(body)),
        (None, None) => {
            faults.add("/id", "required", "is required");
            None
        }
    };
    if id.as_ref().is_some_and(operations::is_reserved) {
        faults.add("/id", "invalid_value", "must not begin with posthorn:, which is the platform's own");
    }
    let name = wanted.name.or_else(|| id.as_ref().map(ToString::to_string)).unwrap_or_default();
    if id.is_some() {
        faults.check("/name", check_text(&name, MAX_NAME));
    }
    let metadata = faults.check("/metadata", check_metadata(&wanted.metadata));
    let contacts = contacts(&mut faults, wanted.contacts);
    let (Some(handle), Some(metadata)) = (id, metadata) else {
        return Err(faults.into());
    };
    faults.finish()?;
    let now = api.now();
    Ok(Tenant {
        id: api.env.new_id::<TenantId>(),
        project: caller.view().project,
        handle,
        name,
        metadata,
        contacts,
        paused_at: None,
        created_at: now,
        updated_at: now,
    })
}
