//! `POST /v1/api-keys/{key}/rotate`

use actix_web::{HttpResponse, web};
use api_types::{KeyWithSecret, RotateKey};
use model::access::{ApiKey, ApiToken, Scope};

use super::{missing, parse_id, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::endpoints::rotate_secret::overlap;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::Prepared;
use crate::problem::{Code, Problem};

/// Gives a key a new secret, shown this once; the old one stays good for the
/// overlap.
#[utoipa::path(post, path = "/v1/api-keys/{key}/rotate", tag = "api-keys", params(("key" = String, Path)),
    request_body = RotateKey, responses((status = 200, body = KeyWithSecret)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::KeysWrite).await?;
    let key = api.store.find_key(caller.view(), parse_id(&path)?).await?.ok_or_else(missing)?;
    // Its secret would let the caller do what the key may do.
    if !key.scopes.within(caller.key().scopes) {
        return Err(Problem::new(
            Code::Forbidden,
            "this key may do more than yours, so you cannot rotate it",
        ));
    }
    incoming.check_if_match(key.updated_at)?;
    let text = incoming.text(BODY_LIMIT).await?;
    let wanted: RotateKey = text.parse()?;
    let overlap_until = api.now().plus(overlap(wanted.overlap_seconds)?);
    let token = ApiToken::generate(api.surroundings.entropy.as_ref());
    let after = ApiKey { updated_at: api.now(), ..key };
    let answer = KeyWithSecret { key: present(&api, &after), secret: token.reveal().to_owned() };
    let prepared = Prepared::new(&api, (&incoming, &caller, None), &text, 200, None, &answer)?;
    let rotated =
        api.store.rotate_key(caller.view(), after.id, token.hash(), overlap_until, prepared.once()).await?;
    prepared.settle(rotated, |done| if done { Ok(()) } else { Err(missing()) })
}
