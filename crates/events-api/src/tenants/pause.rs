//! `POST /v1/tenants/{tenant}/pause` and `/resume`

use actix_web::{HttpResponse, web};
use model::access::Scope;
use model::audit::Action;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, InTenant};
use crate::outgoing;
use crate::problem::Problem;

/// Holds everything that waits for the tenant's endpoints, until it is resumed.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/pause", tag = "Tenants", operation_id = "tenants.pause",
    security(("api_key" = ["tenants:write"])),
    params(InTenant, Expected),
    responses((status = 200, description = "The tenant, paused.", body = api_types::Tenant)))]
pub(crate) async fn pause(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    set(&api, credentials, &path, &incoming, true).await
}

/// Lets go what was held by a pause of the tenant.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/resume", tag = "Tenants", operation_id = "tenants.resume",
    security(("api_key" = ["tenants:write"])),
    params(InTenant, Expected),
    responses((status = 200, description = "The tenant, going on.", body = api_types::Tenant)))]
pub(crate) async fn resume(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    set(&api, credentials, &path, &incoming, false).await
}

async fn set(
    api: &Api,
    credentials: Credentials,
    handle: &str,
    incoming: &Incoming,
    paused: bool,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::TenantsWrite).await?;
    let tenant = api.tenant(&caller, handle).await?;
    incoming.check_if_match(tenant.updated_at)?;
    let action = if paused { Action::TenantPaused } else { Action::TenantResumed };
    let entry = api.entry_in(&caller, tenant.id, action, &tenant.handle);
    let after = api.store.pause_tenant(caller.view(), tenant.id, paused, entry).await?;
    let after = after.ok_or_else(|| Problem::not_found("tenant"))?;
    Ok(outgoing::one(&present(&after), after.updated_at))
}
