//! `POST /v1/events`: the second stop of every event, after the routes. The next one is
//! [`delivery_log::events::Events::publish`].

use actix_web::{HttpResponse, web};
use api_types::{PublishAnswer, PublishRequest};
use model::access::Scope;

use super::accept::{Origin, accept};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::openapi::parameters::{Expected, Repeatable};
use crate::problem::Problem;

/// What may stand around `data` in a request, in bytes.
const AROUND_DATA: usize = 64 * 1024;

/// Publishes an event. The answer comes when the event is on durable storage.
#[utoipa::path(post, path = "/v1/events", tag = "Events", operation_id = "events.publish",
    security(("api_key" = ["events:write"])),
    params(Repeatable, Expected),
    request_body = PublishRequest,
    responses((status = 202, description = "The event is on durable storage.", body = PublishAnswer)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsWrite).await?;
    incoming.expect_no_if_match()?;
    let text = incoming.text(&api, &caller, api.settings.max_data_bytes + AROUND_DATA).await?;
    let wanted: PublishRequest = text.parse_flat()?;
    let taken = accept(&api, &caller, &wanted, incoming.idempotency_key()?, Origin::Publisher).await?;
    let mut response = HttpResponse::Accepted();
    let kind = if taken.answer.sequence.is_some() { "events" } else { "quarantine" };
    response.insert_header(("location", format!("/v1/{kind}/{}", taken.answer.id)));
    if taken.repeated {
        response.insert_header(("idempotency-replayed", "true"));
    }
    Ok(response.json(taken.answer))
}
