//! What is given up and what is forgotten, in small steps.

use futures_util::FutureExt as _;
use sqlx::{Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use model::clock::Timestamp;
use model::delivery::{DeliveryStatus, Failure};
use model::ids::{self, DeliveryId};

use super::statements::last_delivery;
use super::{PostgresStore, moves, partitions};
use crate::Result;

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
/// Any number that no other program on the database uses as an advisory lock.
const HOUSEKEEPER: i64 = 0x706f_7374_686f_726e;

/// What waits for endpoints that are deleted is canceled; what has waited
/// since before `since` for endpoints that are not enabled is given up.
pub(super) async fn settle_held(store: &PostgresStore, since: Timestamp, limit: u32) -> Result<u64> {
    let now = store.shared.env.now();
    store
        .transact(move |connection| {
            async move {
                let mut settled = 0;
                for (condition, status, before) in [
                    (DELETED, DeliveryStatus::Canceled, Timestamp::FAR_FUTURE),
                    (HELD, DeliveryStatus::Failed(Failure::Expired), since),
                ] {
                    let found: Vec<Uuid> = sqlx::query_scalar(condition)
                        .bind(before.as_micros())
                        .bind(i64::from(limit))
                        .fetch_all(&mut *connection)
                        .await?;
                    let found: Vec<DeliveryId> = found.into_iter().map(DeliveryId).collect();
                    settled += moves::end_all(connection, &found, status, now).await?;
                }
                Ok(settled)
            }
            .boxed()
        })
        .await
}

const DELETED: &str = "SELECT w.id FROM endpoints ep JOIN waiting w ON w.endpoint = ep.id \
    WHERE ep.deleted_at IS NOT NULL AND w.schedule_since < $1 LIMIT $2";
const HELD: &str = "SELECT w.id FROM endpoints ep JOIN tenants t ON t.id = ep.tenant \
    JOIN projects p ON p.id = ep.project JOIN waiting w ON w.endpoint = ep.id \
    WHERE ep.deleted_at IS NULL AND ((ep.status <> 'enabled' AND ep.updated_at < $1) OR t.paused_at < $1 \
    OR p.paused_at < $1) AND w.schedule_since < $1 LIMIT $2";

/// Makes the days to come, drops those that no project keeps, and deletes what
/// is older than its own project keeps it. One process does it at a time.
pub(super) async fn purge(store: &PostgresStore, now: Timestamp, limit: u32) -> Result<u64> {
    store.with_connection("tidy up", move |connection| tidy(connection, now, limit).boxed()).await
}

async fn tidy(connection: &mut PgConnection, now: Timestamp, limit: u32) -> sqlx::Result<u64> {
    let alone: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(HOUSEKEEPER)
        .fetch_one(&mut *connection)
        .await?;
    if !alone {
        return Ok(0);
    }
    let tidied = tidy_alone(connection, now, limit).await;
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(HOUSEKEEPER).execute(connection).await?;
    tidied
}

async fn tidy_alone(connection: &mut PgConnection, now: Timestamp, limit: u32) -> sqlx::Result<u64> {
    partitions::make(connection, now).await?;
    let keys = sqlx::query(
        "DELETE FROM idempotency_keys WHERE (project, key) IN \
         (SELECT project, key FROM idempotency_keys WHERE expires_at <= $1 LIMIT $2)",
    )
    .bind(now.as_micros())
    .bind(i64::from(limit))
    .execute(&mut *connection)
    .await?;
    let mut purged = keys.rows_affected();
    let projects = sqlx::query("SELECT id, retention_days FROM projects").fetch_all(&mut *connection).await?;
    let mut kept = Vec::new();
    for row in &projects {
        let days: i64 = row.try_get(1)?;
        kept.push((row.try_get::<Uuid, _>(0)?, now.minus(DAY * days as u32)));
    }
    let Some(longest) = kept.iter().map(|(_, before)| *before).min() else { return Ok(purged) };
    partitions::drop_before(connection, longest).await?;
    for (project, before) in kept {
        purged += purge_project(connection, project, before, limit).await?;
    }
    // What of an event was still to be written goes with it.
    sqlx::query("DELETE FROM fan_outs f WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.id = f.event)")
        .execute(connection)
        .await?;
    Ok(purged)
}

async fn purge_project(
    connection: &mut PgConnection,
    project: Uuid,
    before: Timestamp,
    limit: u32,
) -> sqlx::Result<u64> {
    // Ids begin with their time, so the oldest stand first.
    let oldest_kept = ids::first_at(before);
    let mut transaction = connection.begin().await?;
    // Locked before it is looked whether anything waits: a replay holds a lock
    // on its event until its delivery waits.
    let old: Vec<Uuid> = sqlx::query_scalar(
        "SELECT e.id FROM tenants t CROSS JOIN LATERAL \
           (SELECT id FROM events WHERE tenant = t.id AND id < $2 ORDER BY id LIMIT $3 \
            FOR UPDATE SKIP LOCKED) e \
         WHERE t.project = $1 LIMIT $3",
    )
    .bind(project)
    .bind(oldest_kept)
    .bind(i64::from(limit))
    .fetch_all(&mut *transaction)
    .await?;
    let old: Vec<Uuid> = sqlx::query_scalar(
        "SELECT old.id FROM unnest($1::uuid[]) AS old (id) \
         WHERE NOT EXISTS (SELECT 1 FROM waiting w WHERE w.event = old.id) ORDER BY old.id",
    )
    .bind(old)
    .fetch_all(&mut *transaction)
    .await?;
    let (Some(first), Some(last)) = (old.first(), old.last()) else { return Ok(0) };
    // The oldest id bounds what is looked at, and an event's deliveries follow
    // it within a second.
    sqlx::query(
        "WITH ended AS (DELETE FROM deliveries WHERE id > $2 AND id < $3 AND event = ANY($1) RETURNING id), \
         made AS (DELETE FROM attempts a USING ended WHERE a.delivery = ended.id) \
         DELETE FROM events WHERE id = ANY($1)",
    )
    .bind(&old)
    .bind(first)
    .bind(last_delivery(*last))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(old.len() as u64)
}
