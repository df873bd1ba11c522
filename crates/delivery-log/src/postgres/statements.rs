//! Statements that this backend has in its own way.

use sqlx::{Postgres, QueryBuilder};

use model::ids::{EndpointId, EventId, ProjectId};
use uuid::Uuid;

use super::timeline::timeline;
use crate::View;
use crate::page::{Order, PageRequest};

/// Begins a transaction that sees one state of the database.
pub(super) const BEGIN_READING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// The version of the configuration, and in which history of the database.
pub(super) const READ_VERSION: &str = concat!("SELECT version, ", timeline!(), " FROM configuration");

/// Whether an earlier delivery of the same order is still on its way. 6 is
/// `model::failure::ORDER_RELEASED_AFTER`.
macro_rules! behind {
    ($alias:literal) => {
        concat!(
            "(",
            $alias,
            ".order_key IS NOT NULL AND EXISTS (SELECT 1 FROM waiting o WHERE o.endpoint = ",
            $alias,
            ".endpoint AND o.order_key = ",
            $alias,
            ".order_key AND o.order_sequence < ",
            $alias,
            ".order_sequence AND o.tries < 6))"
        )
    };
}
pub(super) use behind;

/// The same, in conditions on deliveries `d`.
pub(super) const BEHIND: &str = behind!("d");

/// Whether an endpoint `ep` has a limit of calls.
macro_rules! limited {
    () => {
        "(ep.options::jsonb ->> 'rate_limit') IS NOT NULL"
    };
}

/// The same, in conditions on endpoints `ep`.
pub(super) const LIMITED: &str = limited!();

/// A delivery with all that says how it stands, for `rows::delivery`.
pub(super) const DELIVERIES: &str = concat!(
    "SELECT d.project, d.id, d.tenant, d.endpoint, d.payload, \
    d.public_url, d.status, d.failure, d.due_at, d.attempts, d.trigger, d.last_error, d.last_status, \
    d.created_at, d.updated_at, e.id AS event_id, e.type, e.subject, e.occurred_at, e.test, t.handle, \
    ep.status AS endpoint_status, ep.deleted_at AS endpoint_deleted_at, l.hold_until, l.hold_by, l.health, \
    CASE WHEN t.paused_at IS NULL AND p.paused_at IS NULL THEN 0 ELSE 1 END AS paused, \
    CASE WHEN ",
    limited!(),
    " THEN 1 ELSE 0 END AS limited, CASE WHEN ",
    behind!("d"),
    " THEN 1 ELSE 0 END AS behind \
    FROM all_deliveries d \
    JOIN events e ON e.id = d.event \
    JOIN tenants t ON t.id = d.tenant \
    JOIN endpoints ep ON ep.id = d.endpoint \
    JOIN projects p ON p.id = d.project \
    LEFT JOIN lanes l ON l.endpoint = d.endpoint"
);

/// What may hold all that waits for an endpoint, for `rows::hold_of_endpoint`.
pub(super) const HOLD_OF_ENDPOINT: &str = "SELECT ep.status AS endpoint_status, l.hold_until, l.hold_by, \
    CASE WHEN t.paused_at IS NULL AND p.paused_at IS NULL THEN 0 ELSE 1 END AS paused \
    FROM endpoints ep JOIN tenants t ON t.id = ep.tenant JOIN projects p ON p.id = ep.project \
    LEFT JOIN lanes l ON l.endpoint = ep.id WHERE ep.id = $1";

/// How much an endpoint got of an event type since a time.
pub(super) const USAGE: &str = "SELECT count(*) AS many, max(u.created_at) AS last_at FROM (\
    SELECT d.created_at FROM all_deliveries d JOIN events e ON e.id = d.event \
    WHERE d.project = $1 AND d.endpoint = $2 AND e.type = $3 AND d.created_at >= $4 \
    ORDER BY d.id DESC LIMIT $5) u";

/// The attempts of late of an endpoint, the newest first, without tests (3).
pub(super) const RECENT_ATTEMPTS: &str = "SELECT a.started_at, a.total_us, a.error_class, a.http_status, \
    a.error_detail \
    FROM (SELECT id FROM ((SELECT id FROM deliveries WHERE endpoint = $1 ORDER BY id DESC LIMIT $2) \
      UNION ALL (SELECT id FROM waiting WHERE endpoint = $1 ORDER BY due_at, id LIMIT $2)) d) d \
    JOIN attempts a ON a.delivery = d.id AND a.trigger <> 3 ORDER BY a.started_at DESC LIMIT $2";

/// How many deliveries wait for an endpoint, up to a number.
pub(super) const COUNT_WAITING: &str =
    "SELECT count(*) FROM (SELECT 1 FROM waiting WHERE endpoint = $1 LIMIT $2) counted";

/// The publisher's bytes of an event that the view may see.
pub(super) const READ_DATA: &str = "SELECT e.data FROM events e \
    WHERE e.project = $1 AND e.id = $2 AND ($3 IS NULL OR e.tenant = $3)";

/// The data of an event in older versions.
pub(super) const READ_OLDER_DATA: &str = "SELECT e.older FROM events e \
    WHERE e.project = $1 AND e.id = $2 AND ($3 IS NULL OR e.tenant = $3)";

/// Replaces it.
pub(super) const WRITE_OLDER_DATA: &str = "UPDATE events SET older = $3 WHERE project = $1 AND id = $2";

/// Events of which a part is written, for `fan_out::unmoved`.
pub(super) const UNMOVED_FAN_OUTS: &str = "SELECT e.*, e.id AS key, f.targets, f.written \
    FROM fan_outs f JOIN events e ON e.id = f.event WHERE f.moved_at <= $1 ORDER BY f.moved_at, f.event LIMIT $2";

/// The condition that a delivery is of this event.
pub(super) fn of_event(sql: &mut QueryBuilder<Postgres>, _: View, event: EventId) {
    sql.push(" AND d.event = ").push_bind(event.0);
    sql.push(" AND d.id > ").push_bind(event.0).push(" AND d.id < ").push_bind(last_delivery(event.0));
}

/// Beyond the ids of all deliveries of an event. They are made with the
/// event's, one after the other, so they follow it within a second.
pub(super) fn last_delivery(event: Uuid) -> Uuid {
    Uuid::from_u128(event.as_u128() + (1_000 << 80))
}

/// Keeps others from changing the rows that are read.
pub(super) const FOR_UPDATE: &str = " FOR UPDATE";

/// A running replay of which a part is due, unless another process has it in hand.
pub(super) const LOCK_DUE_REPLAY: &str =
    "SELECT * FROM replays WHERE id = $1 AND state = 0 AND next_at <= $2 FOR UPDATE SKIP LOCKED";

/// How the deliveries of a replay stand: codes and how many there are of each.
pub(super) const STATUSES_OF_REPLAY: &str = "SELECT status, count(*) AS many FROM ( \
    SELECT w.status FROM replayed r JOIN waiting w ON w.id = r.delivery WHERE r.replay = $1 UNION ALL \
    SELECT d.status FROM replayed r JOIN deliveries d ON d.id = r.delivery WHERE r.replay = $1) s GROUP BY status";

/// What a replay (trigger 1) has sent, what has not been called for since, and
/// what no later replay has sent, too.
pub(super) const UNSENT_OF_REPLAY: &str = "SELECT w.id FROM replayed r JOIN waiting w ON w.id = r.delivery \
    WHERE r.replay = $1 AND w.status = 0 AND w.trigger = 1 AND NOT EXISTS (SELECT 1 FROM replays later \
    JOIN replayed o ON o.replay = later.id AND o.delivery = r.delivery \
    WHERE later.endpoint = w.endpoint AND later.id > r.replay) LIMIT $2 FOR UPDATE OF w";

/// The function that gives the place of a text within another; 0 for none.
pub(super) const PLACE_IN: &str = "strpos";

/// Which events from `first` to `last` have a delivery to an endpoint.
pub(super) fn events_at(
    _: ProjectId,
    endpoint: EndpointId,
    first: Uuid,
    last: Uuid,
) -> QueryBuilder<Postgres> {
    // The deliveries of an event follow it within a second.
    let mut sql = QueryBuilder::new("SELECT d.event FROM all_deliveries d WHERE d.endpoint = ");
    sql.push_bind(endpoint.0).push(" AND d.id > ").push_bind(first);
    sql.push(" AND d.id < ").push_bind(last_delivery(last));
    sql
}

/// Lists whose rows stand in the order of their ids.
#[derive(Debug, Clone, Copy)]
pub(super) enum Listed {
    Events,
    Deliveries,
}

/// The end of a list's statement: from the cursor on, in the order of ids,
/// and one row more than wanted.
pub(super) fn page(sql: &mut QueryBuilder<Postgres>, list: Listed, _: View, page: PageRequest) {
    let alias = match list {
        Listed::Events => "e",
        Listed::Deliveries => "d",
    };
    let (beyond, direction) = match page.order {
        Order::Descending => ("<", "DESC"),
        Order::Ascending => (">", "ASC"),
    };
    if let Some(after) = page.after {
        sql.push(format_args!(" AND {alias}.id {beyond} ")).push_bind(after);
    }
    sql.push(format_args!(" ORDER BY {alias}.id {direction} LIMIT ")).push_bind(i64::from(page.limit) + 1);
}

/// Some of what failed and waits for its next try is due now.
pub(super) const TRY_NOW: &str = "UPDATE waiting SET due_at = $2 WHERE id IN (SELECT id FROM waiting \
    WHERE endpoint = $1 AND claimed IS NULL AND due_at > $2 AND attempts > 0 ORDER BY due_at, id LIMIT $3 FOR UPDATE SKIP LOCKED)";

/// The schedules of what waits began later than it seems.
pub(super) const START_LATER: &str = "UPDATE waiting SET schedule_since = schedule_since + $1 \
    WHERE due_at IS NOT NULL AND schedule_since <= $2";

/// What was put off by a wrong time of day comes sooner.
pub(super) const COME_SOONER: &str = "UPDATE waiting SET due_at = CASE WHEN due_at > $3 \
    THEN greatest(due_at + $2, $1) ELSE due_at END, schedule_since = CASE WHEN schedule_since > $1 \
    THEN $1 ELSE schedule_since END WHERE due_at > $3 OR (due_at IS NOT NULL AND schedule_since > $1)";
