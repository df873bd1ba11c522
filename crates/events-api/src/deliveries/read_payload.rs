//! `GET /v1/deliveries/{delivery}/payload`

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{missing, parse_id};
use crate::api::Api;
use crate::auth::Credentials;
use crate::problem::Problem;

/// Gives the exact bytes that are signed and sent.
#[utoipa::path(get, path = "/v1/deliveries/{delivery}/payload", tag = "deliveries",
    params(("delivery" = String, Path)), responses((status = 200, content_type = "application/json")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::PayloadsRead).await?;
    let found = api.store.read_payload(caller.view(), parse_id(&path)?).await?;
    let (delivery, event, data) = found.ok_or_else(missing)?;
    let body = delivery.payload.render(&event, &data);
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "private, no-cache"));
    Ok(response.content_type("application/json").body(body))
}
