//! Which deliveries, or events, a replay is about.

use std::collections::HashSet;

use sqlx::{QueryBuilder, Row as _};
use uuid::Uuid;

use model::catalogue::EventTypeEntry;
use model::clock::Timestamp;
use model::delivery::{Delivery, VisibleStatus};
use model::event::{Event, EventData, ReadOnce};
use model::filter::Filter;
use model::ids::EventId;
use model::replay::{MAX_LOOKED_AT, Replay, ReplayFilter, ReplayMode};

use super::super::events::select_events;
use super::super::rows::{self, uuid};
use super::super::statements::{self, Listed};
use super::super::{Connection, Db, Shared, filter};
use crate::View;
use crate::configuration::LiveEndpoint;
use crate::deliveries::DeliveryFilter;
use crate::events::EventFilter;
use crate::page::{Order, Page, PageRequest};
use crate::publishing::would_get;
use crate::replays::Counted;

/// How many events a part looks at, at most.
const LOOKED_AT: u32 = 1_000;

/// What a replay may see: what its tenant may.
pub(super) fn view_of(replay: &Replay) -> View {
    View { project: replay.project, tenant: Some(replay.tenant) }
}

/// The conditions that events and deliveries have in common.
fn common(wanted: &ReplayFilter) -> EventFilter {
    EventFilter {
        tenant: None,
        event_type: wanted.event_type.clone(),
        label: wanted.label.clone(),
        subject: wanted.subject.clone(),
        occurred_after: wanted.occurred_after,
        occurred_before: wanted.occurred_before,
    }
}

fn ascending(after: Option<Uuid>, limit: u32) -> PageRequest {
    PageRequest { limit, after, order: Order::Ascending }
}

/// Conditions on the events `e` of both kinds of replay.
fn published(sql: &mut QueryBuilder<Db>, replay: &Replay) {
    if let Some(after) = replay.filter.published_after {
        sql.push(" AND e.created_at >= ").push_bind(after.as_micros());
    }
    // What comes after the replay is delivered without it, and tests say
    // nothing to the receiver's data.
    sql.push(" AND e.created_at <= ").push_bind(replay.created_at.as_micros()).push(" AND NOT e.test");
}

/// Appends the conditions of a replay of deliveries.
fn deliveries(sql: &mut QueryBuilder<Db>, replay: &Replay, now: Timestamp) {
    let EventFilter { event_type, label, subject, occurred_after, occurred_before, .. } =
        common(&replay.filter);
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
        error_class: replay.filter.error_class,
        http_status: replay.filter.http_status,
        ..DeliveryFilter::default()
    };
    filter::deliveries(sql, view_of(replay), &wanted, now);
    published(sql, replay);
}

/// The next deliveries of a replay.
pub(super) async fn next_deliveries(
    connection: &mut Connection,
    replay: &Replay,
    after: Option<Uuid>,
    limit: u32,
    now: Timestamp,
) -> sqlx::Result<Page<Delivery>> {
    let mut sql = QueryBuilder::new(statements::DELIVERIES);
    deliveries(&mut sql, replay, now);
    let page = ascending(after, limit);
    statements::page(&mut sql, Listed::Deliveries, view_of(replay), page);
    let rows = sql.build().fetch_all(connection).await?;
    let read = rows.iter().map(|row| rows::delivery(row, now)).collect::<sqlx::Result<_>>()?;
    Ok(Page::from_overfull(read, limit, |delivery: &Delivery| delivery.id.0))
}

/// The next events that a replay looks at, each with the version in which its
/// endpoint would get it now, if it would and never got it.
pub(super) async fn next_events(
    connection: &mut Connection,
    shared: &Shared,
    replay: &Replay,
    live: &LiveEndpoint,
    after: Option<Uuid>,
) -> sqlx::Result<Page<(Event, Option<u32>)>> {
    let view = view_of(replay);
    let mut sql = select_events(view, &common(&replay.filter));
    published(&mut sql, replay);
    statements::page(&mut sql, Listed::Events, view, ascending(after, LOOKED_AT));
    let rows = sql.build().fetch_all(&mut *connection).await?;
    let events = rows.iter().map(rows::event).collect::<sqlx::Result<Vec<_>>>()?;
    let page = Page::from_overfull(events, LOOKED_AT, |event: &Event| event.id.0);
    let ids = || page.rows.iter().map(|event| event.id.0);
    let (Some(low), Some(high)) = (ids().min(), ids().max()) else {
        return Ok(Page { rows: Vec::new(), cursors: Vec::new(), next: None });
    };
    let mut sql = statements::events_at(replay.project, replay.endpoint, low, high);
    let rows = sql.build().fetch_all(&mut *connection).await?;
    let had = rows.iter().map(|row| uuid(row, "event")).collect::<sqlx::Result<HashSet<_>>>()?;
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
    let data = match live.endpoint.calls.filter.as_ref().is_some_and(Filter::reads_data) {
        true => read_data(connection, view, event.id).await?,
        false => None,
    };
    let data = data.as_ref().map(ReadOnce::new);
    Ok(would_get(live, entry, event, data.as_ref()).ok())
}

/// The data of an event, in the version in which it was published.
pub(super) async fn read_data(
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
pub(super) async fn count_matches(
    connection: &mut Connection,
    shared: &Shared,
    wanted: &Replay,
    now: Timestamp,
) -> sqlx::Result<Counted> {
    if wanted.mode != ReplayMode::Missing {
        let mut sql = QueryBuilder::new("SELECT count(*) FROM (");
        sql.push(statements::DELIVERIES);
        deliveries(&mut sql, wanted, now);
        sql.push(" LIMIT ").push_bind(i64::from(wanted.max)).push(") matching");
        let matched: i64 = sql.build_query_scalar().fetch_one(connection).await?;
        return Ok(Counted::Matched(matched as u32));
    }
    let Some(live) = shared.configuration.endpoint(wanted.endpoint) else { return Ok(Counted::Matched(0)) };
    let (mut after, mut looked_at, mut matched) = (None, 0, 0);
    loop {
        let page = next_events(connection, shared, wanted, &live, after).await?;
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
