//! `PATCH /v1/retry-policies/{name}`

use actix_web::{HttpResponse, web};
use api_types::RetryPolicyRequest;
use delivery_log::idempotency::Performed;
use delivery_log::policies::{NamedPolicy, PolicySaved};
use model::access::Scope;
use model::audit::Action;

use super::{build, find, may_change, present, refuse_built_in, request_for};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::openapi::parameters::{Expected, OfPolicy};
use crate::problem::Problem;
use crate::{outgoing, patch};

/// Changes a retry policy. What waits already keeps the time it has; what
/// fails from now on goes by the new one.
#[utoipa::path(patch, path = "/v1/retry-policies/{name}", tag = "Retry policies", operation_id = "retryPolicies.update",
    security(("api_key" = ["project:write"])),
    params(OfPolicy, Expected),
    request_body = RetryPolicyRequest,
    responses((status = 200, description = "The policy, changed.", body = api_types::RetryPolicy),
        (status = 409, description = "Every project has it.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::ProjectWrite).await?;
    may_change(&caller)?;
    refuse_built_in(&path)?;
    let before = find(&api, caller.view().project, &path).await?;
    incoming.check_if_match(before.updated_at)?;
    let wanted: RetryPolicyRequest =
        patch::apply(&request_for(&before.policy), &incoming.text(&api, &caller, BODY_LIMIT).await?)?;
    if wanted.name.is_some() {
        return Err(Problem::invalid("/name", "read_only", "cannot be changed; make another one"));
    }
    let expected = before.updated_at;
    let entry = api.entry(&caller, Action::PolicyUpdated, &before.name).before(&present(&before));
    let after = NamedPolicy { policy: build(&wanted)?, updated_at: api.change_time(expected), ..before };
    match api.store.save_policy(&after, Some(expected), None, entry.after(&present(&after))).await? {
        Performed::First(PolicySaved::Done) => Ok(outgoing::one(&present(&after), after.updated_at)),
        _ => Err(Problem::changed_meanwhile()),
    }
}
