//! `DELETE /v1/tenants/{tenant}`

use actix_web::{HttpResponse, web};
use model::access::Scope;
use model::audit::Action;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::erasures::create::{begin, build};
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, InTenant, WithErasure};
use crate::outgoing;
use crate::problem::{Problem, made};
use crate::query::Query;

/// Removes a tenant with its endpoints and keys; what waited is canceled. With `erase`,
/// everything that is kept of it is erased, too.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}", tag = "Tenants", operation_id = "tenants.delete",
    security(("api_key" = ["tenants:write"])),
    params(InTenant, WithErasure, Expected),
    responses((status = 204, description = "It is gone."),
        (status = 200, description = "With `erase`: the receipt.", body = api_types::Erasure),
        (status = 202, description = "With `erase`: it takes longer, and goes on by itself.", body = api_types::Erasure)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::TenantsWrite).await?;
    let tenant = api.tenant(&caller, &path).await?;
    incoming.check_if_match(tenant.updated_at)?;
    let mut query = Query::parse(incoming.path(), incoming.query())?;
    let erase = query.flag("erase");
    query.finish()?;
    if erase {
        caller.require(Scope::EraseWrite)?;
        let handle = tenant.handle.clone();
        let erasure = build(&api, &caller, handle, (Some(&tenant), None), String::new()).await?;
        return begin(&api, &caller, &erasure, Some(tenant), None).await;
    }
    let entry = api.entry_in(&caller, tenant.id, Action::TenantDeleted, &tenant.handle);
    let entry = entry.before(&present(&tenant));
    made(api.store.delete_tenant(caller.view(), tenant.id, tenant.updated_at, entry).await?)?;
    Ok(outgoing::nothing())
}
