//! `GET /v1/erasures/{erasure}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{missing, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::{Known, OfErasure};
use crate::outgoing;
use crate::problem::Problem;

/// Shows the receipt of an erasure.
#[utoipa::path(get, path = "/v1/erasures/{erasure}", tag = "Erasures", operation_id = "erasures.get",
    security(("api_key" = ["erase:write"])),
    params(OfErasure, Known),
    responses((status = 200, description = "The receipt.", body = api_types::Erasure)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EraseWrite).await?;
    let id = path.parse().map_err(|_| missing())?;
    let found = api.store.find_erasure(caller.view(), id).await?.ok_or_else(missing)?;
    Ok(outgoing::one(&present(&api, &found), found.updated_at))
}
