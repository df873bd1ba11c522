//! `POST /v1/api-keys`

use std::num::NonZeroU32;

use actix_web::{HttpResponse, web};
use api_types::{KeyRequest, KeyWithSecret};
use delivery_log::access::{KeyCreated, MAX_KEYS, MAX_KEYS_OF_TENANT};
use model::access::{ApiKey, Scope, Scopes, Token, TokenKind};
use model::audit::Action;
use model::ids::{KeyId, TenantId};
use model::names::check_text;

use super::present;
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::Prepared;
use crate::openapi::parameters::{Expected, Repeatable};
use crate::outgoing;
use crate::problem::{Code, Faults, Problem};

/// The longest name of a key, in bytes.
const MAX_NAME: usize = 128;
/// The greatest number of networks of a key.
const MAX_NETWORKS: usize = 50;
/// The greatest number of requests a second that can be given to a key.
const MAX_RATE: u32 = 100_000;

/// Makes a key, which may do no more than the key that makes it. Its secret
/// is shown this once.
#[utoipa::path(post, path = "/v1/api-keys", tag = "API keys", operation_id = "apiKeys.create",
    security(("api_key" = ["keys:write"])),
    params(Repeatable, Expected),
    request_body = KeyRequest,
    responses((status = 201, description = "The key, with its secret.", body = KeyWithSecret),
        (status = 409, description = "There are as many keys as there may be.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::KeysWrite).await?;
    incoming.expect_no_if_match()?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    let key = build(&api, &caller, text.parse()?).await?;
    let token = Token::generate(TokenKind::ApiKey, api.env.entropy.as_ref());
    let answer = KeyWithSecret { key: present(&api, &key), secret: token.reveal().to_owned() };
    let location = format!("/v1/api-keys/{}", key.id);
    let prepared = Prepared::new(&api, (&incoming, &caller, None), &text, 201, Some(location), &answer)?;
    let prepared = prepared.with_etag(key.updated_at);
    let entry = api.entry_in(&caller, key.tenant, Action::KeyCreated, key.id).after(&answer.key);
    let created = api.store.create_key(&key, token.hash(), prepared.once(), entry).await?;
    let settled = prepared.settle(created, |created| match created {
        KeyCreated::Done => Ok(()),
        KeyCreated::TooMany => Err(too_many(&key)),
        KeyCreated::NoTenant => {
            Err(Problem::invalid("/tenant", "unknown_tenant", "was deleted at this moment"))
        }
    });
    settled.map(outgoing::shown_once)
}

fn too_many(key: &ApiKey) -> Problem {
    let detail = match key.tenant {
        None => format!("a project can have {MAX_KEYS} API keys that are bound to no tenant; revoke some"),
        Some(_) => format!("a tenant can have {MAX_KEYS_OF_TENANT} API keys; revoke some"),
    };
    Problem::new(Code::Conflict, detail)
}

async fn build(api: &Api, caller: &Caller, wanted: KeyRequest) -> Result<ApiKey, Problem> {
    let (own, now) = (caller.key()?, api.now());
    let mut faults = Faults::default();
    faults.check("/name", check_text(&wanted.name, MAX_NAME));
    let scopes = faults.check("/scopes", Scopes::from_names(wanted.scopes.iter().map(String::as_str)));
    let scopes = scopes.unwrap_or_default();
    if scopes.is_empty() {
        faults.add("/scopes", "invalid_value", "must name at least one scope");
    }
    if wanted.expires_at.is_some_and(|end| end <= now) {
        faults.add("/expires_at", "invalid_value", "is in the past");
    }
    if wanted.allowed_networks.len() > MAX_NETWORKS {
        faults.add(
            "/allowed_networks",
            "invalid_value",
            format_args!("has more than {MAX_NETWORKS} entries"),
        );
    }
    let networks = wanted.allowed_networks.iter().take(MAX_NETWORKS).enumerate();
    let mut allowed_networks: Vec<ipnet::IpNet> = Vec::new();
    for (index, text) in networks {
        allowed_networks
            .extend(faults.check(&format!("/allowed_networks/{index}"), text.parse::<ipnet::IpNet>()));
    }
    let rate_limit = wanted.rate_limit_per_second.and_then(|rate| {
        let usable = NonZeroU32::new(rate).filter(|_| rate <= MAX_RATE);
        let told = || format!("must be 1 to {MAX_RATE}");
        faults.check("/rate_limit_per_second", usable.ok_or_else(told))
    });
    faults.finish()?;
    let tenant = tenant(api, caller, wanted.tenant.as_deref()).await?;
    // What limits the maker limits what it makes, unless the wish is narrower.
    let expires_at = match (wanted.expires_at, own.expires_at) {
        (Some(wanted), Some(own)) => Some(wanted.min(own)),
        (wanted, own) => wanted.or(own),
    };
    if allowed_networks.is_empty() {
        allowed_networks.clone_from(&own.allowed_networks);
    }
    let key = ApiKey {
        id: api.env.new_id::<KeyId>(),
        project: own.project,
        name: wanted.name,
        scopes,
        tenant,
        expires_at,
        allowed_networks,
        rate_limit: rate_limit.or(own.rate_limit),
        created_by: Some(own.id),
        last_use: None,
        created_at: now,
        updated_at: now,
    };
    caller.check_within(&key)?;
    Ok(key)
}

/// The tenant that the key is bound to: the creator's own, if that is bound.
async fn tenant(api: &Api, caller: &Caller, wanted: Option<&str>) -> Result<Option<TenantId>, Problem> {
    let Some(handle) = wanted else { return Ok(caller.view().tenant) };
    match api.tenant(caller, handle).await {
        Ok(tenant) => Ok(Some(tenant.id)),
        Err(problem) if problem.status() == 404 => {
            Err(Problem::invalid("/tenant", "unknown_tenant", "is not a tenant that this key may see"))
        }
        Err(problem) => Err(problem),
    }
}
