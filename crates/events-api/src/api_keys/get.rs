//! `GET /v1/api-keys/{key}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{missing, parse_id, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::{Known, OfKey};
use crate::outgoing;
use crate::problem::Problem;

/// Shows a key, without its secret.
#[utoipa::path(get, path = "/v1/api-keys/{key}", tag = "API keys", operation_id = "apiKeys.get",
    security(("api_key" = ["keys:read"])),
    params(OfKey, Known),
    responses((status = 200, description = "The key.", body = api_types::Key)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::KeysRead).await?;
    let key = api.store.find_key(caller.view(), parse_id(&path)?).await?.ok_or_else(missing)?;
    Ok(outgoing::one(&present(&api, &key), key.updated_at))
}
