//! `POST /v1/tenants/{tenant}/portal-sessions/end-all`

use actix_web::{HttpResponse, web};
use api_types::EndedPortalSessions;
use delivery_log::portal::EndSessions;
use model::access::Scope;
use model::audit::Action;

use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, InTenant};
use crate::outgoing;
use crate::problem::Problem;

/// Ends all portal sessions of a tenant at once.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/portal-sessions/end-all", tag = "Portal sessions",
    operation_id = "portalSessions.endAll",
    security(("api_key" = ["portal:write"])),
    params(InTenant, Expected),
    responses((status = 200, description = "How many have ended.", body = EndedPortalSessions)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::PortalWrite).await?;
    incoming.expect_no_if_match()?;
    let tenant = api.tenant(&caller, &path).await?;
    let entry = api.entry_in(&caller, tenant.id, Action::SessionEnded, "all of the tenant");
    let which = EndSessions::OfTenant(tenant.id);
    let ended = api.store.end_portal_sessions(caller.view(), which, entry).await?;
    Ok(outgoing::plain(&EndedPortalSessions { ended }))
}
