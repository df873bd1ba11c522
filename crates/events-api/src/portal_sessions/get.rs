//! `GET /v1/tenants/{tenant}/portal-sessions/{session}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{find, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::{InTenant, Known, OfSession};
use crate::outgoing;
use crate::problem::Problem;

/// Reads a portal session, without what opens it.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/portal-sessions/{session}", tag = "Portal sessions",
    operation_id = "portalSessions.get",
    security(("api_key" = ["portal:write"])),
    params(InTenant, OfSession, Known),
    responses((status = 200, description = "The session.", body = api_types::PortalSession)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::PortalWrite).await?;
    let (tenant, id) = path.into_inner();
    let tenant = api.tenant(&caller, &tenant).await?;
    let known = find(&api, &tenant, &id).await?;
    Ok(outgoing::one(&present(&tenant, &known.session), known.session.created_at))
}
