//! `POST /v1/events/batch`

use actix_web::{HttpResponse, web};
use api_types::{BatchAnswer, BatchItem, BatchRequest};
use model::access::Scope;
use model::names::IdempotencyKey;
use serde_json::value::RawValue;

use super::accept::{Origin, Prepared, Taken, prepare, write};
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::{Incoming, parse};
use crate::openapi::parameters::{Expected, Repeatable};
use crate::outgoing;
use crate::problem::Problem;

/// The longest body, in bytes.
const LIMIT: usize = 5 * 1024 * 1024;
/// The greatest number of events.
const MAX_EVENTS: usize = 1_000;
/// The longest key: the number of an event still has to fit behind it.
const MAX_KEY: usize = 250;

/// Publishes up to 1,000 events, each on its own: some may be refused while
/// the others are accepted.
#[utoipa::path(post, path = "/v1/events/batch", tag = "Events", operation_id = "events.publishBatch",
    security(("api_key" = ["events:write"])),
    params(Repeatable, Expected),
    request_body = BatchRequest,
    responses((status = 200, description = "What became of each event, in their order.", body = BatchAnswer)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsWrite).await?;
    incoming.expect_no_if_match()?;
    let batch: BatchRequest = incoming.text(&api, &caller, LIMIT).await?.parse_outside()?;
    if batch.events.is_empty() || batch.events.len() > MAX_EVENTS {
        let detail = format!("must hold 1 to {MAX_EVENTS} events");
        return Err(Problem::invalid("/events", "invalid_value", detail));
    }
    let key = incoming.idempotency_key()?;
    if key.as_ref().is_some_and(|key| key.as_str().len() > MAX_KEY) {
        let detail = format!("must be at most {MAX_KEY} bytes for a batch");
        return Err(Problem::invalid("Idempotency-Key", "invalid_header", detail));
    }
    // One by one, so that their order is that of the batch.
    let mut prepared = Vec::with_capacity(batch.events.len());
    for (index, event) in batch.events.iter().enumerate() {
        let key = key.as_ref().map(|key| key_of_item(key, index));
        prepared.push(prepare_item(&api, &caller, index, event, key).await);
        // Between them, others are served.
        tokio::task::yield_now().await;
    }
    let results = write(&api, prepared).await;
    // Where nothing at all could be stored, the caller should try again as a whole.
    if let Some(Err(problem)) =
        results.iter().find(|result| result.as_ref().is_err_and(|p| p.status() == 503))
        && results.iter().all(Result::is_err)
    {
        return Err(problem.clone());
    }
    Ok(outgoing::plain(&BatchAnswer { results: results.into_iter().map(present).collect() }))
}

/// The key of the batch stands for a key of each of its events.
fn key_of_item(key: &IdempotencyKey, index: usize) -> Result<IdempotencyKey, Problem> {
    IdempotencyKey::parse(&format!("{key}#{index}"))
        .map_err(|error| Problem::invalid("Idempotency-Key", "invalid_header", error))
}

async fn prepare_item(
    api: &Api,
    caller: &Caller,
    index: usize,
    event: &RawValue,
    key: Option<Result<IdempotencyKey, Problem>>,
) -> Result<Prepared, Problem> {
    let wanted: api_types::PublishRequest = parse(event.get(), &format!("/events/{index}"))?;
    // An event's own key is its own; that of the batch is for those without.
    let key = if wanted.idempotency_key.is_some() { None } else { key.transpose()? };
    prepare(api, caller, &wanted, key, Origin::Publisher).await
}

fn present(result: Result<Taken, Problem>) -> BatchItem {
    match result {
        Ok(Taken { answer, repeated, .. }) => BatchItem {
            status: 202,
            quarantined: answer.sequence.is_none(),
            id: Some(answer.id),
            sequence: answer.sequence,
            idempotency_replayed: repeated,
            warnings: answer.warnings,
            problem: None,
        },
        Err(problem) => BatchItem {
            status: problem.status(),
            quarantined: false,
            id: None,
            sequence: None,
            idempotency_replayed: false,
            warnings: Vec::new(),
            problem: Some(problem.body()),
        },
    }
}
