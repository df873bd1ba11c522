//! Endpoints.

mod build;
mod certificate;
pub(crate) mod check_filter;
pub(crate) mod create;
mod credentials;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod health;
pub(crate) mod list;
pub(crate) mod pause;
pub(crate) mod read_secret;
pub(crate) mod reset;
pub(crate) mod rotate_secret;
pub(crate) mod test;
pub(crate) mod update;

use std::num::NonZeroU32;

use delivery_log::endpoints::SecretEndpoint;
use delivery_log::tenants::Tenant;
use model::catalogue::VersionStatus;
use model::endpoint::{DEFAULT_TIMEOUT, Endpoint};
use model::replay::ReplayMode;

use crate::api::Api;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::tenants::metadata;

/// How many notices an endpoint shows.
const MAX_NOTICES: usize = 20;
/// Stands for the value of a custom header, which cannot be read.
const MASKED: &str = "***";

fn present(api: &Api, tenant: &Tenant, endpoint: &Endpoint) -> api_types::Endpoint {
    let Endpoint { calls, credentials, .. } = endpoint;
    let policy = api.store.configuration().retry_policy(endpoint.project, &calls.retry_policy);
    let timeout = endpoint.timeout.or(policy.map(|policy| policy.timeout)).unwrap_or(DEFAULT_TIMEOUT);
    api_types::Endpoint {
        id: endpoint.id.to_string(),
        tenant: tenant.handle.to_string(),
        url: endpoint.url.to_string(),
        description: endpoint.description.clone(),
        event_types: endpoint.subscriptions.iter().map(ToString::to_string).collect(),
        payload: endpoint.payload.to_string(),
        headers: endpoint.headers.iter().map(|header| (header.name.clone(), MASKED.to_owned())).collect(),
        timeout_seconds: timeout.as_secs(),
        retry_policy: calls.retry_policy.clone(),
        rate_limit_per_second: calls.rate_limit.map(NonZeroU32::get),
        ordering: calls.ordering.to_string(),
        filter: calls.filter.as_ref().map(|filter| filter.source().clone()),
        format: calls.format.to_string(),
        signature_headers: calls.signature_headers.to_string(),
        signature: calls.signature.to_string(),
        oauth: calls.oauth.as_ref().map(|oauth| api_types::Oauth {
            token_url: oauth.token_url.to_string(),
            client_id: oauth.client_id.clone(),
            scope: oauth.scope.clone(),
            auth_method: oauth.auth_method.to_string(),
        }),
        client_certificate: credentials.client_certificate.as_ref().map(|one| one.chain.clone()),
        status: endpoint.status.to_string(),
        disabled_reason: endpoint.disabled_reason.clone(),
        missed: missed(endpoint),
        notices: notices(api, endpoint),
        metadata: metadata(&endpoint.metadata),
        created_at: endpoint.created_at,
        updated_at: endpoint.updated_at,
    }
}

/// What the endpoint's owner should know of the versions that it is pinned to.
fn notices(api: &Api, endpoint: &Endpoint) -> Vec<String> {
    let mut notices = Vec::new();
    for entry in api.store.configuration().event_types(endpoint.project) {
        if entry.versions.iter().all(|version| version.status == VersionStatus::Active) {
            continue;
        }
        for pin in entry.pins(&endpoint.subscriptions) {
            let Some(version) = entry.version(pin.number) else { continue };
            let what =
                format!("{} is pinned to version {} of {}", pin.subscription, version.number, entry.name);
            let notice = match (version.status, version.sunset_at, entry.followed_by(version.number)) {
                (VersionStatus::Active, ..) => continue,
                (VersionStatus::Deprecated, None, _) => format!("{what}, which is deprecated"),
                (VersionStatus::Deprecated, Some(at), _) => {
                    format!("{what}, which is deprecated and will be retired on {at}")
                }
                (VersionStatus::Retired, _, Some(next)) => {
                    format!("{what}, which is retired; it gets version {next} instead")
                }
                (VersionStatus::Retired, _, None) => {
                    format!("{what}, which is retired; events of this type are no longer delivered to it")
                }
            };
            if notices.len() < MAX_NOTICES {
                notices.push(notice);
            }
        }
    }
    notices
}

/// What the endpoint may have missed while it was disabled, with the replay
/// that sends it.
fn missed(endpoint: &Endpoint) -> Option<api_types::Missed> {
    let since = endpoint.missed_since?;
    Some(api_types::Missed {
        since,
        replay: api_types::ReplayWish {
            mode: ReplayMode::Missing.to_string(),
            to_endpoint: Some(endpoint.id.to_string()),
            filter: api_types::ReplayFilter {
                published_after: Some(since),
                ..api_types::ReplayFilter::default()
            },
            reason: "missed while the endpoint was disabled".to_owned(),
            ..api_types::ReplayWish::default()
        },
    })
}

/// The endpoint in a path, if the caller may see it.
async fn find(api: &Api, caller: &Caller, tenant: &Tenant, id: &str) -> Result<SecretEndpoint, Problem> {
    let missing = || Problem::not_found("endpoint");
    let id = id.parse().map_err(|_| missing())?;
    api.store.find_endpoint(caller.view(), tenant.id, id).await?.ok_or_else(missing)
}
