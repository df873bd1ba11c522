//! `DELETE /v1/tenants/{tenant}`

use actix_web::{HttpResponse, web};
use model::access::Scope;
use model::audit::Action;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, InTenant};
use crate::outgoing;
use crate::problem::{Problem, made};

/// Removes a tenant with its endpoints and keys; what waited is canceled.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}", tag = "Tenants", operation_id = "tenants.delete",
    security(("api_key" = ["tenants:write"])),
    params(InTenant, Expected),
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::TenantsWrite).await?;
    let tenant = api.tenant(&caller, &path).await?;
    incoming.check_if_match(tenant.updated_at)?;
    let entry = api.entry_in(&caller, tenant.id, Action::TenantDeleted, &tenant.handle);
    let entry = entry.before(&present(&tenant));
    made(api.store.delete_tenant(caller.view(), tenant.id, tenant.updated_at, entry).await?)?;
    Ok(outgoing::nothing())
}
