//! `DELETE /v1/api-keys/{key}`

use actix_web::{HttpResponse, web};
use delivery_log::access::SessionsOfKey;
use model::access::Scope;
use model::audit::Action;

use super::{missing, parse_id, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, OfKey, WithSessions};
use crate::outgoing;
use crate::problem::{Problem, made};
use crate::query::Query;

/// Ends a key at once. Portal sessions that it opened go on, unless they are to end, too.
#[utoipa::path(delete, path = "/v1/api-keys/{key}", tag = "API keys", operation_id = "apiKeys.revoke",
    security(("api_key" = ["keys:write"])),
    params(OfKey, WithSessions, Expected),
    responses((status = 204, description = "It ended.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::KeysWrite).await?;
    let mut query = Query::parse(incoming.path(), incoming.query())?;
    let sessions = if query.flag("end_sessions") { SessionsOfKey::End } else { SessionsOfKey::GoOn };
    query.finish()?;
    let id = parse_id(&path)?;
    let key = api.store.find_key(caller.view(), id).await?.ok_or_else(missing)?;
    caller.check_within(&key)?;
    incoming.check_if_match(key.updated_at)?;
    let entry = api.entry_in(&caller, key.tenant, Action::KeyRevoked, key.id).before(&present(&api, &key));
    made(api.store.revoke_key(caller.view(), id, key.updated_at, sessions, entry).await?)?;
    Ok(outgoing::nothing())
}
