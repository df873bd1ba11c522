//! `GET /v1/tenants/{tenant}/portal-sessions`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{InTenant, Paged};
use crate::page;
use crate::problem::Problem;
use crate::query::Query;

/// Lists the portal sessions of a tenant that are open.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/portal-sessions", tag = "Portal sessions",
    operation_id = "portalSessions.list",
    security(("api_key" = ["portal:write"])),
    params(InTenant, Paged),
    responses((status = 200, description = "A page of sessions.", body = api_types::Page<api_types::PortalSession>)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::PortalWrite).await?;
    let tenant = api.tenant(&caller, &path).await?;
    let request = Query::parse(incoming.path(), incoming.query())?.list(&[])?;
    let found = api.store.list_portal_sessions(caller.view(), tenant.id, request.page).await?;
    Ok(page::answer(incoming.path(), &request, found.map(|session| present(&tenant, &session))))
}
