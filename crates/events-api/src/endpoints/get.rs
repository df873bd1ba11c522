//! `GET /v1/tenants/{tenant}/endpoints/{endpoint}`

use actix_web::{HttpResponse, web};
use delivery_log::tenants::Tenant;
use model::access::Scope;

use super::{find, present};
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::openapi::parameters::{InTenant, Known, OfEndpoint};
use crate::outgoing;
use crate::problem::Problem;

/// Shows an endpoint.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/endpoints/{endpoint}", tag = "Endpoints", operation_id = "endpoints.get",
    security(("api_key" = ["endpoints:read"])),
    params(InTenant, OfEndpoint, Known),
    responses((status = 200, description = "The endpoint.", body = api_types::Endpoint)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsRead).await?;
    let tenant = api.tenant(&caller, &path.0).await?;
    show(&api, &caller, &tenant, &path.1).await
}

/// An endpoint of a tenant.
pub(crate) async fn show(
    api: &Api,
    caller: &Caller,
    tenant: &Tenant,
    id: &str,
) -> Result<HttpResponse, Problem> {
    let endpoint = find(api, caller, tenant, id).await?.endpoint;
    Ok(outgoing::one(&present(api, tenant, &endpoint), endpoint.updated_at))
}
