//! `GET /v1/erasures`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::Paged;
use crate::page;
use crate::problem::Problem;
use crate::query::Query;

/// Lists the receipts of erasures, newest first.
#[utoipa::path(get, path = "/v1/erasures", tag = "Erasures", operation_id = "erasures.list",
    security(("api_key" = ["erase:write"])),
    params(Paged),
    responses((status = 200, description = "A page of receipts.", body = api_types::Page<api_types::Erasure>)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EraseWrite).await?;
    let request = Query::parse(incoming.path(), incoming.query())?.list(&[])?;
    let found = api.store.list_erasures(caller.view(), request.page).await?;
    Ok(page::answer(incoming.path(), &request, found.map(|erasure| present(&api, &erasure))))
}
