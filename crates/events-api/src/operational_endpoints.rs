//! `/v1/operational-endpoints`: where the platform tells operators about itself.
//!
//! They are endpoints of a tenant that no caller can name, so that the same
//! machinery delivers to them.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use api_types::{EndpointRequest, EndpointWithSecret};
use delivery_log::tenants::Tenant;
use model::access::Scope;
use model::audit::Action;
use model::operations;

use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::endpoints;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, Known, OfEndpoint, Paged, Repeatable};
use crate::problem::{Code, Problem};

/// Where they are.
const AT: &str = "/v1/operational-endpoints";

/// Lists the endpoints to which the platform tells about itself.
#[utoipa::path(get, path = "/v1/operational-endpoints", tag = "Operational endpoints", operation_id = "operationalEndpoints.list",
    security(("api_key" = ["project:write"])),
    params(Paged),
    responses((status = 200, description = "A page of endpoints.", body = api_types::Page<api_types::Endpoint>)))]
pub(crate) async fn list(
    api: web::Data<Api>,
    credentials: Credentials,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let (caller, tenant) = open(&api, credentials).await?;
    endpoints::list::show(&api, &caller, &tenant, &incoming).await
}

/// Registers a URL for events about the platform.
///
/// They are `endpoint.disabled`, `endpoint.warning`, `breaker.opened`,
/// `breaker.closed`, `delivery.failed`, `event_type.sunset`,
/// `event_type.retired`, `durability.degraded` and `durability.restored`.
#[utoipa::path(post, path = "/v1/operational-endpoints", tag = "Operational endpoints", operation_id = "operationalEndpoints.create",
    security(("api_key" = ["project:write"])),
    params(Repeatable, Expected),
    request_body = EndpointRequest,
    responses((status = 201, description = "The endpoint, with its secret.", body = EndpointWithSecret),
        (status = 409, description = "There are as many as there may be.")))]
pub(crate) async fn create(
    api: web::Data<Api>,
    credentials: Credentials,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let (caller, tenant) = open(&api, credentials).await?;
    endpoints::create::make(&api, &caller, &tenant, AT, &mut incoming).await
}

/// Shows one.
#[utoipa::path(get, path = "/v1/operational-endpoints/{endpoint}", tag = "Operational endpoints", operation_id = "operationalEndpoints.get",
    security(("api_key" = ["project:write"])),
    params(OfEndpoint, Known),
    responses((status = 200, description = "The endpoint.", body = api_types::Endpoint)))]
pub(crate) async fn get(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let (caller, tenant) = open(&api, credentials).await?;
    endpoints::get::show(&api, &caller, &tenant, &path).await
}

/// Changes one.
#[utoipa::path(patch, path = "/v1/operational-endpoints/{endpoint}", tag = "Operational endpoints", operation_id = "operationalEndpoints.update",
    security(("api_key" = ["project:write"])),
    params(OfEndpoint, Expected),
    request_body = EndpointRequest,
    responses((status = 200, description = "The endpoint, changed.", body = api_types::Endpoint)))]
pub(crate) async fn update(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let (caller, tenant) = open(&api, credentials).await?;
    endpoints::update::change(&api, &caller, &tenant, &path, &mut incoming).await
}

/// Removes one.
#[utoipa::path(delete, path = "/v1/operational-endpoints/{endpoint}", tag = "Operational endpoints", operation_id = "operationalEndpoints.delete",
    security(("api_key" = ["project:write"])),
    params(OfEndpoint, Expected),
    responses((status = 204, description = "It is gone.")))]
pub(crate) async fn delete(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let (caller, tenant) = open(&api, credentials).await?;
    endpoints::delete::remove(&api, &caller, &tenant, &path, &incoming).await
}

/// Shows the signing secret of one.
#[utoipa::path(get, path = "/v1/operational-endpoints/{endpoint}/secret", tag = "Operational endpoints", operation_id = "operationalEndpoints.getSecret",
    security(("api_key" = ["project:write", "secrets:read"])),
    params(OfEndpoint),
    responses((status = 200, description = "The secret.", body = api_types::Secret)))]
pub(crate) async fn read_secret(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let (caller, tenant) = open(&api, credentials).await?;
    caller.require(Scope::SecretsRead)?;
    endpoints::read_secret::show(&api, &caller, &tenant, &path).await
}

/// Who asks, and the tenant that stands for the operators. It is made when it
/// is asked for first.
async fn open(api: &Api, credentials: Credentials) -> Result<(Caller, Arc<Tenant>), Problem> {
    let caller = credentials.require(Scope::ProjectWrite).await?;
    if caller.view().tenant.is_some() {
        let detail = "a key that is bound to a tenant has no operational endpoints";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let handle = operations::handle();
    let project = caller.view().project;
    let tenant = match api.store.configuration().tenant(project, &handle) {
        Some(tenant) => tenant,
        None => api
            .make_tenant(project, &handle, "Operations", api.entry(&caller, Action::TenantCreated, &handle))
            .await?
            .ok_or_else(|| Problem::not_found("project"))?,
    };
    Ok((caller, tenant))
}
