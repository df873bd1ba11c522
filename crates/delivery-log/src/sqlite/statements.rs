//! Statements that this backend has in its own way.

use sqlx::{QueryBuilder, Sqlite};

use model::ids::{EndpointId, EventId, ProjectId};
use uuid::Uuid;

use crate::View;
use crate::page::{Order, PageRequest};

/// The version of the configuration, and in which history of the database: an
/// embedded store has one.
pub(super) const READ_VERSION: &str = "SELECT version, '' FROM configuration";

/// Begins a transaction that sees one state of the database.
pub(super) const BEGIN_READING: &str = "BEGIN";

/// Whether an earlier delivery of the same order is still on its way. 6 is
/// `model::failure::ORDER_RELEASED_AFTER`.
macro_rules! behind {
    ($alias:literal) => {
        concat!(
            "(",
            $alias,
            ".order_key IS NOT NULL AND EXISTS (SELECT 1 FROM deliveries o WHERE o.endpoint = ",
            $alias,
            ".endpoint AND o.order_key = ",
            $alias,
            ".order_key AND o.order_sequence < ",
            $alias,
            ".order_sequence AND o.tries < 6 AND o.due_at IS NOT NULL))"
        )
    };
}
pub(super) use behind;

/// The same, in conditions on deliveries `d`.
pub(super) const BEHIND: &str = behind!("d");

/// Whether an endpoint `ep` has a limit of calls.
macro_rules! limited {
    () => {
        "json_extract(ep.options, '$.rate_limit') IS NOT NULL"
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
    FROM deliveries d \
    JOIN events e ON e.position = d.event \
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
    SELECT d.created_at FROM deliveries d JOIN events e ON e.position = d.event \
    WHERE d.project = $1 AND d.endpoint = $2 AND e.type = $3 AND d.created_at >= $4 \
    ORDER BY d.position DESC LIMIT $5) u";

/// The attempts of late of an endpoint, the newest first, without tests (3).
pub(super) const RECENT_ATTEMPTS: &str = "SELECT a.started_at, a.total_us, a.error_class, a.http_status, \
    a.error_detail \
    FROM (SELECT id FROM deliveries WHERE endpoint = $1 ORDER BY position DESC LIMIT $2) d \
    JOIN attempts a ON a.delivery = d.id AND a.trigger <> 3 ORDER BY a.started_at DESC LIMIT $2";

/// How many deliveries wait for an endpoint, up to a number.
pub(super) const COUNT_WAITING: &str = "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE endpoint = $1 AND due_at IS NOT NULL LIMIT $2) counted";

/// Some of what failed and waits for its next try is due now.
pub(super) const TRY_NOW: &str = "UPDATE deliveries SET due_at = $2 WHERE position IN (SELECT position \
    FROM deliveries WHERE endpoint = $1 AND claimed IS NULL AND due_at > $2 AND attempts > 0 ORDER BY due_at LIMIT $3)";

/// The publisher's bytes of an event that the view may see.
pub(super) const READ_DATA: &str = "SELECT p.data FROM events e JOIN payloads p ON p.event = e.position \
    WHERE e.project = $1 AND e.id = $2 AND ($3 IS NULL OR e.tenant = $3)";

/// The data of an event in older versions.
pub(super) const READ_OLDER_DATA: &str = "SELECT p.older FROM events e JOIN payloads p ON p.event = e.position \
    WHERE e.project = $1 AND e.id = $2 AND ($3 IS NULL OR e.tenant = $3)";

/// Replaces it.
pub(super) const WRITE_OLDER_DATA: &str = "UPDATE payloads SET older = $3 WHERE event = (SELECT position FROM events WHERE project = $1 AND id = $2)";

/// Events of which a part is written, for `fan_out::unmoved`.
pub(super) const UNMOVED_FAN_OUTS: &str = "SELECT e.*, e.position AS key, f.targets, f.written \
    FROM fan_outs f JOIN events e ON e.position = f.event \
    WHERE f.moved_at <= $1 ORDER BY f.moved_at, f.event LIMIT $2";

/// The condition that a delivery is of this event.
pub(super) fn of_event(sql: &mut QueryBuilder<Sqlite>, view: View, event: EventId) {
    sql.push(" AND d.event = (SELECT position FROM events WHERE project = ").push_bind(view.project.0);
    sql.push(" AND id = ").push_bind(event.0).push(")");
}

/// Keeps others from changing the rows that are read.
pub(super) const FOR_UPDATE: &str = "";

/// A running replay of which a part is due, unless another process has it in hand.
pub(super) const LOCK_DUE_REPLAY: &str =
    "SELECT * FROM replays WHERE id = $1 AND state = 0 AND next_at <= $2";

/// How the deliveries of a replay stand: codes and how many there are of each.
pub(super) const STATUSES_OF_REPLAY: &str = "SELECT d.status, count(*) AS many FROM replayed r \
    JOIN replays j ON j.id = r.replay JOIN deliveries d ON d.project = j.project AND d.id = r.delivery \
    WHERE r.replay = $1 GROUP BY d.status";

/// What a replay (trigger 1) has sent, what has not been called for since, and
/// what no later replay has sent, too.
pub(super) const UNSENT_OF_REPLAY: &str = "SELECT d.id FROM replayed r JOIN replays j ON j.id = r.replay \
    JOIN deliveries d ON d.project = j.project AND d.id = r.delivery \
    WHERE r.replay = $1 AND d.status = 0 AND d.trigger = 1 AND NOT EXISTS (SELECT 1 FROM replays later \
    JOIN replayed o ON o.replay = later.id AND o.delivery = r.delivery \
    WHERE later.endpoint = d.endpoint AND later.id > r.replay) LIMIT $2";

/// The function that gives the place of a text within another; 0 for none.
pub(super) const PLACE_IN: &str = "instr";

/// Which events from `first` to `last` have a delivery to an endpoint.
pub(super) fn events_at(
    project: ProjectId,
    endpoint: EndpointId,
    first: Uuid,
    last: Uuid,
) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(
        "SELECT e.id AS event FROM events e JOIN deliveries d ON d.event = e.position WHERE e.project = ",
    );
    sql.push_bind(project.0).push(" AND e.id >= ").push_bind(first).push(" AND e.id <= ").push_bind(last);
    sql.push(" AND d.endpoint = ").push_bind(endpoint.0);
    sql
}

/// Lists whose rows are numbered in the order in which they came.
#[derive(Debug, Clone, Copy)]
pub(super) enum Listed {
    Events,
    Deliveries,
}

/// The end of a list's statement: from the cursor on, in the order of their
/// numbers, and one row more than wanted. The row that the cursor names may have been
/// purged meanwhile: then the list goes on at its neighbour.
pub(super) fn page(sql: &mut QueryBuilder<Sqlite>, list: Listed, view: View, page: PageRequest) {
    let (alias, table) = match list {
        Listed::Events => ("e", "events"),
        Listed::Deliveries => ("d", "deliveries"),
    };
    let (beyond, neighbour, direction) = match page.order {
        Order::Descending => ("<", (">=", "ASC", i64::MAX), "DESC"),
        Order::Ascending => (">", ("<=", "DESC", 0), "ASC"),
    };
    if let Some(after) = page.after {
        let (at, nearest, none) = neighbour;
        sql.push(format_args!(
            " AND {alias}.position {beyond} coalesce((SELECT position FROM {table} WHERE project = "
        ));
        sql.push_bind(view.project.0).push(format_args!(" AND id {at} ")).push_bind(after);
        sql.push(format_args!(" ORDER BY id {nearest} LIMIT 1), {none})"));
    }
    sql.push(format_args!(" ORDER BY {alias}.position {direction} LIMIT "))
        .push_bind(i64::from(page.limit) + 1);
}

/// The schedules of what waits began later than it seems.
pub(super) const START_LATER: &str = "UPDATE deliveries SET schedule_since = schedule_since + $1 \
    WHERE due_at IS NOT NULL AND schedule_since <= $2";

/// What was put off by a wrong time of day comes sooner.
pub(super) const COME_SOONER: &str = "UPDATE deliveries SET due_at = CASE WHEN due_at > $3 \
    THEN max(due_at + $2, $1) ELSE due_at END, schedule_since = CASE WHEN schedule_since > $1 \
    THEN $1 ELSE schedule_since END WHERE due_at > $3 OR (due_at IS NOT NULL AND schedule_since > $1)";
