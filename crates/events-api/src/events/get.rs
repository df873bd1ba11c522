//! `GET /v1/events/{event}`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::outgoing;
use crate::problem::Problem;

/// Shows an event; its data too, to a reader with `payloads:read`.
#[utoipa::path(get, path = "/v1/events/{event}", tag = "events", params(("event" = String, Path)),
    responses((status = 200, body = api_types::Event), (status = 404, body = api_types::Problem)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsRead).await?;
    let missing = || Problem::not_found("event");
    let id = path.parse().map_err(|_| missing())?;
    let stored = api.store.find_event(caller.view(), id).await?.ok_or_else(missing)?;
    let data = match caller.may(Scope::PayloadsRead) {
        true => api.store.read_data(caller.view(), id).await?,
        false => None,
    };
    Ok(outgoing::one(&present(&stored, data.as_ref()), stored.event.created_at))
}
