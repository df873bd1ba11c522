//! Replays of many deliveries.

pub(crate) mod create;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod set_state;

use std::collections::BTreeMap;

use model::delivery::HeldBy;
use model::replay::{Replay, ReplayMode, Waiting};

use crate::api::Api;
use crate::auth::Caller;
use crate::problem::Problem;

fn present(replay: &Replay) -> api_types::Replay {
    let filter = &replay.filter;
    let tally = replay.tally();
    let of_deliveries = replay.mode != ReplayMode::Missing;
    api_types::Replay {
        id: replay.id.to_string(),
        endpoint: replay.endpoint.to_string(),
        mode: replay.mode.to_string(),
        filter: api_types::ReplayFilter {
            endpoint: of_deliveries.then(|| replay.endpoint.to_string()),
            event_type: filter.event_type.as_ref().map(ToString::to_string),
            label: filter.label.as_ref().map(ToString::to_string),
            subject: filter.subject.as_ref().map(ToString::to_string),
            error_class: filter.error_class.as_ref().map(ToString::to_string),
            http_status: filter.http_status,
            occurred_after: filter.occurred_after,
            occurred_before: filter.occurred_before,
            published_after: filter.published_after,
        },
        rate_per_second: replay.rate_per_second,
        max: replay.max,
        reason: replay.reason.clone(),
        state: replay.state.to_string(),
        detail: replay.detail.clone(),
        matched: tally.matched,
        sent: tally.sent,
        delivered: tally.delivered,
        failed: tally.failed,
        waiting: tally.waiting,
        waiting_for: waiting_for(replay.waiting),
        skipped: tally.skipped,
        withdrawn: tally.withdrawn,
        remaining: tally.remaining,
        created_at: replay.created_at,
        updated_at: replay.updated_at,
    }
}

fn waiting_for(waiting: Waiting) -> BTreeMap<String, u32> {
    let held_by = waiting.held_by.map_or("held", HeldBy::as_str);
    [("queued", waiting.queued), ("retrying", waiting.retrying), (held_by, waiting.held)]
        .into_iter()
        .filter(|(_, many)| *many > 0)
        .map(|(what, many)| (what.to_owned(), many))
        .collect()
}

fn missing() -> Problem {
    Problem::not_found("replay")
}

/// The replay in a path, if the caller may see it.
async fn find(api: &Api, caller: &Caller, id: &str) -> Result<Replay, Problem> {
    let id = id.parse().map_err(|_| missing())?;
    api.store.find_replay(caller.view(), id).await?.ok_or_else(missing)
}
