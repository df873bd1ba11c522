//! API keys.

pub(crate) mod create;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod revoke;
pub(crate) mod rotate;

use std::num::NonZeroU32;

use model::access::ApiKey;
use model::ids::KeyId;

use crate::api::Api;
use crate::problem::Problem;

fn present(api: &Api, key: &ApiKey) -> api_types::Key {
    let last_use = api.key_uses.last(key);
    let tenant = key.tenant.and_then(|tenant| api.store.configuration().tenant_by_id(tenant));
    api_types::Key {
        id: key.id.to_string(),
        name: key.name.clone(),
        scopes: key.scopes.names().into_iter().map(str::to_owned).collect(),
        tenant: tenant.map(|tenant| tenant.handle.to_string()),
        expires_at: key.expires_at,
        allowed_networks: key.allowed_networks.iter().map(ToString::to_string).collect(),
        rate_limit_per_second: key.rate_limit.map(NonZeroU32::get),
        created_by: key.created_by.map(|maker| maker.to_string()),
        last_used_at: last_use.map(|one| one.at),
        last_used_from: last_use.map(|one| one.from.to_string()),
        created_at: key.created_at,
        updated_at: key.updated_at,
    }
}

fn parse_id(text: &str) -> Result<KeyId, Problem> {
    text.parse().map_err(|_| missing())
}

fn missing() -> Problem {
    Problem::not_found("API key")
}
