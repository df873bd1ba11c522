//! Lanes and their deliveries, row by row.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use sqlx::Row as _;
use uuid::Uuid;

use model::attempt::{ErrorClass, Trigger};
use model::clock::Timestamp;
use model::event::{Event, EventData};
use model::failure::Spent;
use model::health::Health;
use model::ids::{DeliveryId, EndpointId};

use super::columns::int;
use super::rows::{self, coded, count, time, uuid};
use super::{Connection, Row};
use crate::deliveries::Finished;
use crate::hand_off::ReadyDelivery;
use crate::lanes::{ClaimDue, Epoch, TakenLane};

/// A lane that was just taken.
pub(super) fn taken(row: &Row) -> sqlx::Result<TakenLane> {
    Ok(TakenLane {
        endpoint: EndpointId(uuid(row, "endpoint")?),
        epoch: Epoch(row.try_get("epoch")?),
        health: health(row)?,
    })
}

/// What a lane's owner wrote down of its endpoint.
pub(super) fn health(row: &Row) -> sqlx::Result<Health> {
    match row.try_get::<Option<&str>, _>("health")? {
        Some(_) => rows::json(row, "health"),
        None => Ok(Health::default()),
    }
}

/// A lane for a new endpoint, with nothing in it.
pub(super) async fn create(connection: &mut Connection, endpoint: EndpointId) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO lanes (endpoint, epoch, wake_at) VALUES ($1, 0, $2)")
        .bind(endpoint.0)
        .bind(Timestamp::FAR_FUTURE.as_micros())
        .execute(connection)
        .await
        .map(|_| ())
}

/// Ends a hold: the receiver moved, or someone knows better.
pub(super) async fn lift_hold(connection: &mut Connection, endpoint: EndpointId) -> sqlx::Result<()> {
    sqlx::query("UPDATE lanes SET hold_until = NULL, hold_by = NULL, health = NULL WHERE endpoint = $1")
        .bind(endpoint.0)
        .execute(connection)
        .await
        .map(|_| ())
}

/// Keeps what an attempt told of the endpoint, for the lane's next owner.
pub(super) async fn store_health(connection: &mut Connection, finished: &Finished) -> sqlx::Result<()> {
    let Some(health) = &finished.health else { return Ok(()) };
    let at = finished.attempt.started_at;
    let hold = health.hold(at);
    let known = (!health.is_clean()).then(|| rows::to_json(health));
    sqlx::query(
        "UPDATE lanes SET hold_until = $1, hold_by = $2, health = $3 WHERE endpoint = $4 AND epoch = $5",
    )
    .bind(hold.and_then(|hold| hold.until).map(Timestamp::as_micros))
    .bind(hold.map(|hold| hold.by.code()))
    .bind(known)
    .bind(finished.endpoint.0)
    .bind(finished.epoch.0)
    .execute(connection)
    .await
    .map(|_| ())
}

/// A delivery that is being claimed. Those of one event share it.
pub(super) fn ready_delivery(
    row: &Row,
    claim: &ClaimDue,
    events: &mut HashMap<Uuid, Arc<Event>>,
) -> sqlx::Result<ReadyDelivery> {
    let event = match events.entry(uuid(row, "id")?) {
        Entry::Occupied(known) => Arc::clone(known.get()),
        Entry::Vacant(place) => Arc::clone(place.insert(Arc::new(rows::event(row)?))),
    };
    let form = rows::form(row)?;
    let data = match form.version() {
        None => EventData::from_stored(row.try_get("data")?),
        Some(version) => {
            let older = rows::older_data(row)?;
            older.get(version).cloned().ok_or_else(|| rows::broken("older", "the version is not there"))?
        }
    };
    Ok(ReadyDelivery {
        id: DeliveryId(uuid(row, "delivery_id")?),
        endpoint: claim.endpoint,
        epoch: claim.epoch,
        event,
        data,
        form,
        attempts: count(row, "attempts")?,
        spent: Spent {
            tries: count(row, "tries")?,
            rejections: count(row, "rejections")?,
            since: time(row, "schedule_since")?,
        },
        trigger: coded(row, "trigger", Trigger::from_code)?,
        last_error: int(row, "last_error")?.and_then(ErrorClass::from_code),
        ordered: row.try_get::<Option<&str>, _>("order_key")?.is_some(),
    })
}
