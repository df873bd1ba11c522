//! Sending deliveries again, and withdrawing them: from one table to the other.

use sqlx::PgConnection;

use model::attempt::Trigger;
use model::clock::Timestamp;
use model::delivery::{Delivery, DeliveryStatus};
use model::ids::{DeliveryId, EndpointId, EventId, ProjectId};
use model::payload::PayloadForm;
use model::replay::resent_for;

use super::{lanes, rows};

/// Starts a fresh schedule, due at `due`. What waits keeps its schedule, is due
/// then too, and stays what it was under a replay of many. Tells whether the
/// delivery is still there: it may just have been purged.
pub(super) async fn replay(
    connection: &mut PgConnection,
    delivery: &Delivery,
    trigger: Trigger,
    due: Timestamp,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let trigger = resent_for(delivery.status, delivery.trigger, trigger);
    let kept = sqlx::query("SELECT 1 FROM events WHERE id = $1 FOR KEY SHARE").bind(delivery.event.0);
    if kept.fetch_optional(&mut *connection).await?.is_none() {
        return Ok(false);
    }
    let sql = match delivery.status.is_waiting() {
        // What is in an owner's hands is due already, and may be under way.
        true => {
            "UPDATE waiting SET due_at = $4, trigger = $3, updated_at = $2 WHERE id = $1 AND claimed IS NULL"
        }
        false => {
            "WITH ended AS (DELETE FROM deliveries WHERE id = $1 RETURNING *) \
             INSERT INTO waiting (id, project, tenant, endpoint, event, due_at, schedule_since, created_at, \
             updated_at, attempts, tries, rejections, status, trigger, last_error, last_status, payload, public_url, \
             order_key, order_sequence) \
             SELECT id, project, tenant, endpoint, event, $4, $2, created_at, $2, attempts, 0, 0, 0, $3, \
             last_error, last_status, payload, public_url, order_key, order_sequence FROM ended"
        }
    };
    sqlx::query(sql)
        .bind(delivery.id.0)
        .bind(now.as_micros())
        .bind(trigger.code() as i16)
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
    connection: &mut PgConnection,
    new: &Missed<'_>,
    due: Timestamp,
    now: Timestamp,
) -> sqlx::Result<()> {
    // An event for many endpoints may be given to this one at the same moment, under
    // the same id: one comes after the other, and sees what that did.
    sqlx::query("SELECT 1 FROM fan_outs WHERE event = $1 FOR UPDATE")
        .bind(new.event.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO waiting (id, project, tenant, endpoint, event, due_at, schedule_since, created_at, \
         updated_at, attempts, tries, rejections, status, trigger, payload, public_url, order_key, order_sequence) \
         SELECT $1, project, tenant, $2, id, $11, $3, $3, $3, 0, 0, 0, 0, $4, $5, $6, $7, $8 \
         FROM events WHERE id = $9 AND project = $10 AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.id = $1) \
         FOR KEY SHARE ON CONFLICT (id) DO NOTHING",
    )
    .bind(new.id.0)
    .bind(new.endpoint.0)
    .bind(now.as_micros())
    .bind(Trigger::Replay.code() as i16)
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
    connection: &mut PgConnection,
    delivery: &Delivery,
    now: Timestamp,
) -> sqlx::Result<()> {
    end(connection, delivery, DeliveryStatus::Canceled, now).await
}

/// Ends a delivery that waits, whoever has it in hand.
pub(super) async fn end(
    connection: &mut PgConnection,
    delivery: &Delivery,
    status: DeliveryStatus,
    now: Timestamp,
) -> sqlx::Result<()> {
    end_all(connection, &[delivery.id], status, now).await.map(|_| ())
}

/// Ends deliveries that wait, whoever has them in hand. Gives how many those were.
pub(super) async fn end_all(
    connection: &mut PgConnection,
    deliveries: &[DeliveryId],
    status: DeliveryStatus,
    now: Timestamp,
) -> sqlx::Result<u64> {
    let (status, failure) = rows::status_to_codes(status);
    // The number of an attempt that is under way is not given out again.
    sqlx::query(
        "WITH gone AS (DELETE FROM waiting WHERE id = ANY($1) RETURNING *) \
         INSERT INTO deliveries (id, project, tenant, endpoint, event, created_at, updated_at, attempts, status, \
         failure, trigger, last_error, last_status, payload, public_url, order_key, order_sequence) \
         SELECT id, project, tenant, endpoint, event, created_at, $2, \
         attempts + CASE WHEN claimed IS NULL THEN 0 ELSE 1 END, $3, $4, trigger, last_error, last_status, \
         payload, public_url, order_key, order_sequence FROM gone",
    )
    .bind(deliveries.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind(now.as_micros())
    .bind(status as i16)
    .bind(failure.map(|code| code as i16))
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
