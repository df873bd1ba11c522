//! `POST /v1/events`: the second stop of every event, after the routes. The next one is
//! [`delivery_log::events::Events::publish`].

use actix_web::{HttpResponse, web};
use api_types::{PublishAnswer, PublishRequest};
use delivery_log::events::Published;
use model::access::Scope;
use model::ids::EventId;

use super::build;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::problem::Problem;

/// What may stand around `data` in a request, in bytes.
const AROUND_DATA: usize = 64 * 1024;

/// Publishes an event. The answer comes when the event is on durable storage.
#[utoipa::path(post, path = "/v1/events", tag = "events", request_body = PublishRequest,
    responses((status = 202, body = PublishAnswer), (status = 413, body = api_types::Problem),
        (status = 422, body = api_types::Problem), (status = 503, body = api_types::Problem)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsWrite).await?;
    let text = incoming.text(api.settings.max_data_bytes + AROUND_DATA).await?;
    let wanted: PublishRequest = text.parse()?;
    let publish = build::publish(&api, &caller, &wanted, incoming.idempotency_key()?).await?;
    let data_bytes = publish.data.as_bytes().len();
    let accepted = accept(api.store.publish(publish).await?)?;
    if !accepted.repeated {
        api.metrics.published(data_bytes);
    }
    let mut response = HttpResponse::Accepted();
    response.insert_header(("location", format!("/v1/events/{}", accepted.event)));
    if accepted.repeated {
        response.insert_header(("idempotency-replayed", "true"));
    }
    Ok(response.json(PublishAnswer {
        id: accepted.event.to_string(),
        status: "accepted".to_owned(),
        sequence: accepted.sequence,
    }))
}

/// An event that is on durable storage.
pub(super) struct Accepted {
    pub(super) event: EventId,
    pub(super) sequence: u64,
    pub(super) repeated: bool,
}

/// The event, or the problem.
pub(super) fn accept(published: Published) -> Result<Accepted, Problem> {
    match published {
        Published::Accepted { event, sequence, .. } => Ok(Accepted { event, sequence, repeated: false }),
        Published::Repeated { event, sequence } => Ok(Accepted { event, sequence, repeated: true }),
        Published::KeyReused => Err(Problem::key_reused()),
        Published::UnknownTenant => Err(build::unknown_tenant()),
        Published::UnknownEndpoint => Err(Problem::not_found("endpoint")),
    }
}
