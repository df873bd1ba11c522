//! `GET /v1/retry-policies/{name}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{find, present, present_built_in};
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::{Known, OfPolicy};
use crate::outgoing;
use crate::problem::Problem;

/// Shows a retry policy.
#[utoipa::path(get, path = "/v1/retry-policies/{name}", tag = "Retry policies", operation_id = "retryPolicies.get",
    security(("api_key" = ["endpoints:read"])),
    params(OfPolicy, Known),
    responses((status = 200, description = "The policy.", body = api_types::RetryPolicy)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsRead).await?;
    if let Some(built_in) = present_built_in(&path) {
        return Ok(outgoing::plain(&built_in));
    }
    let own = find(&api, caller.view().project, &path).await?;
    Ok(outgoing::one(&present(&own), own.updated_at))
}
