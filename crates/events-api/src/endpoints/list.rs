//! `GET /v1/tenants/{tenant}/endpoints`

use actix_web::{HttpResponse, web};
use delivery_log::tenants::Tenant;
use model::access::Scope;

use super::present;
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::Incoming;
use crate::openapi::parameters::{InTenant, Paged};
use crate::page;
use crate::problem::Problem;
use crate::query::Query;

/// Lists the endpoints of a tenant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/endpoints", tag = "Endpoints", operation_id = "endpoints.list",
    security(("api_key" = ["endpoints:read"])),
    params(InTenant, Paged),
    responses((status = 200, description = "A page of endpoints.", body = api_types::Page<api_types::Endpoint>)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsRead).await?;
    let tenant = api.tenant(&caller, &path).await?;
    show(&api, &caller, &tenant, &incoming).await
}

/// The endpoints of a tenant.
pub(crate) async fn show(
    api: &Api,
    caller: &Caller,
    tenant: &Tenant,
    incoming: &Incoming,
) -> Result<HttpResponse, Problem> {
    let request = Query::parse(incoming.path(), incoming.query())?.list(&[])?;
    let found = api.store.list_endpoints(caller.view(), tenant.id, request.page).await?;
    Ok(page::answer(incoming.path(), &request, found.map(|secret| present(api, tenant, &secret.endpoint))))
}
