//! `DELETE /v1/tenants/{tenant}/portal-sessions/{session}`

use actix_web::{HttpResponse, web};
use delivery_log::portal::EndSessions;
use model::access::Scope;
use model::audit::Action;

use super::{find, missing};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, InTenant, OfSession};
use crate::outgoing;
use crate::problem::Problem;

/// Ends a portal session at once.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/portal-sessions/{session}", tag = "Portal sessions",
    operation_id = "portalSessions.end",
    security(("api_key" = ["portal:write"])),
    params(InTenant, OfSession, Expected),
    responses((status = 204, description = "It has ended.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::PortalWrite).await?;
    let (tenant, id) = path.into_inner();
    let tenant = api.tenant(&caller, &tenant).await?;
    let session = find(&api, &tenant, &id).await?;
    incoming.check_if_match(session.session.created_at)?;
    let which = EndSessions::One(tenant.id, session.session.id);
    let entry = api.entry_in(&caller, tenant.id, Action::SessionEnded, session.session.id);
    match api.store.end_portal_sessions(caller.view(), which, entry).await? {
        0 => Err(missing()),
        _ => Ok(outgoing::nothing()),
    }
}
