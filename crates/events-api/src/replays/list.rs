//! `GET /v1/replays`

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

/// Lists replays, newest first. Ended ones are kept for 90 days.
#[utoipa::path(get, path = "/v1/replays", tag = "Replays", operation_id = "replays.list",
    security(("api_key" = ["deliveries:read"])),
    params(Paged),
    responses((status = 200, description = "A page of replays.", body = api_types::Page<api_types::Replay>)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::DeliveriesRead).await?;
    let request = Query::parse(incoming.path(), incoming.query())?.list(&[])?;
    let found = api.store.list_replays(caller.view(), request.page).await?;
    Ok(page::answer(incoming.path(), &request, found.map(|replay| present(&replay))))
}
