//! `POST /v1/retry-policies`

use actix_web::{HttpResponse, web};
use api_types::RetryPolicyRequest;
use delivery_log::policies::{NamedPolicy, PolicySaved};
use model::access::Scope;
use model::audit::Action;
use model::retry::{MAX_POLICIES, MAX_POLICY_NAME};

use super::{build, may_change, present, refuse_built_in};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::Prepared;
use crate::openapi::parameters::{Expected, Repeatable};
use crate::problem::{Code, Problem};

/// Makes a retry policy, which endpoints then choose by its name.
#[utoipa::path(post, path = "/v1/retry-policies", tag = "Retry policies", operation_id = "retryPolicies.create",
    security(("api_key" = ["project:write"])),
    params(Repeatable, Expected),
    request_body = RetryPolicyRequest,
    responses((status = 201, description = "The policy.", body = api_types::RetryPolicy),
        (status = 409, description = "There is one of this name, or there are as many as there may be.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::ProjectWrite).await?;
    may_change(&caller)?;
    incoming.expect_no_if_match()?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    let wanted: RetryPolicyRequest = text.parse()?;
    let name = check_name(wanted.name.as_deref())?;
    refuse_built_in(&name)?;
    let (policy, now) = (build(&wanted)?, api.now());
    let new = NamedPolicy { project: caller.view().project, name, policy, created_at: now, updated_at: now };
    let location = Some(format!("/v1/retry-policies/{}", new.name));
    let prepared = Prepared::new(&api, (&incoming, &caller, None), &text, 201, location, &present(&new))?;
    let prepared = prepared.with_etag(new.updated_at);
    let entry = api.entry(&caller, Action::PolicyCreated, &new.name).after(&present(&new));
    let saved = api.store.save_policy(&new, None, prepared.once(), entry).await?;
    prepared.settle(saved, |saved| match saved {
        PolicySaved::Done => Ok(()),
        PolicySaved::TooMany => Err(Problem::new(
            Code::Conflict,
            format!("a project can have at most {MAX_POLICIES} retry policies"),
        )),
        PolicySaved::Taken | PolicySaved::Changed => {
            let detail = format!("there is a retry policy {} already; use PATCH to change it", new.name);
            Err(Problem::new(Code::Conflict, detail))
        }
    })
}

fn check_name(name: Option<&str>) -> Result<String, Problem> {
    let name = name.ok_or_else(|| Problem::invalid("/name", "required", "is required"))?;
    let plain =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    if name.is_empty() || name.len() > MAX_POLICY_NAME || !plain {
        let detail = format!("must be 1 to {MAX_POLICY_NAME} of a-z, 0-9, _ and -");
        return Err(Problem::invalid("/name", "invalid_value", detail));
    }
    Ok(name.to_owned())
}
