//! `PATCH /v1/tenants/{tenant}`

use actix_web::{HttpResponse, web};
use api_types::TenantRequest;
use delivery_log::tenants::Tenant;
use model::access::Scope;
use serde_json::Value;

use super::{build, metadata, present, updated_entry};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::openapi::parameters::{Expected, InTenant};
use crate::problem::{Problem, made};
use crate::{outgoing, patch};

/// Changes what is known of a tenant. With the scope `contacts:write` alone, that is
/// its contacts.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}", tag = "Tenants", operation_id = "tenants.update",
    security(("api_key" = ["contacts:write"])),
    params(InTenant, Expected),
    request_body = TenantRequest,
    responses((status = 200, description = "The tenant, changed.", body = api_types::Tenant)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::ContactsWrite).await?;
    let before = api.tenant(&caller, &path).await?;
    incoming.check_if_match(before.updated_at)?;
    let present_state = TenantRequest {
        id: None,
        name: Some(before.name.clone()),
        contacts: before.contacts.clone(),
        metadata: metadata(&before.metadata),
    };
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    let patch: Value = text.parse()?;
    if !is_about_contacts(&patch) {
        caller.require(Scope::TenantsWrite)?;
    }
    let wanted = patch::apply_value(&present_state, patch)?;
    let wanted = build(&api, &caller, Some(&path), wanted)?;
    let after = Tenant {
        id: before.id,
        paused_at: before.paused_at,
        created_at: before.created_at,
        updated_at: api.change_time(before.updated_at),
        ..wanted
    };
    let entry = updated_entry(&api, &caller, &before, &after);
    made(api.store.update_tenant(&after, before.updated_at, entry).await?)?;
    let mut shown = present(&after);
    if !caller.may(Scope::TenantsRead) && !caller.may(Scope::TenantsWrite) {
        // The product's own notes.
        shown.metadata.clear();
    }
    Ok(outgoing::one(&shown, after.updated_at))
}

/// Whether a patch changes nothing but contacts.
fn is_about_contacts(patch: &Value) -> bool {
    patch.as_object().is_some_and(|members| members.keys().all(|name| name == "contacts"))
}
