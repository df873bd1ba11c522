//! `GET /v1/tenants`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::Paged;
use crate::page;
use crate::problem::Problem;
use crate::query::Query;

/// Lists tenants.
#[utoipa::path(get, path = "/v1/tenants", tag = "Tenants", operation_id = "tenants.list",
    security(("api_key" = ["tenants:read"])),
    params(Paged),
    responses((status = 200, description = "A page of tenants.", body = api_types::Page<api_types::Tenant>)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::TenantsRead).await?;
    let request = Query::parse(incoming.path(), incoming.query())?.list(&[])?;
    let found = api.store.list_tenants(caller.view(), request.page).await?;
    Ok(page::answer(incoming.path(), &request, found.map(|tenant| present(&tenant))))
}
