//! `POST /v1/api-keys/{key}/rotate`

use actix_web::{HttpResponse, web};
use api_types::{KeyWithSecret, RotateKey};
use model::access::{ApiKey, Scope, Token, TokenKind};
use model::audit::Action;

use super::{missing, parse_id, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::endpoints::rotate_secret::overlap;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::{Prepared, repeated};
use crate::openapi::parameters::{Expected, OfKey, Repeatable};
use crate::outgoing;
use crate::problem::{Problem, made};

/// Gives a key a new secret, shown this once; the old one stays good for the
/// overlap.
#[utoipa::path(post, path = "/v1/api-keys/{key}/rotate", tag = "API keys", operation_id = "apiKeys.rotate",
    security(("api_key" = ["keys:write"])),
    params(OfKey, Repeatable, Expected),
    request_body = Option<RotateKey>,
    responses((status = 200, description = "The key, with its new secret.", body = KeyWithSecret),
        (status = 409, description = "It was rotated at the same moment.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::KeysWrite).await?;
    let key = api.store.find_key(caller.view(), parse_id(&path)?).await?.ok_or_else(missing)?;
    // Its secret lets the caller do what the key may do.
    caller.check_within(&key)?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    if let Some(answer) = repeated(&api, (&incoming, &caller, None), &text).await? {
        return Ok(answer);
    }
    let expected = key.updated_at;
    incoming.check_if_match(expected)?;
    let wanted: RotateKey = text.parse_if_any()?;
    let overlap_until = api.now().plus(overlap(wanted.overlap_seconds)?);
    let token = Token::generate(TokenKind::ApiKey, api.env.entropy.as_ref());
    let after = ApiKey { updated_at: api.change_time(expected), ..key };
    let answer = KeyWithSecret { key: present(&api, &after), secret: token.reveal().to_owned() };
    let prepared = Prepared::new(&api, (&incoming, &caller, None), &text, 200, None, &answer)?;
    let prepared = prepared.with_etag(after.updated_at);
    let entry = api.entry_in(&caller, after.tenant, Action::KeyRotated, after.id);
    let rotated =
        api.store.rotate_key(&after, expected, token.hash(), overlap_until, prepared.once(), entry).await?;
    prepared.settle(rotated, made).map(outgoing::shown_once)
}
