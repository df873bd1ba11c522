//! `DELETE /v1/tenants/{tenant}/endpoints/{endpoint}`

use actix_web::{HttpResponse, web};
use delivery_log::tenants::Tenant;
use model::access::Scope;
use model::audit::Action;

use super::{find, present};
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, InTenant, OfEndpoint};
use crate::outgoing;
use crate::problem::{Problem, made};

/// Removes an endpoint; what waited for it is canceled.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/endpoints/{endpoint}", tag = "Endpoints", operation_id = "endpoints.delete",
    security(("api_key" = ["endpoints:write"])),
    params(InTenant, OfEndpoint, Expected),
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsWrite).await?;
    let tenant = api.tenant(&caller, &path.0).await?;
    remove(&api, &caller, &tenant, &path.1, &incoming).await
}

/// Removes an endpoint of a tenant.
pub(crate) async fn remove(
    api: &Api,
    caller: &Caller,
    tenant: &Tenant,
    id: &str,
    incoming: &Incoming,
) -> Result<HttpResponse, Problem> {
    let endpoint = find(api, caller, tenant, id).await?.endpoint;
    incoming.check_if_match(endpoint.updated_at)?;
    let entry = api.entry_in(caller, tenant.id, Action::EndpointDeleted, endpoint.id);
    let entry = entry.before(&present(api, tenant, &endpoint));
    made(api.store.delete_endpoint(caller.view(), endpoint.id, endpoint.updated_at, entry).await?)?;
    Ok(outgoing::nothing())
}
