//! `DELETE /v1/retry-policies/{name}`

use actix_web::{HttpResponse, web};
use delivery_log::policies::PolicyRemoved;
use model::access::Scope;
use model::audit::Action;

use super::{find, may_change, present, refuse_built_in};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, OfPolicy};
use crate::outgoing;
use crate::problem::{Code, Problem};

/// Removes a retry policy that no endpoint uses.
#[utoipa::path(delete, path = "/v1/retry-policies/{name}", tag = "Retry policies", operation_id = "retryPolicies.delete",
    security(("api_key" = ["project:write"])),
    params(OfPolicy, Expected),
    responses((status = 204, description = "It is gone."),
        (status = 409, description = "An endpoint uses it, or every project has it.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::ProjectWrite).await?;
    may_change(&caller)?;
    refuse_built_in(&path)?;
    let before = find(&api, caller.view().project, &path).await?;
    incoming.check_if_match(before.updated_at)?;
    let entry = api.entry(&caller, Action::PolicyDeleted, &before.name).before(&present(&before));
    match api.store.remove_policy(caller.view().project, &path, entry).await? {
        PolicyRemoved::Done => Ok(outgoing::nothing()),
        PolicyRemoved::NotFound => Err(Problem::not_found("retry policy")),
        PolicyRemoved::InUse(count) => Err(Problem::new(
            Code::Conflict,
            format!("{count} endpoints use this policy; give them another one first"),
        )),
    }
}
