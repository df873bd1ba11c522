//! Sending deliveries again, and withdrawing them.

use sqlx::SqliteConnection;

use model::attempt::Trigger;
use model::clock::Timestamp;
use model::delivery::Delivery;

use super::lanes;

/// Starts a fresh schedule. What waits keeps its schedule and becomes due now.
/// Tells whether the delivery is still there: with one writer, it is.
pub(super) async fn replay(
    connection: &mut SqliteConnection,
    delivery: &Delivery,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let sql = match delivery.status.is_waiting() {
        // What is in an owner's hands is due already, and may be under way.
        true => {
            "UPDATE deliveries SET due_at = ?1, trigger = ?2, updated_at = ?1 \
             WHERE project = ?3 AND id = ?4 AND claimed IS NULL"
        }
        false => {
            "UPDATE deliveries SET status = 0, failure = NULL, due_at = ?1, claimed = NULL, tries = 0, \
             rejections = 0, schedule_since = ?1, trigger = ?2, updated_at = ?1 WHERE project = ?3 AND id = ?4"
        }
    };
    sqlx::query(sql)
        .bind(now.as_micros())
        .bind(Trigger::Manual.code())
        .bind(delivery.project.0)
        .bind(delivery.id.0)
        .execute(&mut *connection)
        .await?;
    lanes::wake(connection, &[delivery.endpoint], now).await?;
    Ok(true)
}

pub(super) async fn cancel(
    connection: &mut SqliteConnection,
    delivery: &Delivery,
    now: Timestamp,
) -> sqlx::Result<()> {
    // The number of an attempt that is under way is not given out again.
    sqlx::query(
        "UPDATE deliveries SET status = 4, failure = NULL, due_at = NULL, \
         attempts = attempts + (claimed IS NOT NULL), claimed = NULL, updated_at = ?1 \
         WHERE project = ?2 AND id = ?3",
    )
    .bind(now.as_micros())
    .bind(delivery.project.0)
    .bind(delivery.id.0)
    .execute(connection)
    .await
    .map(|_| ())
}
