//! `POST /v1/quarantine/{id}/drop`

use actix_web::{HttpResponse, web};
use model::access::Scope;

use super::{ended, find, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::outgoing;
use crate::problem::Problem;

/// Gives up an event in quarantine. It is never delivered.
#[utoipa::path(post, path = "/v1/quarantine/{id}/drop", tag = "quarantine", params(("id" = String, Path)),
    responses((status = 200, body = api_types::QuarantinedEvent), (status = 409, body = api_types::Problem)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsWrite).await?;
    let before = find(&api, &caller, &path).await?;
    incoming.check_if_match(before.updated_at)?;
    let done = api.store.drop_quarantined(caller.view(), before.id).await?;
    let after = find(&api, &caller, &path).await?;
    match done {
        true => Ok(outgoing::one(&present(&api, &caller, &after), after.updated_at)),
        false => Err(ended(&after)),
    }
}
