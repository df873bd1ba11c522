//! Lanes: taking, claiming, giving back, and taking over at the start.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{FutureExt as _, TryStreamExt as _};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use model::attempt::{Attempt, ErrorClass, Phases, Trigger};
use model::clock::Timestamp;
use model::event::Event;
use model::ids::{AttemptId, DeliveryId, EndpointId, ProcessId};
use model::retry::NextReason;

use super::lane_rows::{HealthRow, ready_delivery, taken};
use super::multi_row::{MultiRow, Part, Piece, bind_rows};
use super::rows::{broken, time, uuid};
use super::statements::behind;
use super::{Shared, SqliteStore, columns, store_error};
use crate::Result;
use crate::hand_off::ReadyDelivery;
use crate::lanes::{Beat, ClaimDue, ClaimedDeliveries, Cursor, Epoch, LOOKED_AT, Lanes, Reviewed, TakenLane};

#[async_trait]
impl Lanes for SqliteStore {
    // One process at a time has the store, and the lock of its file says which:
    // it needs no heartbeat, and takes over at its start.

    async fn join(&self, _: ProcessId) -> Result<()> {
        Ok(())
    }

    async fn beat(&self, _: ProcessId) -> Result<Beat> {
        Ok(Beat::Alive { store_clock: self.shared.env.now() })
    }

    async fn leave(&self, _: ProcessId) -> Result<()> {
        Ok(())
    }

    async fn take_over_dead(&self) -> Result<u64> {
        Ok(0)
    }

    async fn review_lanes(&self, _: ProcessId, _: Timestamp) -> Result<Reviewed> {
        Ok(Reviewed::default())
    }

    async fn find_idle_lanes_with_work(&self, now: Timestamp, limit: u32) -> Result<Vec<EndpointId>> {
        let rows = sqlx::query(
            "SELECT endpoint FROM lanes WHERE owner IS NULL AND wake_at <= ? ORDER BY wake_at LIMIT ?",
        )
        .bind(now.as_micros())
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(store_error("find lanes with work"))?;
        rows.iter()
            .map(|row| row.try_get(0).map(EndpointId))
            .collect::<sqlx::Result<_>>()
            .map_err(store_error("read lanes"))
    }

    async fn take_lanes(&self, process: ProcessId, endpoints: &[EndpointId]) -> Result<Vec<TakenLane>> {
        let endpoints = endpoints.to_vec();
        self.edit(move |connection| {
            async move {
                let mut lanes = Vec::with_capacity(endpoints.len());
                for endpoint in endpoints {
                    lanes.extend(take(connection, process, endpoint).await?);
                }
                Ok(lanes)
            }
            .boxed()
        })
        .await
    }

    async fn claim_due(&self, claim: ClaimDue) -> Result<ClaimedDeliveries> {
        self.writer.claim_due(claim).await
    }

    async fn release_lanes(&self, lanes: &[(EndpointId, Epoch)]) -> Result<()> {
        let lanes = lanes.to_vec();
        self.edit(move |connection| {
            async move {
                for (endpoint, epoch) in lanes {
                    release(connection, endpoint, epoch).await?;
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }
}

async fn take(
    connection: &mut SqliteConnection,
    process: ProcessId,
    endpoint: EndpointId,
) -> sqlx::Result<Option<TakenLane>> {
    let row = sqlx::query(
        "UPDATE lanes SET owner = ?, epoch = epoch + 1, wake_at = 0 \
         WHERE endpoint = ? AND owner IS NULL RETURNING endpoint, epoch, health",
    )
    .bind(process.0)
    .bind(endpoint.0)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(taken).transpose()
}

async fn release(connection: &mut SqliteConnection, endpoint: EndpointId, epoch: Epoch) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE deliveries SET claimed = NULL WHERE endpoint = ? AND claimed = ? AND due_at IS NOT NULL",
    )
    .bind(endpoint.0)
    .bind(epoch.0)
    .execute(&mut *connection)
    .await?;
    // The lane of an endpoint that is not enabled rests until that changes,
    // unless a test is to be sent, which is due at 0.
    sqlx::query(
        "UPDATE lanes SET owner = NULL, wake_at = CASE \
           WHEN EXISTS (SELECT 1 FROM deliveries WHERE endpoint = ?1 AND claimed IS NULL AND due_at = 0) THEN 0 \
           WHEN EXISTS (SELECT 1 FROM endpoints e JOIN tenants t ON t.id = e.tenant \
             JOIN projects p ON p.id = e.project WHERE e.id = ?1 AND e.status = 'enabled' \
             AND e.deleted_at IS NULL AND t.paused_at IS NULL AND p.paused_at IS NULL) \
           THEN max(coalesce(hold_until, 0), coalesce( \
             (SELECT min(due_at) FROM deliveries WHERE endpoint = ?1 AND claimed IS NULL AND due_at IS NOT NULL), \
             ?2)) \
           ELSE ?2 END \
         WHERE endpoint = ?1 AND epoch = ?3 AND owner IS NOT NULL",
    )
    .bind(endpoint.0)
    .bind(Timestamp::FAR_FUTURE.as_micros())
    .bind(epoch.0)
    .execute(connection)
    .await
    .map(|_| ())
}

/// Makes sure that somebody owns these lanes soon.
pub(super) async fn wake(
    connection: &mut SqliteConnection,
    endpoints: &[EndpointId],
    now: Timestamp,
) -> sqlx::Result<()> {
    const WOKEN: Part = Part {
        before: "WITH woken (endpoint, at) AS (VALUES",
        columns: 2,
        after: ") UPDATE lanes SET wake_at = woken.at FROM woken \
                WHERE lanes.endpoint = woken.endpoint AND lanes.wake_at > woken.at",
    };
    static WAKE: MultiRow = MultiRow::new(&[WOKEN]);
    for Piece { sql, places, rows } in WAKE.pieces(endpoints) {
        let query = bind_rows(sqlx::query(sql), rows.iter(), places, WOKEN.columns, |query, endpoint| {
            query.bind(endpoint.0).bind(now.as_micros())
        });
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Keeps what attempts told of endpoints, where this process still owns the lane.
pub(super) async fn store_health(connection: &mut SqliteConnection, rows: &[HealthRow]) -> sqlx::Result<()> {
    const TOLD: Part = Part {
        before: "WITH told (endpoint, epoch, hold_until, hold_by, health) AS (VALUES",
        columns: 5,
        after: ") UPDATE lanes SET hold_until = told.hold_until, hold_by = told.hold_by, health = told.health \
                FROM told WHERE lanes.endpoint = told.endpoint AND lanes.epoch = told.epoch",
    };
    static STORE: MultiRow = MultiRow::new(&[TOLD]);
    for Piece { sql, places, rows } in STORE.pieces(rows) {
        let query = bind_rows(sqlx::query(sql), rows.iter(), places, TOLD.columns, |query, row| {
            query
                .bind(row.endpoint)
                .bind(row.epoch)
                .bind(row.hold_until)
                .bind(row.hold_by)
                .bind(row.health.as_deref())
        });
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Marks what is due as claimed, and reads all that its calls need.
///
/// What goes in order and is behind another of its key is looked at and left.
pub(super) async fn claim_due(
    connection: &mut SqliteConnection,
    claim: &ClaimDue,
) -> sqlx::Result<ClaimedDeliveries> {
    const SQL: &str = concat!(
        "SELECT d.id AS delivery_id, d.payload, d.public_url, d.attempts, d.tries, d.rejections, \
         d.schedule_since, d.trigger, d.last_error, d.order_key, d.due_at, due.position, due.behind, \
         e.*, p.data, p.older FROM (SELECT q.position, ",
        behind!("q"),
        " AS behind FROM deliveries q WHERE q.endpoint = ?1 AND q.claimed IS NULL AND q.due_at <= ?2 \
             AND (q.due_at, q.position) > (?5, ?6) ORDER BY q.due_at, q.position LIMIT ?3) due \
         CROSS JOIN deliveries d ON d.position = due.position \
         CROSS JOIN events e ON e.position = d.event \
         LEFT JOIN payloads p ON p.event = e.position AND NOT due.behind \
         WHERE EXISTS (SELECT 1 FROM lanes WHERE endpoint = ?1 AND epoch = ?4 AND owner IS NOT NULL)"
    );
    let found = sqlx::query(SQL)
        .bind(claim.endpoint.0)
        .bind(claim.now.as_micros())
        .bind(LOOKED_AT.max(claim.limit))
        .bind(claim.epoch.0)
        .bind(claim.after.due_at.as_micros())
        .bind(claim.after.place as i64);
    let (mut bytes, mut looked, mut left_behind) = (0, 0, false);
    let mut ready = Vec::new();
    let mut more_after = None;
    let mut events: HashMap<Uuid, Arc<Event>> = HashMap::new();
    // Row by row: what is too much is not even read.
    let mut rows = found.fetch(&mut *connection);
    while ready.len() < claim.limit as usize
        && let Some(row) = rows.try_next().await?
    {
        looked += 1;
        if looked == LOOKED_AT.max(claim.limit) {
            let position: i64 = row.try_get("position")?;
            more_after = Some(Cursor::at(time(&row, "due_at")?, position as u128));
        }
        if row.try_get::<i64, _>("behind")? != 0 {
            left_behind = true;
            continue;
        }
        let delivery = ready_delivery(&row, claim, &mut events)?;
        bytes += delivery.data.as_bytes().len();
        // At least one, however large it is.
        if bytes > claim.max_bytes && !ready.is_empty() {
            break;
        }
        ready.push(delivery);
    }
    drop(rows);
    mark_claimed(connection, claim.epoch, &ready).await?;
    let next: Option<i64> = sqlx::query_scalar(
        "SELECT min(due_at) FROM deliveries WHERE endpoint = ? AND claimed IS NULL AND due_at > ?",
    )
    .bind(claim.endpoint.0)
    .bind(if left_behind || claim.after != Cursor::START { claim.now.as_micros() } else { -1 })
    .fetch_one(connection)
    .await?;
    Ok(ClaimedDeliveries { ready, next_due: next.map(Timestamp::from_micros), more_after })
}

async fn mark_claimed(
    connection: &mut SqliteConnection,
    epoch: Epoch,
    ready: &[ReadyDelivery],
) -> sqlx::Result<()> {
    const TAKEN: Part = Part {
        before: "WITH taken (project, id, epoch) AS (VALUES",
        columns: 3,
        after: ") UPDATE deliveries SET claimed = taken.epoch FROM taken \
                WHERE deliveries.project = taken.project AND deliveries.id = taken.id",
    };
    static MARK: MultiRow = MultiRow::new(&[TAKEN]);
    for Piece { sql, places, rows } in MARK.pieces(ready) {
        let query = bind_rows(sqlx::query(sql), rows.iter(), places, TAKEN.columns, |query, delivery| {
            query.bind(delivery.event.project.0).bind(delivery.id.0).bind(epoch.0)
        });
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Frees every lane, because the process that owned them is gone: what was
/// in its hands may have been sent, is logged as interrupted, and is due now.
///
/// An interrupted attempt costs no try. It is logged for everything that
/// was in hand, because nobody can know any more what had been sent.
pub(super) async fn take_over_all(connection: &mut SqliteConnection, shared: &Shared) -> sqlx::Result<u64> {
    let now = shared.env.now();
    let in_hand = sqlx::query(
        "SELECT d.id, d.attempts, d.trigger FROM lanes l CROSS JOIN deliveries d \
         ON d.endpoint = l.endpoint AND d.claimed IS NOT NULL AND d.due_at IS NOT NULL WHERE l.owner IS NOT NULL",
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in &in_hand {
        let attempt = interrupted(row, now, shared)?;
        let sql = "INSERT INTO attempts (delivery, number, id, trigger, started_at, dns_us, connect_us, \
             first_byte_us, total_us, remote_ip, http_version, request_headers, http_status, \
             response_headers, body, truncated, error_class, error_detail, next_attempt_at, next_reason) \
             VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING";
        columns::bind_attempt(sqlx::query(sql), &attempt, false).execute(&mut *connection).await?;
    }
    sqlx::query(
        "UPDATE deliveries SET claimed = NULL, attempts = attempts + 1, \
         due_at = CASE trigger WHEN 3 THEN 0 ELSE ?1 END, last_error = ?2, \
         updated_at = ?1 WHERE claimed IS NOT NULL AND due_at IS NOT NULL \
         AND endpoint IN (SELECT endpoint FROM lanes WHERE owner IS NOT NULL)",
    )
    .bind(now.as_micros())
    .bind(ErrorClass::Interrupted.code())
    .execute(&mut *connection)
    .await?;
    sqlx::query("UPDATE lanes SET owner = NULL, epoch = epoch + 1, wake_at = ? WHERE owner IS NOT NULL")
        .bind(now.as_micros())
        .execute(connection)
        .await?;
    Ok(in_hand.len() as u64)
}

fn interrupted(row: &SqliteRow, now: Timestamp, shared: &Shared) -> sqlx::Result<Attempt> {
    let attempts: u32 = row.try_get("attempts")?;
    let trigger: i64 = row.try_get("trigger")?;
    Ok(Attempt {
        id: shared.env.new_id::<AttemptId>(),
        delivery: DeliveryId(uuid(row, "id")?),
        number: attempts + 1,
        trigger: Trigger::from_code(trigger).ok_or_else(|| broken("trigger", trigger))?,
        started_at: now,
        phases: Phases::default(),
        remote_ip: None,
        http_version: None,
        request_headers: Vec::new(),
        answer: None,
        error_class: ErrorClass::Interrupted,
        error_detail: Some("Posthorn ended while this call may have been under way".to_owned()),
        next_attempt_at: Some(now),
        next_reason: NextReason::Interrupted,
    })
}
