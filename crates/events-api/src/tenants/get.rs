//! `GET /v1/tenants/{tenant}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::{InTenant, Known};
use crate::outgoing;
use crate::problem::Problem;

/// Shows a tenant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", tag = "Tenants", operation_id = "tenants.get",
    security(("api_key" = ["tenants:read"])),
    params(InTenant, Known),
    responses((status = 200, description = "The tenant.", body = api_types::Tenant)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::TenantsRead).await?;
    let tenant = api.tenant(&caller, &path).await?;
    Ok(outgoing::one(&present(&tenant), tenant.updated_at))
}
