//! `POST /v1/tenants/{tenant}/endpoints/{endpoint}/pause` and `/resume`

use actix_web::{HttpResponse, web};
use model::access::Scope;
use model::audit::Action;
use model::endpoint::{Endpoint, EndpointStatus};

use super::{find, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, InTenant, OfEndpoint};
use crate::outgoing;
use crate::problem::{Code, Problem, made};

/// Holds what is for the endpoint until it is resumed. No try is spent meanwhile.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/endpoints/{endpoint}/pause", tag = "Endpoints", operation_id = "endpoints.pause",
    security(("api_key" = ["endpoints:operate"])),
    params(InTenant, OfEndpoint, Expected),
    responses((status = 200, description = "The endpoint, paused.", body = api_types::Endpoint),
        (status = 409, description = "It is disabled.")))]
pub(crate) async fn pause(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    set(&api, credentials, &path, &incoming, EndpointStatus::Paused).await
}

/// Lets go what was held by a pause of the endpoint.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/endpoints/{endpoint}/resume", tag = "Endpoints", operation_id = "endpoints.resume",
    security(("api_key" = ["endpoints:operate"])),
    params(InTenant, OfEndpoint, Expected),
    responses((status = 200, description = "The endpoint, going on.", body = api_types::Endpoint),
        (status = 409, description = "It is disabled.")))]
pub(crate) async fn resume(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    set(&api, credentials, &path, &incoming, EndpointStatus::Enabled).await
}

async fn set(
    api: &Api,
    credentials: Credentials,
    (handle, id): &(String, String),
    incoming: &Incoming,
    status: EndpointStatus,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsOperate).await?;
    let tenant = api.tenant(&caller, handle).await?;
    let before = find(api, &caller, &tenant, id).await?.endpoint;
    incoming.check_if_match(before.updated_at)?;
    let shown = present(api, &tenant, &before);
    if before.status == EndpointStatus::Disabled {
        let detail =
            "the endpoint is disabled; whoever may change it enables it with PATCH {\"status\":\"enabled\"}";
        return Err(Problem::new(Code::Conflict, detail));
    }
    // The same twice.
    if before.status == status {
        return Ok(outgoing::one(&shown, before.updated_at));
    }
    let expected = before.updated_at;
    let after = Endpoint { status, updated_at: api.change_time(expected), ..before };
    let entry = api.entry_in(&caller, tenant.id, Action::EndpointUpdated, after.id).before(&shown);
    let shown = present(api, &tenant, &after);
    made(api.store.update_endpoint(&after, expected, entry.after(&shown)).await?)?;
    Ok(outgoing::one(&shown, after.updated_at))
}
