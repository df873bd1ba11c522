//! Endpoints.

mod build;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod read_secret;
pub(crate) mod rotate_secret;
pub(crate) mod test;
pub(crate) mod update;

use delivery_log::endpoints::SecretEndpoint;
use delivery_log::tenants::Tenant;
use model::endpoint::Endpoint;

use crate::api::Api;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::tenants::metadata;

/// Stands for the value of a custom header, which cannot be read.
const MASKED: &str = "***";

fn present(tenant: &Tenant, endpoint: &Endpoint) -> api_types::Endpoint {
    api_types::Endpoint {
        id: endpoint.id.to_string(),
        tenant: tenant.handle.to_string(),
        url: endpoint.url.to_string(),
        description: endpoint.description.clone(),
        event_types: endpoint.subscriptions.iter().map(ToString::to_string).collect(),
        payload: endpoint.payload.to_string(),
        headers: endpoint.headers.iter().map(|header| (header.name.clone(), MASKED.to_owned())).collect(),
        timeout_seconds: endpoint.timeout.as_secs(),
        status: endpoint.status.to_string(),
        disabled_reason: endpoint.disabled_reason.clone(),
        metadata: metadata(&endpoint.metadata),
        created_at: endpoint.created_at,
        updated_at: endpoint.updated_at,
    }
}

/// The endpoint in a path, if the caller may see it.
async fn find(api: &Api, caller: &Caller, tenant: &Tenant, id: &str) -> Result<SecretEndpoint, Problem> {
    let missing = || Problem::not_found("endpoint");
    let id = id.parse().map_err(|_| missing())?;
    api.store.find_endpoint(caller.view(), tenant.id, id).await?.ok_or_else(missing)
}
