//! `GET /v1/replays/{replay}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{find, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::{Known, OfReplay};
use crate::outgoing;
use crate::problem::Problem;

/// Shows a replay, and what has become of its deliveries by now.
#[utoipa::path(get, path = "/v1/replays/{replay}", tag = "Replays", operation_id = "replays.get",
    security(("api_key" = ["deliveries:read"])),
    params(OfReplay, Known),
    responses((status = 200, description = "The replay.", body = api_types::Replay)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::DeliveriesRead).await?;
    let replay = find(&api, &caller, &path).await?;
    Ok(outgoing::one(&present(&replay), replay.updated_at))
}
