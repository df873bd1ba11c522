//! Lanes: taking, claiming and giving back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use model::clock::Timestamp;
use model::ids::{EndpointId, ProcessId};

use super::claims::Claim;
use super::lane_rows::{HealthRow, taken};
use super::rows::uuid;
use super::{PostgresStore, link, processes, store_error};
use crate::Result;
use crate::lanes::{
    Beat, ClaimDue, ClaimedDeliveries, Epoch, LEASE, Lanes, Reviewed, ReviewedLane, TakenLane,
};

const IDLE: &str =
    "SELECT endpoint FROM lanes WHERE owner IS NULL AND wake_at <= $1 ORDER BY wake_at LIMIT $2";

/// Lanes that were given back at the very moment at which something was
/// published to them: neither saw the other, and if the process that published
/// died before it could tell, nobody knows of the work. One step for each
/// endpoint that has any.
const FORGOTTEN: &str = "WITH RECURSIVE busy (endpoint) AS ( \
      (SELECT endpoint FROM waiting ORDER BY endpoint LIMIT 1) UNION ALL \
      SELECT (SELECT w.endpoint FROM waiting w WHERE w.endpoint > b.endpoint ORDER BY w.endpoint LIMIT 1) \
      FROM busy b WHERE b.endpoint IS NOT NULL) \
    SELECT b.endpoint FROM busy b JOIN lanes l ON l.endpoint = b.endpoint JOIN endpoints e ON e.id = b.endpoint \
    JOIN tenants t ON t.id = e.tenant JOIN projects p ON p.id = e.project \
    WHERE l.owner IS NULL AND l.wake_at > $1 AND coalesce(l.hold_until, 0) <= $1 \
      AND e.status = 'enabled' AND e.deleted_at IS NULL AND t.paused_at IS NULL AND p.paused_at IS NULL \
      AND EXISTS (SELECT 1 FROM waiting w WHERE w.endpoint = b.endpoint AND w.due_at <= $1) LIMIT $2";
/// One look in so many is for those.
const FORGOTTEN_EVERY: u32 = 10;

/// Keeps what attempts told of endpoints, where this process still owns the lane.
pub(super) async fn store_health(connection: &mut PgConnection, rows: &[HealthRow]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE lanes l SET hold_until = h.hold_until, hold_by = h.hold_by, health = h.health \
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[]) \
           AS h (endpoint, epoch, hold_until, hold_by, health) \
         WHERE l.endpoint = h.endpoint AND l.epoch = h.epoch",
    )
    .bind(rows.iter().map(|row| row.endpoint).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.epoch).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.hold_until).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.hold_by).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.health.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map(|_| ())
}

#[async_trait]
impl Lanes for PostgresStore {
    async fn join(&self, process: ProcessId) -> Result<()> {
        self.pulse(move |connection| processes::join(connection, process).boxed()).await
    }

    async fn beat(&self, process: ProcessId) -> Result<Beat> {
        self.pulse(move |connection| processes::beat(connection, process).boxed()).await
    }

    async fn leave(&self, process: ProcessId) -> Result<()> {
        self.pulse(move |connection| processes::leave(connection, process).boxed()).await
    }

    async fn take_over_dead(&self) -> Result<u64> {
        let mut interrupted = 0;
        // Step by step: a process may have had thousands of lanes.
        loop {
            let shared = Arc::clone(&self.shared);
            let step = self.transact(move |connection| {
                async move { processes::take_over_some(connection, &shared).await }.boxed()
            });
            match step.await? {
                Some(count) => interrupted += count,
                None => return Ok(interrupted),
            }
        }
    }

    async fn review_lanes(&self, process: ProcessId, now: Timestamp) -> Result<Reviewed> {
        let sql = "SELECT l.endpoint, l.epoch, EXISTS (SELECT 1 FROM waiting w WHERE w.endpoint = l.endpoint \
             AND w.due_at <= $2 AND w.claimed IS DISTINCT FROM l.epoch) AS has_work FROM lanes l WHERE l.owner = $1";
        let rows = sqlx::query(sql).bind(process.0).bind(now.as_micros()).fetch_all(&self.lookouts);
        let rows = link::within(rows).await.map_err(store_error("review lanes"))?;
        let counts = sqlx::query_as::<_, (i64, i64)>(
            "SELECT (SELECT count(*) FROM lanes WHERE owner IS NOT NULL), (SELECT count(*) FROM processes)",
        );
        let counts = link::within(counts.fetch_one(&self.lookouts)).await;
        let (owned_by_all, processes) = counts.map_err(store_error("review lanes"))?;
        let reviewed = |row: &PgRow| {
            Ok(ReviewedLane {
                endpoint: EndpointId(uuid(row, "endpoint")?),
                epoch: Epoch(row.try_get("epoch")?),
                has_work: row.try_get("has_work")?,
            })
        };
        let lanes = rows.iter().map(reviewed).collect::<sqlx::Result<_>>();
        Ok(Reviewed {
            lanes: lanes.map_err(store_error("review lanes"))?,
            owned_by_all: owned_by_all as usize,
            processes: processes as usize,
        })
    }

    async fn find_idle_lanes_with_work(&self, now: Timestamp, limit: u32) -> Result<Vec<EndpointId>> {
        let find = async |sql: &'static str| {
            let found = sqlx::query_scalar::<_, Uuid>(sql).bind(now.as_micros()).bind(i64::from(limit));
            let found = found.fetch_all(&self.lookouts);
            link::within(found).await.map_err(store_error("find lanes with work"))
        };
        let mut found = find(IDLE).await?;
        if self.looks.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGOTTEN_EVERY) {
            found.extend(find(FORGOTTEN).await?);
        }
        Ok(found.into_iter().map(EndpointId).collect())
    }

    async fn take_lanes(&self, process: ProcessId, endpoints: &[EndpointId]) -> Result<Vec<TakenLane>> {
        let endpoints: Vec<Uuid> = endpoints.iter().map(|endpoint| endpoint.0).collect();
        self.transact(move |connection| take(connection, process, endpoints).boxed()).await
    }

    async fn claim_due(&self, claim: ClaimDue) -> Result<ClaimedDeliveries> {
        self.claims.ask(|reply| Claim(claim, reply)).await
    }

    async fn release_lanes(&self, lanes: &[(EndpointId, Epoch)]) -> Result<()> {
        let lanes = lanes.to_vec();
        self.transact(move |connection| release(connection, lanes).boxed()).await
    }
}

/// Only a process that is not given up for dead may take a lane. Its row is
/// locked meanwhile, so that nobody gives it up at this very moment.
async fn take(
    connection: &mut PgConnection,
    process: ProcessId,
    endpoints: Vec<Uuid>,
) -> sqlx::Result<Vec<TakenLane>> {
    let rows = sqlx::query(
        "WITH me AS (SELECT id FROM processes WHERE id = $1 \
           AND beat_at >= clock_timestamp() - make_interval(secs => $3) FOR KEY SHARE), \
         free AS (SELECT endpoint FROM lanes WHERE endpoint = ANY($2) AND owner IS NULL \
           ORDER BY endpoint FOR UPDATE SKIP LOCKED) \
         UPDATE lanes l SET owner = me.id, epoch = l.epoch + 1, wake_at = 0 FROM me, free \
         WHERE l.endpoint = free.endpoint RETURNING l.endpoint, l.epoch, l.health",
    )
    .bind(process.0)
    .bind(endpoints)
    .bind(LEASE.as_secs_f64())
    .fetch_all(connection)
    .await?;
    rows.iter().map(taken).collect()
}

/// Gives lanes back: first what was claimed in them, then the lanes.
async fn release(connection: &mut PgConnection, lanes: Vec<(EndpointId, Epoch)>) -> sqlx::Result<()> {
    let endpoints: Vec<Uuid> = lanes.iter().map(|(endpoint, _)| endpoint.0).collect();
    let epochs: Vec<i64> = lanes.iter().map(|(_, epoch)| epoch.0).collect();
    sqlx::query(
        "UPDATE waiting w SET claimed = NULL FROM unnest($1::uuid[], $2::bigint[]) AS g (endpoint, epoch) \
         WHERE w.endpoint = g.endpoint AND w.claimed = g.epoch",
    )
    .bind(&endpoints)
    .bind(&epochs)
    .execute(&mut *connection)
    .await?;
    // The lane of an endpoint that is not enabled rests until that changes,
    // unless a test is to be sent, which is due at 0.
    sqlx::query(
        "UPDATE lanes l SET owner = NULL, wake_at = CASE \
           WHEN EXISTS (SELECT 1 FROM waiting w WHERE w.endpoint = l.endpoint AND w.due_at = 0) THEN 0 \
           WHEN EXISTS (SELECT 1 FROM endpoints e JOIN tenants t ON t.id = e.tenant \
             JOIN projects p ON p.id = e.project WHERE e.id = l.endpoint AND e.status = 'enabled' \
             AND e.deleted_at IS NULL AND t.paused_at IS NULL AND p.paused_at IS NULL) \
           THEN GREATEST(coalesce(l.hold_until, 0), coalesce( \
             (SELECT min(w.due_at) FROM waiting w WHERE w.endpoint = l.endpoint), $3)) \
           ELSE $3 END \
         FROM unnest($1::uuid[], $2::bigint[]) AS g (endpoint, epoch) \
         WHERE l.endpoint = g.endpoint AND l.epoch = g.epoch AND l.owner IS NOT NULL",
    )
    .bind(&endpoints)
    .bind(&epochs)
    .bind(Timestamp::FAR_FUTURE.as_micros())
    .execute(connection)
    .await
    .map(|_| ())
}

/// Makes sure that somebody owns these lanes soon.
pub(super) async fn wake(
    connection: &mut PgConnection,
    endpoints: &[EndpointId],
    now: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE lanes SET wake_at = $2 WHERE endpoint = ANY($1) AND wake_at > $2")
        .bind(endpoints.iter().map(|endpoint| endpoint.0).collect::<Vec<_>>())
        .bind(now.as_micros())
        .execute(connection)
        .await
        .map(|_| ())
}
