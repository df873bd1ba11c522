//! Retry policies.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod update;

use std::time::Duration;

use api_types::RetryPolicyRequest;
use delivery_log::policies::NamedPolicy;
use model::ids::ProjectId;
use model::retry::RetryPolicy;

use crate::api::Api;
use crate::auth::Caller;
use crate::problem::{Code, Problem};

fn present(named: &NamedPolicy) -> api_types::RetryPolicy {
    shown(&named.name, &named.policy, Some(named))
}

/// A policy that every project has.
fn present_built_in(name: &str) -> Option<api_types::RetryPolicy> {
    RetryPolicy::built_in(name).map(|policy| shown(name, &policy, None))
}

fn shown(name: &str, policy: &RetryPolicy, own: Option<&NamedPolicy>) -> api_types::RetryPolicy {
    api_types::RetryPolicy {
        name: name.to_owned(),
        built_in: own.is_none(),
        initial_seconds: policy.initial.as_secs_f64(),
        multiplier: policy.multiplier,
        max_interval_seconds: policy.cap.as_secs_f64(),
        jitter: policy.jitter,
        max_age_seconds: policy.max_age.as_secs_f64(),
        timeout_seconds: policy.timeout.as_secs(),
        permanent_statuses: policy.permanent.clone(),
        permanent_waits_seconds: policy.permanent_waits.iter().map(Duration::as_secs_f64).collect(),
        created_at: own.map(|own| own.created_at),
        updated_at: own.map(|own| own.updated_at),
    }
}

/// What a caller would have to ask for to get this policy.
fn request_for(policy: &RetryPolicy) -> RetryPolicyRequest {
    RetryPolicyRequest {
        name: None,
        initial_seconds: Some(policy.initial.as_secs_f64()),
        multiplier: Some(policy.multiplier),
        max_interval_seconds: Some(policy.cap.as_secs_f64()),
        jitter: Some(policy.jitter),
        max_age_seconds: Some(policy.max_age.as_secs_f64()),
        timeout_seconds: Some(policy.timeout.as_secs()),
        permanent_statuses: Some(policy.permanent.clone()),
        permanent_waits_seconds: Some(policy.permanent_waits.iter().map(Duration::as_secs_f64).collect()),
    }
}

/// A policy, checked. What is not given is as in `standard`.
fn build(wanted: &RetryPolicyRequest) -> Result<RetryPolicy, Problem> {
    let standard = RetryPolicy::standard();
    let span = |field: &str, wanted: Option<f64>, otherwise: Duration| match wanted {
        None => Ok(otherwise),
        Some(secs) => Duration::try_from_secs_f64(secs).map_err(|_| {
            Problem::invalid(format!("/{field}"), "invalid_value", "is not a number of seconds")
        }),
    };
    let waits = wanted.permanent_waits_seconds.as_ref().map(|waits| {
        waits.iter().map(|secs| span("permanent_waits_seconds", Some(*secs), Duration::ZERO)).collect()
    });
    let policy = RetryPolicy {
        initial: span("initial_seconds", wanted.initial_seconds, standard.initial)?,
        multiplier: wanted.multiplier.unwrap_or(standard.multiplier),
        cap: span("max_interval_seconds", wanted.max_interval_seconds, standard.cap)?,
        jitter: wanted.jitter.unwrap_or(standard.jitter),
        max_age: span("max_age_seconds", wanted.max_age_seconds, standard.max_age)?,
        timeout: wanted.timeout_seconds.map_or(standard.timeout, Duration::from_secs),
        permanent: wanted.permanent_statuses.clone().unwrap_or(standard.permanent),
        permanent_waits: waits.transpose()?.unwrap_or(standard.permanent_waits),
    };
    policy
        .check()
        .map_err(|fault| Problem::invalid(format!("/{}", fault.field), "invalid_value", fault.detail))?;
    Ok(policy)
}

/// A policy of the project's own.
async fn find(api: &Api, project: ProjectId, name: &str) -> Result<NamedPolicy, Problem> {
    let all = api.store.list_policies(project).await?;
    all.into_iter().find(|own| own.name == name).ok_or_else(|| Problem::not_found("retry policy"))
}

/// Policies belong to the project; a key that is bound to a tenant reads them only.
fn may_change(caller: &Caller) -> Result<(), Problem> {
    match caller.view().tenant {
        None => Ok(()),
        Some(_) => {
            let detail = "a key that is bound to a tenant cannot change the project's retry policies";
            Err(Problem::new(Code::Forbidden, detail))
        }
    }
}

/// What every project has stays as it is.
fn refuse_built_in(name: &str) -> Result<(), Problem> {
    match RetryPolicy::BUILT_IN.contains(&name) {
        false => Ok(()),
        true => {
            Err(Problem::new(Code::Conflict, format!("{name} is a built-in policy; choose another name")))
        }
    }
}
