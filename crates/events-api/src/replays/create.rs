//! `POST /v1/replays`

use std::fmt;
use std::str::FromStr;

use actix_web::{HttpResponse, web};
use api_types::{ReplayPlan, ReplayWish};
use delivery_log::replays::{Counted, ReplayCreated};
use model::access::Scope;
use model::audit::Action;
use model::endpoint::{Endpoint, EndpointStatus};
use model::ids::{EndpointId, ReplayId};
use model::replay::{
    DEFAULT_RATE, MAX_LOOKED_AT, MAX_SENT, RATES, Replay, ReplayFilter, ReplayMode, ReplayState, Waiting,
};

use super::present;
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::deliveries::http_status;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::{Prepared, repeated};
use crate::openapi::parameters::{Expected, Repeatable};
use crate::outgoing;
use crate::problem::{Code, Faults, Problem};

/// The longest reason, in bytes.
const MAX_REASON: usize = 500;

/// Sends many past deliveries of an endpoint again: those that failed, events
/// that it never got, or all. They go out with the ids and bytes that they had.
#[utoipa::path(post, path = "/v1/replays", tag = "Replays", operation_id = "replays.create",
    security(("api_key" = ["deliveries:replay"])),
    params(Repeatable, Expected),
    request_body = ReplayWish,
    responses((status = 202, description = "The replay, which runs.", body = api_types::Replay),
        (status = 200, description = "With `dry_run`: what it would send.", body = ReplayPlan),
        (status = 409, description = "The endpoint is not enabled, or a replay is about it already.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::DeliveriesReplay).await?;
    incoming.expect_no_if_match()?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    let wanted: ReplayWish = text.parse()?;
    let endpoint = find_endpoint(&api, &caller, &wanted).await?;
    if let Some(answer) = repeated(&api, (&incoming, &caller, Some(endpoint.tenant)), &text).await? {
        return Ok(answer);
    }
    let replay = build(&api, &wanted, &endpoint)?;
    let matched = match api.store.count_replay(&replay).await? {
        Counted::Matched(matched) => matched,
        Counted::TooManyToLookAt => {
            let detail = format!("is about more than {MAX_LOOKED_AT} events; narrow it by type or time");
            return Err(Problem::invalid("/filter", "too_many", detail));
        }
    };
    if wanted.dry_run {
        return Ok(outgoing::plain(&ReplayPlan { matched }));
    }
    if endpoint.status != EndpointStatus::Enabled {
        return Err(not_enabled());
    }
    let replay = Replay { matched, ..replay };
    let location = Some(format!("/v1/replays/{}", replay.id));
    let about = (&incoming, &caller, Some(endpoint.tenant));
    let prepared = Prepared::new(&api, about, &text, 202, location, &present(&replay))?;
    let entry = api.entry_in(&caller, endpoint.tenant, Action::ReplayCreated, replay.id);
    let entry = entry.after(&present(&replay)).because(&replay.reason);
    let created = api.store.create_replay(&replay, prepared.once(), entry).await?;
    prepared.settle(created, |created| match created {
        ReplayCreated::Done => Ok(()),
        ReplayCreated::EndpointNotEnabled => Err(not_enabled()),
    })
}

fn not_enabled() -> Problem {
    Problem::new(Code::Conflict, "the endpoint is paused, disabled or deleted; enable the endpoint first")
}

/// The endpoint that a replay is about.
async fn find_endpoint(api: &Api, caller: &Caller, wanted: &ReplayWish) -> Result<Endpoint, Problem> {
    let is_missing = wanted.mode == ReplayMode::Missing.as_str();
    let (pointer, text, other) = match is_missing {
        true => ("/to_endpoint", &wanted.to_endpoint, ("/filter/endpoint", &wanted.filter.endpoint)),
        false => ("/filter/endpoint", &wanted.filter.endpoint, ("/to_endpoint", &wanted.to_endpoint)),
    };
    if other.1.is_some() {
        let detail = format!("cannot be combined with mode {}; use {pointer}", wanted.mode);
        return Err(Problem::invalid(other.0, "not_allowed", detail));
    }
    let text = text.as_ref().ok_or_else(|| {
        Problem::invalid(pointer, "required", "is required: a replay is about one endpoint")
    })?;
    let id: EndpointId = text.parse().map_err(|error| Problem::invalid(pointer, "invalid_value", error))?;
    let missing = || Problem::invalid(pointer, "not_found", "there is no such endpoint");
    let visible = |tenant| caller.view().tenant.is_none_or(|own| own == tenant);
    let live = api.store.configuration().endpoint(id).filter(|live| visible(live.endpoint.tenant));
    let live = live.ok_or_else(missing)?;
    let found = api.store.find_endpoint(caller.view(), live.endpoint.tenant, id).await?;
    found.map(|found| found.endpoint).ok_or_else(missing)
}

/// A replay that cannot be invalid.
fn build(api: &Api, wanted: &ReplayWish, endpoint: &Endpoint) -> Result<Replay, Problem> {
    let mut faults = Faults::default();
    let mode = faults
        .check("/mode", wanted.mode.parse::<ReplayMode>().map_err(|_| "must be failed, missing or all"));
    let rate = wanted.rate_per_second.unwrap_or(DEFAULT_RATE);
    if !RATES.contains(&rate) {
        faults.add(
            "/rate_per_second",
            "out_of_range",
            format_args!("must be {} to {}", RATES.start(), RATES.end()),
        );
    }
    let max = wanted.max.unwrap_or(MAX_SENT);
    if !(1..=MAX_SENT).contains(&max) {
        faults.add("/max", "out_of_range", format_args!("must be 1 to {MAX_SENT}"));
    }
    if wanted.reason.contains('\0') {
        faults.add("/reason", "invalid_value", "has a character that cannot be stored: U+0000");
    }
    if wanted.reason.len() > MAX_REASON {
        faults.add("/reason", "too_long", format_args!("is longer than {MAX_REASON} bytes"));
    }
    let filter = filter(&mut faults, wanted, mode);
    faults.finish()?;
    let now = api.now();
    Ok(Replay {
        id: api.env.new_id::<ReplayId>(),
        project: endpoint.project,
        tenant: endpoint.tenant,
        endpoint: endpoint.id,
        mode: mode.unwrap_or(ReplayMode::Failed),
        filter,
        rate_per_second: rate,
        max,
        reason: wanted.reason.clone(),
        state: ReplayState::Running,
        detail: None,
        matched: 0,
        sent: 0,
        skipped: 0,
        delivered: 0,
        failed: 0,
        waiting: Waiting::default(),
        created_at: now,
        updated_at: now,
    })
}

fn filter(faults: &mut Faults, wanted: &ReplayWish, mode: Option<ReplayMode>) -> ReplayFilter {
    let given = &wanted.filter;
    let filter = ReplayFilter {
        event_type: parsed(faults, "/filter/type", given.event_type.as_deref()),
        label: parsed(faults, "/filter/label", given.label.as_deref()),
        subject: parsed(faults, "/filter/subject", given.subject.as_deref()),
        error_class: parsed(faults, "/filter/error_class", given.error_class.as_deref()),
        http_status: given
            .http_status
            .and_then(|status| faults.check("/filter/http_status", http_status(status))),
        occurred_after: given.occurred_after,
        occurred_before: given.occurred_before,
        published_after: given.published_after,
    };
    if mode == Some(ReplayMode::Missing) {
        let detail = "cannot be combined with mode missing: what was never sent has no answer";
        for (there, pointer) in [
            (given.error_class.is_some(), "/filter/error_class"),
            (given.http_status.is_some(), "/filter/http_status"),
        ] {
            if there {
                faults.add(pointer, "not_allowed", detail);
            }
        }
    }
    filter
}

fn parsed<T: FromStr<Err: fmt::Display>>(
    faults: &mut Faults,
    pointer: &str,
    text: Option<&str>,
) -> Option<T> {
    text.and_then(|text| faults.check(pointer, text.parse()))
}
