//! `GET /v1/retry-policies/{name}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{find, present, present_built_in};
use crate::api::Api;
use crate::auth::Credentials;
use crate::outgoing;
use crate::problem::Problem;

/// Shows a retry policy.
#[utoipa::path(get, path = "/v1/retry-policies/{name}", tag = "retry policies", params(("name" = String, Path)),
    responses((status = 200, body = api_types::RetryPolicy), (status = 404, body = api_types::Problem)))]
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
