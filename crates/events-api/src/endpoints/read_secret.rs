//! `GET /v1/tenants/{tenant}/endpoints/{endpoint}/secret`

use actix_web::{HttpResponse, web};
use api_types::Secret;
use delivery_log::endpoints::SecretEndpoint;
use delivery_log::tenants::Tenant;
use model::access::Scope;
use model::calls::SignatureScheme;
use model::clock::Timestamp;
use model::signature::PublicKey;

use super::find;
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::openapi::parameters::{InTenant, OfEndpoint};
use crate::outgoing;
use crate::problem::Problem;

/// Shows the signing secret, and the one before it while both sign.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/endpoints/{endpoint}/secret", tag = "Endpoints", operation_id = "endpoints.getSecret",
    security(("api_key" = ["secrets:read"])),
    params(InTenant, OfEndpoint),
    responses((status = 200, description = "The secret.", body = Secret)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::SecretsRead).await?;
    let tenant = api.tenant(&caller, &path.0).await?;
    show(&api, &caller, &tenant, &path.1).await
}

/// The secret of an endpoint of a tenant.
pub(crate) async fn show(
    api: &Api,
    caller: &Caller,
    tenant: &Tenant,
    id: &str,
) -> Result<HttpResponse, Problem> {
    let found = find(api, caller, tenant, id).await?;
    api.note_secret_read(caller, tenant.id, found.endpoint.id).await?;
    Ok(outgoing::plain(&present(&found, api.now())))
}

/// The newest secret, and the one before it if that still signs.
pub(super) fn present(found: &SecretEndpoint, now: Timestamp) -> Secret {
    let signing = |end: Option<Timestamp>| end.is_none_or(|end| now < end);
    let mut active = found.secrets.iter().filter(|active| signing(active.expires_at));
    let newest = active.next();
    let previous = active.next();
    let previous_expires_at = previous.and_then(|active| active.expires_at);
    match found.endpoint.calls.signature {
        SignatureScheme::Hmac => Secret {
            secret: newest.map(|active| active.secret.reveal()),
            previous_secret: previous.map(|active| active.secret.reveal()),
            previous_expires_at,
            ..Secret::default()
        },
        // The private half is nobody's business but ours.
        SignatureScheme::Ed25519 => Secret {
            public_key: newest.map(|active| PublicKey::of(&active.secret).to_string()),
            previous_public_key: previous.map(|active| PublicKey::of(&active.secret).to_string()),
            previous_expires_at,
            ..Secret::default()
        },
    }
}
