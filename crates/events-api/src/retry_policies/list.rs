//! `GET /v1/retry-policies`

use actix_web::{HttpResponse, web};
use api_types::RetryPolicies;
use model::access::Scope;
use model::retry::RetryPolicy;

use super::{present, present_built_in};
use crate::api::Api;
use crate::auth::Credentials;
use crate::outgoing;
use crate::problem::Problem;

/// Lists the policies that every project has, and the project's own.
#[utoipa::path(get, path = "/v1/retry-policies", tag = "Retry policies", operation_id = "retryPolicies.list",
    security(("api_key" = ["endpoints:read"])),
    responses((status = 200, description = "All policies.", body = RetryPolicies)))]
pub(crate) async fn handle(api: web::Data<Api>, credentials: Credentials) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsRead).await?;
    let own = api.store.list_policies(caller.view().project).await?;
    let built_in = RetryPolicy::BUILT_IN.into_iter().filter_map(present_built_in);
    Ok(outgoing::plain(&RetryPolicies { data: built_in.chain(own.iter().map(present)).collect() }))
}
