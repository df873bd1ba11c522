//! `POST /v1/tenants/{tenant}/endpoints/{endpoint}/reset`

use actix_web::{HttpResponse, web};
use model::access::Scope;
use model::audit::Action;

use super::find;
use super::health::report;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, InTenant, OfEndpoint};
use crate::outgoing;
use crate::problem::Problem;

/// Closes the endpoint's breaker and ends its holds: what waits is tried now.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/endpoints/{endpoint}/reset", tag = "Endpoints", operation_id = "endpoints.reset",
    security(("api_key" = ["endpoints:operate"])),
    params(InTenant, OfEndpoint, Expected),
    responses((status = 200, description = "How it does now.", body = api_types::EndpointHealth)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsOperate).await?;
    let tenant = api.tenant(&caller, &path.0).await?;
    let endpoint = find(&api, &caller, &tenant, &path.1).await?.endpoint;
    incoming.check_if_match(endpoint.updated_at)?;
    let entry = api.entry_in(&caller, tenant.id, Action::EndpointReset, endpoint.id);
    api.store.reset_endpoint(&endpoint, entry).await?;
    Ok(outgoing::plain(&report(&api, endpoint.id).await?))
}
