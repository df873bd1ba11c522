//! `GET /v1/quarantine`

use actix_web::{HttpResponse, web};
use model::access::Scope;
use model::quarantine::QuarantineState;

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::memory::Holder;
use crate::openapi::parameters::{FilterQuarantine, Paged};
use crate::page::Rows;
use crate::problem::Problem;
use crate::query::Query;

/// How many are read at once: they hold their data.
const PIECE: u32 = 4;

/// Lists events in quarantine, newest first.
#[utoipa::path(get, path = "/v1/quarantine", tag = "Quarantine", operation_id = "quarantine.list",
    security(("api_key" = ["events:read"])),
    params(Paged, FilterQuarantine),
    responses((status = 200, description = "A page of events in quarantine.", body = api_types::Page<api_types::QuarantinedEvent>)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsRead).await?;
    let mut query = Query::parse(incoming.path(), incoming.query())?;
    let state = query.take("state", |text| {
        text.parse::<QuarantineState>().map_err(|_| "must be held, released or dropped")
    });
    let request = query.list(&[])?;
    let _gathering = api.memory.gather(Holder::of(&caller)).await?;
    api.note_payload_read(&caller);
    let mut rows = Rows::new(&request);
    while let Some(piece) = rows.wanted(PIECE) {
        let page = api.store.list_quarantined(caller.view(), state, piece).await?;
        rows.add_page(page.map(|one| present(&api, &caller, &one)));
    }
    Ok(rows.into_answer(incoming.path()))
}
