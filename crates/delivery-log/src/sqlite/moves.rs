//! Sending deliveries again, and withdrawing them.

use sqlx::SqliteConnection;

use model::attempt::Trigger;
use model::clock::Timestamp;
use model::delivery::{Delivery, DeliveryStatus};
use model::ids::{DeliveryId, EndpointId, EventId, ProjectId};
use model::payload::PayloadForm;
use model::replay::resent_for;

use super::{lanes, rows};

/// Starts a fresh schedule, due at `due`. What waits keeps its schedule, is due
/// then too, and stays what it was under a replay of many. Tells whether the
/// delivery is still there: with one writer, it is.
pub(super) async fn replay(
    connection: &mut SqliteConnection,
    delivery: &Delivery,
    trigger: Trigger,
    due: Timestamp,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let trigger = resent_for(delivery.status, delivery.trigger, trigger);
    let sql = match delivery.status.is_waiting() {
        // What is in an owner's hands is due already, and may be under way.
        true => {
            "UPDATE deliveries SET due_at = ?5, trigger = ?2, updated_at = ?1 \
             WHERE project = ?3 AND id = ?4 AND claimed IS NULL"
        }
        false => {
            "UPDATE deliveries SET status = 0, failure = NULL, due_at = ?5, claimed = NULL, tries = 0, \
             rejections = 0, schedule_since = ?1, trigger = ?2, updated_at = ?1 WHERE project = ?3 AND id = ?4"
        }
    };
    sqlx::query(sql)
        .bind(now.as_micros())
        .bind(trigger.code())
        .bind(delivery.project.0)
        .bind(delivery.id.0)
        .bind(due.as_micros())
        .execute(&mut *connection)
        .await?;
    lanes::wake(connection, &[delivery.endpoint], now).await?;
    Ok(true)
}

/// A delivery that is to be made of an event that is there already.
pub(super) struct Missed<'a> {
    pub(super) id: DeliveryId,
    pub(super) project: ProjectId,
    pub(super) endpoint: EndpointId,
    pub(super) event: EventId,
    pub(super) form: &'a PayloadForm,
    /// Its key and place, if its endpoint wants an order.
    pub(super) order: Option<(&'a str, u64)>,
}

/// Adds it, due at `due`.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    new: &Missed<'_>,
    due: Timestamp,
    now: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO deliveries (id, project, tenant, endpoint, event, due_at, schedule_since, created_at, \
         updated_at, attempts, tries, rejections, status, trigger, payload, public_url, order_key, order_sequence) \
         SELECT $1, project, tenant, $2, position, $11, $3, $3, $3, 0, 0, 0, 0, $4, $5, $6, $7, $8 \
         FROM events WHERE id = $9 AND project = $10",
    )
    .bind(new.id.0)
    .bind(new.endpoint.0)
    .bind(now.as_micros())
    .bind(Trigger::Replay.code())
    .bind(new.form.stored_name())
    .bind(new.form.public_url())
    .bind(new.order.map(|(key, _)| key))
    .bind(new.order.map(|(_, sequence)| sequence as i64))
    .bind(new.event.0)
    .bind(new.project.0)
    .bind(due.as_micros())
    .execute(&mut *connection)
    .await?;
    lanes::wake(connection, &[new.endpoint], now).await
}

/// Withdraws a delivery that waits.
pub(super) async fn cancel(
    connection: &mut SqliteConnection,
    delivery: &Delivery,
    now: Timestamp,
) -> sqlx::Result<()> {
    end(connection, delivery, DeliveryStatus::Canceled, now).await
}

/// Ends a delivery that waits, whoever has it in hand.
pub(super) async fn end(
    connection: &mut SqliteConnection,
    delivery: &Delivery,
    status: DeliveryStatus,
    now: Timestamp,
) -> sqlx::Result<()> {
    let (status, failure) = rows::status_to_codes(status);
    // The number of an attempt that is under way is not given out again.
    sqlx::query(
        "UPDATE deliveries SET status = ?4, failure = ?5, due_at = NULL, \
         attempts = attempts + (claimed IS NOT NULL), claimed = NULL, updated_at = ?1 \
         WHERE project = ?2 AND id = ?3",
    )
    .bind(now.as_micros())
    .bind(delivery.project.0)
    .bind(delivery.id.0)
    .bind(status)
    .bind(failure)
    .execute(connection)
    .await
    .map(|_| ())
}
