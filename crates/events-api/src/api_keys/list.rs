//! `GET /v1/api-keys`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::key_uses;
use crate::openapi::parameters::{Paged, Unused};
use crate::page;
use crate::problem::Problem;
use crate::query::Query;

/// Lists keys, without their secrets.
#[utoipa::path(get, path = "/v1/api-keys", tag = "API keys", operation_id = "apiKeys.list",
    security(("api_key" = ["keys:read"])),
    params(Unused, Paged),
    responses((status = 200, description = "A page of keys.", body = api_types::Page<api_types::Key>)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::KeysRead).await?;
    let mut query = Query::parse(incoming.path(), incoming.query())?;
    let unused_since = query.time("unused_since");
    let request = query.list(&[])?;
    if unused_since.is_some() {
        // What was used here a moment ago is not among them.
        key_uses::write(&api).await;
    }
    let found = api.store.list_keys(caller.view(), unused_since, request.page).await?;
    Ok(page::answer(incoming.path(), &request, found.map(|key| present(&api, &key))))
}
