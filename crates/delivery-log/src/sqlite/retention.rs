//! What is given up and what is forgotten, in small steps.

use futures_util::FutureExt as _;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use model::clock::Timestamp;
use model::delivery::{DeliveryStatus, Failure};
use model::ids;

use super::{SqliteStore, rows};
use crate::Result;

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// What waits for endpoints that are deleted is canceled; what has waited
/// since before `since` for endpoints that are not enabled is given up.
pub(super) async fn settle_held(store: &SqliteStore, since: Timestamp, limit: u32) -> Result<u64> {
    let now = store.shared.env.now();
    store
        .edit(move |connection| {
            async move {
                let canceled = "UPDATE deliveries SET status = ?1, failure = ?2, due_at = NULL, \
                     attempts = attempts + (claimed IS NOT NULL), claimed = NULL, updated_at = ?3 WHERE position IN ( \
                       SELECT d.position FROM endpoints ep \
                       CROSS JOIN deliveries d ON d.endpoint = ep.id AND d.due_at IS NOT NULL \
                       WHERE ep.deleted_at IS NOT NULL AND d.schedule_since < ?4 LIMIT ?5)";
                let expired = "UPDATE deliveries SET status = ?1, failure = ?2, due_at = NULL, \
                     attempts = attempts + (claimed IS NOT NULL), claimed = NULL, updated_at = ?3 WHERE position IN ( \
                       SELECT d.position FROM endpoints ep \
                       JOIN tenants t ON t.id = ep.tenant JOIN projects p ON p.id = ep.project \
                       CROSS JOIN deliveries d ON d.endpoint = ep.id AND d.due_at IS NOT NULL \
                       WHERE ep.deleted_at IS NULL AND ((ep.status <> 'enabled' AND ep.updated_at < ?4) \
                       OR t.paused_at < ?4 OR p.paused_at < ?4) AND d.schedule_since < ?4 LIMIT ?5)";
                let mut settled = 0;
                for (sql, status, before) in [
                    (canceled, DeliveryStatus::Canceled, Timestamp::FAR_FUTURE),
                    (expired, DeliveryStatus::Failed(Failure::Expired), since),
                ] {
                    let (status, failure) = rows::status_to_codes(status);
                    let done = sqlx::query(sql)
                        .bind(status)
                        .bind(failure)
                        .bind(now.as_micros())
                        .bind(before.as_micros())
                        .bind(limit)
                        .execute(&mut *connection)
                        .await?;
                    settled += done.rows_affected();
                }
                Ok(settled)
            }
            .boxed()
        })
        .await
}

/// Deletes what is older than its project keeps it and still has nothing to do.
pub(super) async fn purge(store: &SqliteStore, now: Timestamp, limit: u32) -> Result<u64> {
    store.edit(move |connection| purge_through(connection, now, limit).boxed()).await
}

async fn purge_through(connection: &mut SqliteConnection, now: Timestamp, limit: u32) -> sqlx::Result<u64> {
    let keys = sqlx::query(
        "DELETE FROM idempotency_keys WHERE (project, key) IN \
         (SELECT project, key FROM idempotency_keys WHERE expires_at <= ? LIMIT ?)",
    )
    .bind(now.as_micros())
    .bind(limit)
    .execute(&mut *connection)
    .await?;
    let mut purged = keys.rows_affected();
    let projects = sqlx::query("SELECT id, retention_days FROM projects").fetch_all(&mut *connection).await?;
    for row in projects {
        let project: Uuid = row.try_get(0)?;
        let days: u32 = row.try_get(1)?;
        purged += purge_project(connection, project, now.minus(DAY * days), limit).await?;
    }
    Ok(purged)
}

async fn purge_project(
    connection: &mut SqliteConnection,
    project: Uuid,
    before: Timestamp,
    limit: u32,
) -> sqlx::Result<u64> {
    // Ids begin with their time, so the oldest stand first in the table.
    let oldest_kept = ids::first_at(before);
    let events: Vec<i64> = sqlx::query_scalar(
        "SELECT position FROM events e WHERE project = ? AND id < ? AND NOT EXISTS \
         (SELECT 1 FROM deliveries d WHERE d.event = e.position AND d.due_at IS NOT NULL) ORDER BY id LIMIT ?",
    )
    .bind(project)
    .bind(oldest_kept)
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    for event in &events {
        for sql in [
            "DELETE FROM attempts WHERE delivery IN (SELECT id FROM deliveries WHERE event = ?1)",
            "DELETE FROM deliveries WHERE event = ?1",
            "DELETE FROM payloads WHERE event = ?1",
            "DELETE FROM events WHERE position = ?1",
        ] {
            sqlx::query(sql).bind(event).execute(&mut *connection).await?;
        }
    }
    Ok(events.len() as u64)
}
