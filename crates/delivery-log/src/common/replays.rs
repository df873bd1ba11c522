//! Replays of many deliveries, part by part.
//!
//! A part is one transaction: it locks the replay, looks at what comes after
//! the place where the part before ended, makes it due, and moves the place on.
//! So whichever process does a part, and whenever it dies, nothing is sent
//! twice and nothing is passed over.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::{QueryBuilder, Row as _};
use uuid::Uuid;

use model::attempt::Trigger;
use model::calls::Ordering;
use model::catalogue::EventTypeEntry;
use model::clock::Timestamp;
use model::delivery::{Delivery, DeliveryStatus, Failure, HeldBy, VisibleStatus};
use model::event::{Event, EventData, ReadOnce};
use model::ids::{DeliveryId, EndpointId, EventId, ProjectId, ReplayId, TenantId};
use model::names::Subject;
use model::payload::PayloadForm;
use model::replay::{MAX_LOOKED_AT, Replay, ReplayFilter, ReplayMode, ReplayState, Waiting, later_delivery};

use super::deliveries::{find, is_enabled};
use super::events::{older_data, select_events};
use super::idempotency::Outcome;
use super::rows::{broken, coded, count, json, time, to_json, uuid};
use super::statements::{self, Listed};
use super::{Connection, Db, Row, Shared, Store, filter, lock_delivery, lock_key, moves, rows, store_error};
use crate::configuration::LiveEndpoint;
use crate::deliveries::DeliveryFilter;
use crate::events::EventFilter;
use crate::idempotency::{Once, Performed};
use crate::page::{Order, Page, PageRequest};
use crate::publishing::{downgraded, would_get};
use crate::replays::{Counted, ReplaySet, Replays};
use crate::{Result, View};

/// How many deliveries a part sends at most.
const PART: u32 = 250;
/// How many events a part looks at, at most.
const LOOKED_AT: u32 = 1_000;
/// How often it is looked whether everything has ended that was sent.
const WATCH: Duration = Duration::from_secs(1);

fn replay(row: &Row) -> sqlx::Result<Replay> {
    Ok(Replay {
        id: ReplayId(uuid(row, "id")?),
        project: ProjectId(uuid(row, "project")?),
        tenant: TenantId(uuid(row, "tenant")?),
        endpoint: EndpointId(uuid(row, "endpoint")?),
        mode: coded(row, "mode", ReplayMode::from_code)?,
        filter: json(row, "filter")?,
        rate_per_second: count(row, "rate")?,
        max: count(row, "max")?,
        reason: row.try_get("reason")?,
        state: coded(row, "state", ReplayState::from_code)?,
        detail: row.try_get("detail")?,
        matched: count(row, "matched")?,
        sent: count(row, "sent")?,
        skipped: count(row, "skipped")?,
        delivered: count(row, "delivered")?,
        failed: count(row, "failed")?,
        waiting: Waiting::default(),
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

fn view_of(replay: &Replay) -> View {
    View { project: replay.project, tenant: Some(replay.tenant) }
}

fn parsed_filter<T>(text: Option<&String>, parse: impl Fn(&str) -> Option<T>) -> sqlx::Result<Option<T>> {
    text.map(|text| parse(text).ok_or_else(|| broken("filter", text))).transpose()
}

/// The parts of a filter that events and deliveries have in common.
fn common(wanted: &ReplayFilter) -> sqlx::Result<EventFilter> {
    Ok(EventFilter {
        tenant: None,
        event_type: parsed_filter(wanted.event_type.as_ref(), |text| text.parse().ok())?,
        label: parsed_filter(wanted.label.as_ref(), |text| text.parse().ok())?,
        subject: parsed_filter(wanted.subject.as_ref(), |text| Subject::parse(text).ok())?,
        occurred_after: wanted.occurred_after.map(Timestamp::from_micros),
        occurred_before: wanted.occurred_before.map(Timestamp::from_micros),
    })
}

fn ascending(after: Option<Uuid>, limit: u32) -> PageRequest {
    PageRequest { limit, after, order: Order::Ascending }
}

/// Conditions on the events `e` of both kinds of replay.
fn published(sql: &mut QueryBuilder<Db>, replay: &Replay) {
    if let Some(after) = replay.filter.published_after {
        sql.push(" AND e.created_at >= ").push_bind(after);
    }
    // What comes after the replay is delivered without it, and tests say
    // nothing to the receiver's data.
    sql.push(" AND e.created_at <= ").push_bind(replay.created_at.as_micros()).push(" AND NOT e.test");
}

/// Appends the conditions of a replay of deliveries.
fn deliveries(sql: &mut QueryBuilder<Db>, replay: &Replay, now: Timestamp) -> sqlx::Result<()> {
    let EventFilter { event_type, label, subject, occurred_after, occurred_before, .. } =
        common(&replay.filter)?;
    let error_class = replay.filter.error_class.as_ref();
    let wanted = DeliveryFilter {
        endpoint: Some(replay.endpoint),
        event_type,
        label,
        subject,
        occurred_after,
        occurred_before,
        statuses: match replay.mode {
            ReplayMode::Failed => vec![VisibleStatus::Failed],
            ReplayMode::Missing | ReplayMode::All => Vec::new(),
        },
        error_class: parsed_filter(error_class, |text| text.parse().ok())?,
        http_status: replay.filter.http_status,
        ..DeliveryFilter::default()
    };
    filter::deliveries(sql, view_of(replay), &wanted, now);
    published(sql, replay);
    Ok(())
}

/// The next deliveries of a replay.
async fn next_deliveries(
    connection: &mut Connection,
    replay: &Replay,
    after: Option<Uuid>,
    limit: u32,
    now: Timestamp,
) -> sqlx::Result<Page<Delivery>> {
    let mut sql = QueryBuilder::new(statements::DELIVERIES);
    deliveries(&mut sql, replay, now)?;
    let page = ascending(after, limit);
    statements::page(&mut sql, Listed::Deliveries, view_of(replay), page);
    let rows = sql.build().fetch_all(connection).await?;
    let read = rows.iter().map(|row| rows::delivery(row, now)).collect::<sqlx::Result<_>>()?;
    Ok(Page::from_overfull(read, limit, |delivery: &Delivery| delivery.id.0))
}

/// The next events that a replay looks at, each with the version in which its
/// endpoint would get it now, if it would and never got it.
async fn next_events(
    connection: &mut Connection,
    shared: &Shared,
    replay: &Replay,
    live: &LiveEndpoint,
    after: Option<Uuid>,
    limit: u32,
) -> sqlx::Result<Page<(Event, Option<u32>)>> {
    let view = view_of(replay);
    let mut sql = select_events(view, &common(&replay.filter)?);
    published(&mut sql, replay);
    statements::page(&mut sql, Listed::Events, view, ascending(after, limit));
    let rows = sql.build().fetch_all(&mut *connection).await?;
    let events = rows.iter().map(rows::event).collect::<sqlx::Result<Vec<_>>>()?;
    let page = Page::from_overfull(events, limit, |event: &Event| event.id.0);
    let ids = || page.rows.iter().map(|event| event.id.0);
    let (Some(low), Some(high)) = (ids().min(), ids().max()) else {
        return Ok(Page { rows: Vec::new(), cursors: Vec::new(), next: None });
    };
    let mut sql = statements::events_at(replay.project, replay.endpoint, low, high);
    let rows = sql.build().fetch_all(&mut *connection).await?;
    let had =
        rows.iter().map(|row| uuid(row, "event")).collect::<sqlx::Result<std::collections::HashSet<_>>>()?;
    let mut judged = Vec::with_capacity(page.rows.len());
    for event in page.rows {
        let entry = shared.configuration.event_type(event.project, &event.event_type);
        let missing = match had.contains(&event.id.0) {
            true => None,
            false => is_wanted(connection, view, live, entry.as_deref(), &event).await?,
        };
        judged.push((event, missing));
    }
    Ok(Page { rows: judged, cursors: page.cursors, next: page.next })
}

async fn is_wanted(
    connection: &mut Connection,
    view: View,
    live: &LiveEndpoint,
    entry: Option<&EventTypeEntry>,
    event: &Event,
) -> sqlx::Result<Option<u32>> {
    let data = match live.endpoint.calls.filter.as_ref().is_some_and(model::filter::Filter::reads_data) {
        true => read_data(connection, view, event.id).await?,
        false => None,
    };
    let data = data.as_ref().map(ReadOnce::new);
    Ok(would_get(live, entry, event, data.as_ref()).ok())
}

async fn read_data(
    connection: &mut Connection,
    view: View,
    event: EventId,
) -> sqlx::Result<Option<EventData>> {
    let row = sqlx::query(statements::READ_DATA)
        .bind(view.project.0)
        .bind(event.0)
        .bind(view.tenant.map(|tenant| tenant.0))
        .fetch_optional(connection)
        .await?;
    row.map(|row| row.try_get(0).map(EventData::from_stored)).transpose()
}

/// How many deliveries a replay would send.
async fn count_matches(
    connection: &mut Connection,
    shared: &Shared,
    wanted: &Replay,
    now: Timestamp,
) -> sqlx::Result<Counted> {
    if wanted.mode != ReplayMode::Missing {
        let mut sql = QueryBuilder::new("SELECT count(*) FROM (");
        sql.push(statements::DELIVERIES);
        deliveries(&mut sql, wanted, now)?;
        sql.push(" LIMIT ").push_bind(i64::from(wanted.max)).push(") matching");
        let matched: i64 = sql.build_query_scalar().fetch_one(connection).await?;
        return Ok(Counted::Matched(matched as u32));
    }
    let Some(live) = shared.configuration.endpoint(wanted.endpoint) else { return Ok(Counted::Matched(0)) };
    let (mut after, mut looked_at, mut matched) = (None, 0, 0);
    loop {
        let page = next_events(connection, shared, wanted, &live, after, LOOKED_AT).await?;
        looked_at += page.rows.len() as u32;
        matched += page.rows.iter().filter(|(_, missing)| missing.is_some()).count() as u32;
        if matched >= wanted.max {
            return Ok(Counted::Matched(wanted.max));
        }
        match page.next {
            None => return Ok(Counted::Matched(matched)),
            Some(_) if looked_at >= MAX_LOOKED_AT => return Ok(Counted::TooManyToLookAt),
            next => after = next,
        }
    }
}

async fn insert(connection: &mut Connection, new: &Replay) -> sqlx::Result<bool> {
    if is_enabled(connection, new.endpoint).await? != Some(true) {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO replays (id, project, tenant, endpoint, mode, filter, rate, max, reason, state, all_sent, \
         next_at, matched, sent, skipped, delivered, failed, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, 0, 0, $12, $12)",
    )
    .bind(new.id.0)
    .bind(new.project.0)
    .bind(new.tenant.0)
    .bind(new.endpoint.0)
    .bind(new.mode.code())
    .bind(to_json(&new.filter))
    .bind(i64::from(new.rate_per_second))
    .bind(i64::from(new.max))
    .bind(&new.reason)
    .bind(new.state.code())
    .bind(false)
    .bind(new.created_at.as_micros())
    .bind(i64::from(new.matched))
    .execute(&mut *connection)
    .await?;
    let everything = ReplayFilter { published_after: new.filter.published_after, ..ReplayFilter::default() };
    if new.mode == ReplayMode::Missing && new.filter == everything {
        // The offer that was made when the endpoint was enabled has been taken.
        let since = new.filter.published_after.unwrap_or(i64::MIN);
        let version = super::configuration::next_version(connection).await?;
        sqlx::query(
            "UPDATE endpoints SET missed_since = NULL, version = $3 WHERE id = $1 AND missed_since >= $2",
        )
        .bind(new.endpoint.0)
        .bind(since)
        .bind(version)
        .execute(connection)
        .await?;
    }
    Ok(true)
}

/// What has become of the deliveries of a replay.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    delivered: u32,
    failed: u32,
    queued: u32,
    retrying: u32,
}

async fn ends(connection: &mut Connection, id: ReplayId) -> sqlx::Result<Ends> {
    let rows = sqlx::query(statements::STATUSES_OF_REPLAY).bind(id.0).fetch_all(connection).await?;
    let mut ends = Ends::default();
    for row in &rows {
        let many = count(row, "many")?;
        match count(row, "status")? {
            0 => ends.queued += many,
            1 => ends.retrying += many,
            2 => ends.delivered += many,
            3 => ends.failed += many,
            _ => {}
        }
    }
    Ok(ends)
}

/// What holds everything that waits for an endpoint.
async fn held_by(
    connection: &mut Connection,
    endpoint: EndpointId,
    now: Timestamp,
) -> sqlx::Result<Option<HeldBy>> {
    let row = sqlx::query(statements::HOLD_OF_ENDPOINT).bind(endpoint.0).fetch_optional(connection).await?;
    let hold = row.map(|row| rows::hold_of_endpoint(&row, now)).transpose()?.flatten();
    Ok(hold.map(|hold| hold.by))
}

/// A part that is being sent.
struct Part<'a> {
    connection: &'a mut Connection,
    replay: &'a Replay,
    live: &'a LiveEndpoint,
    now: Timestamp,
    shared: &'a Shared,
    sent: u32,
    skipped: u32,
}

/// Deliveries of a replay are due at moments so far apart: timers for each of
/// many would cost more than they are worth.
const STEP: Duration = Duration::from_millis(20);

/// What a delivery is sent for when it is sent again. One that waits is hurried
/// by a replay of many, and stays what it was: if that is canceled, it goes on.
pub(crate) fn replayed_by(delivery: &Delivery, trigger: Trigger) -> Trigger {
    match delivery.status.is_waiting() && trigger == Trigger::Replay {
        true => delivery.trigger,
        false => trigger,
    }
}

/// How a delivery stood before it was sent again and did not go out: by its
/// last attempt, because the store knows no more. One without attempts never was.
fn before_replay(delivery: &Delivery) -> DeliveryStatus {
    match (delivery.attempts, delivery.last_http_status) {
        (0, _) => DeliveryStatus::Canceled,
        (_, Some(200..=299)) => DeliveryStatus::Delivered,
        (_, Some(400 | 413 | 415 | 422)) => DeliveryStatus::Failed(Failure::Permanent),
        _ => DeliveryStatus::Failed(Failure::Exhausted),
    }
}

/// The replay has not sent a delivery after all.
async fn unsend(connection: &mut Connection, replay: ReplayId, delivery: DeliveryId) -> sqlx::Result<()> {
    let gone = sqlx::query("DELETE FROM replayed WHERE replay = $1 AND delivery = $2")
        .bind(replay.0)
        .bind(delivery.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE replays SET sent = sent - $2 WHERE id = $1")
        .bind(replay.0)
        .bind(gone.rows_affected() as i64)
        .execute(connection)
        .await
        .map(|_| ())
}

impl Part<'_> {
    /// When the next one is due, by the pace of the replay.
    fn due(&self) -> Timestamp {
        let spaced = Duration::from_secs(1) * self.sent / self.replay.rate_per_second.max(1);
        self.now.plus(STEP * (spaced.as_millis() / STEP.as_millis()) as u32)
    }

    /// Sends again what was delivered or failed. Gives where it ended, if that
    /// was not the end of all.
    async fn send_again(&mut self, after: Option<Uuid>, room: u32) -> sqlx::Result<Option<Uuid>> {
        let page = next_deliveries(self.connection, self.replay, after, room, self.now).await?;
        for delivery in &page.rows {
            lock_delivery(self.connection, delivery.id).await?;
            match moves::replay(self.connection, delivery, Trigger::Replay, self.due(), self.now).await? {
                true => self.note(delivery.id).await?,
                false => self.skipped += 1,
            }
        }
        Ok(page.next)
    }

    /// Sends what the endpoint never got.
    async fn send_missing(&mut self, after: Option<Uuid>, room: u32) -> sqlx::Result<Option<Uuid>> {
        lock_key(self.connection, self.replay.project, &format!("replay {}", self.replay.endpoint)).await?;
        let page =
            next_events(self.connection, self.shared, self.replay, self.live, after, LOOKED_AT).await?;
        let mut left = room;
        let many = page.rows.len();
        for (place, (event, missing)) in page.rows.into_iter().enumerate() {
            if let Some(version) = missing {
                match self.add(&event, version).await? {
                    Some(id) => self.note(id).await?,
                    None => self.skipped += 1,
                }
                left -= 1;
            }
            if left == 0 && (place + 1 < many || page.next.is_some()) {
                return Ok(Some(event.id.0));
            }
        }
        Ok(page.next)
    }

    /// Sees to it that an event's data is there in an older version. Tells
    /// whether it is.
    async fn give_in_version(&mut self, event: &Event, version: u32) -> sqlx::Result<bool> {
        let view = view_of(self.replay);
        let mut older = older_data(self.connection, view, event.id).await?;
        if older.get(version).is_some() {
            return Ok(true);
        }
        let entry = self.shared.configuration.event_type(event.project, &event.event_type);
        let data = read_data(self.connection, view, event.id).await?;
        let (Some(entry), Some(data)) = (entry, data) else { return Ok(false) };
        let Ok(text) = downgraded(&entry, &data, event.schema_version, version) else { return Ok(false) };
        older.add(version, text);
        sqlx::query(statements::WRITE_OLDER_DATA)
            .bind(event.project.0)
            .bind(event.id.0)
            .bind(older.to_stored())
            .execute(&mut *self.connection)
            .await?;
        Ok(true)
    }

    /// Adds the delivery of an event that has none, unless its data cannot be
    /// given in the version.
    async fn add(&mut self, event: &Event, version: u32) -> sqlx::Result<Option<DeliveryId>> {
        let own = version == event.schema_version;
        if !own && !self.give_in_version(event, version).await? {
            return Ok(None);
        }
        let endpoint = &self.live.endpoint;
        let id = later_delivery(event.id, endpoint.id);
        let ordered = endpoint.calls.ordering == Ordering::PerKey;
        let form = PayloadForm::new(endpoint.payload, endpoint.calls.format, &self.shared.public_url);
        let form = form.in_version((!own).then_some(version));
        let new = moves::Missed {
            id,
            endpoint: endpoint.id,
            event: EventId(event.id.0),
            project: event.project,
            form: &form,
            order: ordered.then(|| (event.ordering_key.as_str(), event.sequence)),
        };
        moves::add(self.connection, &new, self.due(), self.now).await?;
        Ok(Some(id))
    }

    async fn note(&mut self, delivery: DeliveryId) -> sqlx::Result<()> {
        self.sent += 1;
        sqlx::query("INSERT INTO replayed (replay, delivery) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(self.replay.id.0)
            .bind(delivery.0)
            .execute(&mut *self.connection)
            .await
            .map(|_| ())
    }
}

/// What a replay has come to after a part.
struct Progress {
    state: ReplayState,
    detail: Option<&'static str>,
    position: Option<Uuid>,
    all_sent: bool,
    sent: u32,
    skipped: u32,
    ends: Option<Ends>,
    wait: Duration,
}

async fn write(
    connection: &mut Connection,
    id: ReplayId,
    after: &Progress,
    now: Timestamp,
) -> sqlx::Result<()> {
    let ends = after.ends.as_ref();
    sqlx::query(
        "UPDATE replays SET state = $2, detail = $3, position = coalesce($4, position), all_sent = $5, \
         sent = sent + $6, skipped = skipped + $7, delivered = $8, failed = $9, next_at = $10, updated_at = $11 \
         WHERE id = $1",
    )
    .bind(id.0)
    .bind(after.state.code())
    .bind(after.detail)
    .bind(after.position)
    .bind(after.all_sent)
    .bind(i64::from(after.sent))
    .bind(i64::from(after.skipped))
    .bind(ends.map_or(0, |ends| i64::from(ends.delivered)))
    .bind(ends.map_or(0, |ends| i64::from(ends.failed)))
    .bind(now.plus(after.wait).as_micros())
    .bind(now.as_micros())
    .execute(connection)
    .await
    .map(|_| ())
}

/// Sends the next part; gives the endpoint that is to be woken.
async fn advance(
    connection: &mut Connection,
    shared: &Shared,
    id: ReplayId,
) -> sqlx::Result<Option<EndpointId>> {
    let now = shared.surroundings.now();
    let row = sqlx::query(statements::LOCK_DUE_REPLAY)
        .bind(id.0)
        .bind(now.as_micros())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let stands = replay(&row)?;
    let (position, all_sent) = (row.try_get::<Option<Uuid>, _>("position")?, count(&row, "all_sent")? != 0);
    let halted = |state, detail| Progress {
        state,
        detail: Some(detail),
        position: None,
        all_sent,
        sent: 0,
        skipped: 0,
        ends: None,
        wait: Duration::ZERO,
    };
    let enabled = is_enabled(connection, stands.endpoint).await?;
    let live = shared.configuration.endpoint(stands.endpoint);
    let progress = match (all_sent, enabled, live) {
        (true, _, _) => {
            let ends = ends(connection, id).await?;
            let is_waiting = ends.queued + ends.retrying > 0;
            let state = if is_waiting { ReplayState::Running } else { ReplayState::Completed };
            Progress {
                state,
                detail: None,
                position: None,
                all_sent,
                sent: 0,
                skipped: 0,
                ends: Some(ends),
                wait: WATCH,
            }
        }
        (false, None, _) | (false, _, None) => halted(ReplayState::Failed, "the endpoint was deleted"),
        (false, Some(false), _) => {
            halted(ReplayState::Paused, "the endpoint is not enabled; enable it, then resume the replay")
        }
        (false, Some(true), Some(live)) => {
            send_part(connection, shared, &stands, &live, position, now).await?
        }
    };
    write(connection, id, &progress, now).await?;
    Ok((progress.sent > 0).then_some(stands.endpoint))
}

async fn send_part(
    connection: &mut Connection,
    shared: &Shared,
    stands: &Replay,
    live: &Arc<LiveEndpoint>,
    position: Option<Uuid>,
    now: Timestamp,
) -> sqlx::Result<Progress> {
    let room = stands.rate_per_second.min(PART).min(stands.max.saturating_sub(stands.sent)).max(1);
    let mut part = Part { connection, replay: stands, live, now, shared, sent: 0, skipped: 0 };
    let next = match stands.mode {
        ReplayMode::Missing => part.send_missing(position, room).await?,
        ReplayMode::Failed | ReplayMode::All => part.send_again(position, room).await?,
    };
    let (sent, mut skipped) = (part.sent, part.skipped);
    let all_sent = next.is_none() || stands.sent + sent >= stands.max;
    if all_sent {
        // What had matched and does so no longer: somebody else has sent it.
        skipped = stands.matched.saturating_sub(stands.sent + stands.skipped + sent).max(skipped);
    }
    let wait = Duration::from_secs_f64(f64::from(sent) / f64::from(stands.rate_per_second.max(1)));
    let state = ReplayState::Running;
    Ok(Progress { state, detail: None, position: next, all_sent, sent, skipped, ends: None, wait })
}

/// So many deliveries are withdrawn in one transaction.
const WITHDRAWN_AT_ONCE: i64 = 250;

impl Store {
    /// Withdraws what a replay has sent and what has not gone out, in pieces:
    /// others are not kept waiting. What had ended before stands as it stood.
    async fn withdraw(&self, view: View, replay: ReplayId) -> Result<()> {
        loop {
            let now = self.shared.surroundings.now();
            let piece = self.edit(move |connection| {
                async move {
                    let unsent: Vec<Uuid> = sqlx::query_scalar(statements::UNSENT_OF_REPLAY)
                        .bind(replay.0)
                        .bind(WITHDRAWN_AT_ONCE)
                        .fetch_all(&mut *connection)
                        .await?;
                    let mut withdrawn = Vec::with_capacity(unsent.len());
                    for id in unsent.into_iter().map(DeliveryId) {
                        lock_delivery(connection, id).await?;
                        let Some(delivery) = find(connection, view, id, now).await? else { continue };
                        if delivery.status.is_waiting() {
                            moves::end(connection, &delivery, before_replay(&delivery), now).await?;
                            unsend(connection, replay, id).await?;
                            withdrawn.push((delivery.endpoint, id));
                        }
                    }
                    Ok(withdrawn)
                }
                .boxed()
            });
            let withdrawn = piece.await?;
            if withdrawn.is_empty() {
                return Ok(());
            }
            let hand_off = self.shared.hand_off.get();
            withdrawn.iter().for_each(|(endpoint, id)| hand_off.withdraw(*endpoint, *id));
        }
    }

    async fn set_state(&self, view: View, id: ReplayId, state: ReplayState) -> Result<ReplaySet> {
        let now = self.shared.surroundings.now();
        self.edit(move |connection| {
            async move {
                let mut sql = visible(view);
                sql.push(" AND id = ").push_bind(id.0).push(statements::FOR_UPDATE);
                let row = sql.build().fetch_optional(&mut *connection).await?;
                let Some(stands) = row.as_ref().map(replay).transpose()? else {
                    return Ok(ReplaySet::NotFound);
                };
                if stands.state.is_ended() {
                    return Ok(if stands.state == state {
                        ReplaySet::Done
                    } else {
                        ReplaySet::Ended(stands.state)
                    });
                }
                let ends = ends(connection, id).await?;
                sqlx::query(
                    "UPDATE replays SET state = $2, detail = NULL, next_at = $3, updated_at = $3, \
                     delivered = $4, failed = $5 WHERE id = $1",
                )
                .bind(id.0)
                .bind(state.code())
                .bind(now.as_micros())
                .bind(i64::from(ends.delivered))
                .bind(i64::from(ends.failed))
                .execute(connection)
                .await?;
                Ok(ReplaySet::Done)
            }
            .boxed()
        })
        .await
    }

    /// A replay that has not ended, with what has become of its deliveries.
    async fn with_ends(&self, stands: Replay) -> sqlx::Result<Replay> {
        if stands.state == ReplayState::Completed {
            return Ok(stands);
        }
        let mut reader = self.readers.acquire().await?;
        let Ends { delivered, failed, queued, retrying } = ends(&mut reader, stands.id).await?;
        let held_by = held_by(&mut reader, stands.endpoint, self.shared.surroundings.now()).await?;
        let waiting = match held_by {
            Some(_) => Waiting { held: queued + retrying, held_by, ..Waiting::default() },
            None => Waiting { queued, retrying, ..Waiting::default() },
        };
        Ok(Replay { delivered, failed, waiting, ..stands })
    }
}

fn visible(view: View) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new("SELECT * FROM replays WHERE project = ");
    sql.push_bind(view.project.0);
    if let Some(own) = view.tenant {
        sql.push(" AND tenant = ").push_bind(own.0);
    }
    sql
}

#[async_trait]
impl Replays for Store {
    async fn count_replay(&self, wanted: &Replay) -> Result<Counted> {
        let now = self.shared.surroundings.now();
        let failed = store_error("count what a replay would send");
        let mut reader = self.readers.acquire().await.map_err(&failed)?;
        count_matches(&mut reader, &self.shared, wanted, now).await.map_err(failed)
    }

    async fn create_replay(&self, new: &Replay, once: Option<Once>) -> Result<Performed<bool>> {
        let new = new.clone();
        self.edit_once(new.project, once, move |connection| {
            async move {
                let created = insert(connection, &new).await?;
                Ok(Outcome::of(created))
            }
            .boxed()
        })
        .await
    }

    async fn find_replay(&self, view: View, id: ReplayId) -> Result<Option<Replay>> {
        let failed = || store_error("find a replay");
        let mut sql = visible(view);
        sql.push(" AND id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(&self.readers).await.map_err(failed())?;
        let Some(stands) = row.as_ref().map(replay).transpose().map_err(failed())? else { return Ok(None) };
        self.with_ends(stands).await.map(Some).map_err(failed())
    }

    async fn list_replays(&self, view: View, page: PageRequest) -> Result<Page<Replay>> {
        let failed = || store_error("list replays");
        let mut sql = visible(view);
        filter::page(&mut sql, "id", page);
        let rows = sql.build().fetch_all(&self.readers).await.map_err(failed())?;
        let read = rows.iter().map(replay).collect::<sqlx::Result<_>>().map_err(failed())?;
        let mut page = Page::from_overfull(read, page.limit, |replay: &Replay| replay.id.0);
        for stands in &mut page.rows {
            *stands = self.with_ends(stands.clone()).await.map_err(failed())?;
        }
        Ok(page)
    }

    async fn set_replay(&self, view: View, id: ReplayId, state: ReplayState) -> Result<ReplaySet> {
        if state == ReplayState::Canceled {
            // Nothing more is sent while it is withdrawn. If this process dies
            // meanwhile, it is paused, and can be canceled again.
            match self.set_state(view, id, ReplayState::Paused).await? {
                ReplaySet::Done => self.withdraw(view, id).await?,
                ReplaySet::Ended(ReplayState::Canceled) => return Ok(ReplaySet::Done),
                refused => return Ok(refused),
            }
        }
        self.set_state(view, id, state).await
    }

    async fn due_replays(&self, now: Timestamp, limit: u32) -> Result<Vec<ReplayId>> {
        let due: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM replays WHERE state = 0 AND next_at <= $1 ORDER BY next_at LIMIT $2",
        )
        .bind(now.as_micros())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(store_error("look for replays"))?;
        Ok(due.into_iter().map(ReplayId).collect())
    }

    async fn advance_replay(&self, id: ReplayId) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let woken = self
            .edit(move |connection| async move { advance(connection, &shared, id).await }.boxed())
            .await?;
        if let Some(endpoint) = woken {
            self.shared.hand_off.get().wake(&[endpoint]);
        }
        Ok(())
    }

    async fn forget_replays(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.edit(move |connection| {
            async move {
                let old: Vec<Uuid> =
                    sqlx::query_scalar("SELECT id FROM replays WHERE state > 1 AND updated_at < $1 LIMIT $2")
                        .bind(before.as_micros())
                        .bind(i64::from(limit))
                        .fetch_all(&mut *connection)
                        .await?;
                for id in &old {
                    sqlx::query("DELETE FROM replayed WHERE replay = $1")
                        .bind(id)
                        .execute(&mut *connection)
                        .await?;
                    sqlx::query("DELETE FROM replays WHERE id = $1")
                        .bind(id)
                        .execute(&mut *connection)
                        .await?;
                }
                Ok(old.len() as u64)
            }
            .boxed()
        })
        .await
    }
}
