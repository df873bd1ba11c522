//! `POST /v1/tenants/{tenant}/endpoints/{endpoint}/secret/rotate`

use std::time::Duration;

use actix_web::{HttpResponse, web};
use api_types::{RotateSecret, Secret};
use delivery_log::endpoints::SecretEndpoint;
use model::access::Scope;
use model::audit::Action;
use model::clock::Timestamp;
use model::endpoint::{ActiveSecret, DEFAULT_OVERLAP, Endpoint, MAX_OVERLAP};
use model::secret::SigningSecret;

use super::create::choose_secret;
use super::{find, read_secret};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::{Prepared, repeated};
use crate::openapi::parameters::{Expected, InTenant, OfEndpoint, Repeatable};
use crate::problem::{Problem, made};

/// So many secrets may sign at once; the header grows with each.
const MAX_ACTIVE: usize = 4;

/// Gives an endpoint a new secret. During the overlap the old one signs too.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/endpoints/{endpoint}/secret/rotate", tag = "Endpoints", operation_id = "endpoints.rotateSecret",
    security(("api_key" = ["endpoints:write", "secrets:read"])),
    params(InTenant, OfEndpoint, Repeatable, Expected),
    request_body = Option<RotateSecret>,
    responses((status = 200, description = "The new secret, and the one before it while both sign.", body = Secret)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsWrite).await?;
    caller.require(Scope::SecretsRead)?;
    let tenant = api.tenant(&caller, &path.0).await?;
    let before = find(&api, &caller, &tenant, &path.1).await?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    if let Some(answer) = repeated(&api, (&incoming, &caller, Some(tenant.id)), &text).await? {
        return Ok(answer);
    }
    incoming.check_if_match(before.endpoint.updated_at)?;
    let wanted: RotateSecret = text.parse_if_any()?;
    let secret = choose_secret(&api, wanted.secret.as_deref())?;
    let overlap = overlap(wanted.overlap_seconds)?;
    let expected = before.endpoint.updated_at;
    let after = rotated(before, secret, api.now(), overlap, api.change_time(expected))?;
    let shown = read_secret::present(&after, api.now());
    let prepared = Prepared::new(&api, (&incoming, &caller, Some(tenant.id)), &text, 200, None, &shown)?;
    let entry = api.entry_in(&caller, tenant.id, Action::SecretRotated, after.endpoint.id);
    let replaced =
        api.store.replace_secrets(&after.endpoint, &after.secrets, expected, prepared.once(), entry).await?;
    prepared.settle(replaced, made)
}

/// An overlap that is not too long.
pub(crate) fn overlap(wanted: Option<u64>) -> Result<Duration, Problem> {
    let overlap = wanted.map_or(DEFAULT_OVERLAP, Duration::from_secs);
    if overlap > MAX_OVERLAP {
        let detail = format!("must be at most {}", MAX_OVERLAP.as_secs());
        return Err(Problem::invalid("/overlap_seconds", "invalid_value", detail));
    }
    Ok(overlap)
}

fn rotated(
    before: SecretEndpoint,
    secret: SigningSecret,
    now: Timestamp,
    overlap: Duration,
    updated_at: Timestamp,
) -> Result<SecretEndpoint, Problem> {
    let end = now.plus(overlap);
    let mut secrets = vec![ActiveSecret { secret, expires_at: None }];
    for old in before.secrets {
        let expires_at = old.expires_at.map_or(end, |earlier| earlier.min(end));
        if now < expires_at {
            secrets.push(ActiveSecret { expires_at: Some(expires_at), ..old });
        }
    }
    if secrets.len() > MAX_ACTIVE {
        let detail = format!(
            "{MAX_ACTIVE} secrets would sign at once; wait for an overlap to end, or use a shorter one"
        );
        return Err(Problem::new(crate::problem::Code::Conflict, detail));
    }
    Ok(SecretEndpoint { endpoint: Endpoint { updated_at, ..before.endpoint }, secrets })
}
