//! `POST /v1/quarantine/{id}/drop`

use actix_web::{HttpResponse, web};
use delivery_log::Edited;
use delivery_log::idempotency::Performed;
use delivery_log::quarantine::Quarantined;
use model::access::Scope;
use model::audit::Action;
use model::quarantine::QuarantineState;

use super::{ended, find, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::{Prepared, repeated};
use crate::openapi::parameters::{Expected, OfQuarantined, Repeatable};
use crate::problem::Problem;

/// Gives up an event in quarantine. It is never delivered.
#[utoipa::path(post, path = "/v1/quarantine/{id}/drop", tag = "Quarantine", operation_id = "quarantine.drop",
    security(("api_key" = ["events:write"])),
    params(OfQuarantined, Repeatable, Expected),
    responses((status = 200, description = "The event, given up.", body = api_types::QuarantinedEvent),
        (status = 409, description = "It was released or dropped before.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsWrite).await?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    if let Some(answer) = repeated(&api, (&incoming, &caller, None), &text).await? {
        return Ok(answer);
    }
    let before = find(&api, &caller, &path).await?;
    incoming.check_if_match(before.updated_at)?;
    let now = api.change_time(before.updated_at);
    let after = Quarantined { state: QuarantineState::Dropped, updated_at: now, ..before };
    let body = present(&api, &caller, &after);
    let prepared = Prepared::new(&api, (&incoming, &caller, None), &text, 200, None, &body)?.with_etag(now);
    let entry = api.entry_in(&caller, after.tenant, Action::QuarantineDropped, after.id);
    let dropped = api.store.drop_quarantined(caller.view(), after.id, now, prepared.once(), entry).await?;
    if let Performed::First(Edited::Outdated) = dropped {
        return Err(ended(&find(&api, &caller, &path).await?));
    }
    prepared.settle(dropped, |_| Ok(()))
}
