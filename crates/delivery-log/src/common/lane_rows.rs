//! Lanes and their deliveries, row by row.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
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
pub(crate) fn taken(row: &Row) -> sqlx::Result<TakenLane> {
    Ok(TakenLane {
        endpoint: EndpointId(uuid(row, "endpoint")?),
        epoch: Epoch(row.try_get("epoch")?),
        health: health(row)?,
    })
}

/// What a lane's owner wrote down of its endpoint.
pub(crate) fn health(row: &Row) -> sqlx::Result<Health> {
    match row.try_get::<Option<&str>, _>("health")? {
        Some(_) => rows::json(row, "health"),
        None => Ok(Health::default()),
    }
}

/// A lane for a new endpoint, with nothing in it.
pub(crate) async fn create(connection: &mut Connection, endpoint: EndpointId) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO lanes (endpoint, epoch, wake_at) VALUES ($1, 0, $2)")
        .bind(endpoint.0)
        .bind(Timestamp::FAR_FUTURE.as_micros())
        .execute(connection)
        .await
        .map(|_| ())
}

/// Ends a hold: the receiver moved, or someone knows better.
pub(crate) async fn lift_hold(connection: &mut Connection, endpoint: EndpointId) -> sqlx::Result<()> {
    sqlx::query("UPDATE lanes SET hold_until = NULL, hold_by = NULL, health = NULL WHERE endpoint = $1")
        .bind(endpoint.0)
        .execute(connection)
        .await
        .map(|_| ())
}

/// What attempts told of an endpoint, for its lane's next owner.
pub(crate) struct HealthRow {
    pub(crate) endpoint: Uuid,
    pub(crate) epoch: i64,
    pub(crate) hold_until: Option<i64>,
    pub(crate) hold_by: Option<i64>,
    /// None where there is nothing to be said.
    pub(crate) health: Option<String>,
}

/// What is to be kept of the endpoints of a group of attempts: the last that was
/// told of each in each epoch, one of which is that of its lane. By the endpoints'
/// ids: the order in which all lock rows.
pub(crate) fn health_rows(finished: &[&Finished]) -> Vec<HealthRow> {
    let mut last: BTreeMap<(EndpointId, Epoch), (&Finished, &Health)> = BTreeMap::new();
    for one in finished {
        last.extend(one.health.as_ref().map(|health| ((one.endpoint, one.epoch), (*one, health))));
    }
    let row = |((endpoint, epoch), (finished, health)): ((EndpointId, Epoch), (&Finished, &Health))| {
        let hold = health.hold(finished.attempt.started_at);
        HealthRow {
            endpoint: endpoint.0,
            epoch: epoch.0,
            hold_until: hold.and_then(|hold| hold.until).map(Timestamp::as_micros),
            hold_by: hold.map(|hold| hold.by.code()),
            health: (!health.is_clean()).then(|| rows::to_json(health)),
        }
    };
    last.into_iter().map(row).collect()
}

/// A delivery that is being claimed. Those of one event share it.
pub(crate) fn ready_delivery(
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
