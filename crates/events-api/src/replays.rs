//! Replays of many deliveries.

pub(crate) mod create;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod set_state;

use model::clock::Timestamp;
use model::replay::{Replay, ReplayMode};

use crate::api::Api;
use crate::auth::Caller;
use crate::problem::Problem;

fn present(replay: &Replay) -> api_types::Replay {
    let filter = &replay.filter;
    let time = |micros: Option<i64>| micros.map(Timestamp::from_micros);
    let of_deliveries = replay.mode != ReplayMode::Missing;
    api_types::Replay {
        id: replay.id.to_string(),
        endpoint: replay.endpoint.to_string(),
        mode: replay.mode.to_string(),
        filter: api_types::ReplayFilter {
            endpoint: of_deliveries.then(|| replay.endpoint.to_string()),
            event_type: filter.event_type.clone(),
            subject: filter.subject.clone(),
            error_class: filter.error_class.clone(),
            http_status: filter.http_status,
            occurred_after: time(filter.occurred_after),
            occurred_before: time(filter.occurred_before),
            published_after: time(filter.published_after),
        },
        rate_per_second: replay.rate_per_second,
        max: replay.max,
        reason: replay.reason.clone(),
        state: replay.state.to_string(),
        detail: replay.detail.clone(),
        matched: replay.matched,
        sent: replay.sent,
        delivered: replay.delivered,
        failed: replay.failed,
        skipped: replay.skipped,
        remaining: replay.remaining(),
        created_at: replay.created_at,
        updated_at: replay.updated_at,
    }
}

fn missing() -> Problem {
    Problem::not_found("replay")
}

/// The replay in a path, if the caller may see it.
async fn find(api: &Api, caller: &Caller, id: &str) -> Result<Replay, Problem> {
    let id = id.parse().map_err(|_| missing())?;
    api.store.find_replay(caller.view(), id).await?.ok_or_else(missing)
}
