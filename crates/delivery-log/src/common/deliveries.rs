//! Reading deliveries, sending them again, withdrawing them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::QueryBuilder;
use uuid::Uuid;

use model::attempt::{Attempt, Trigger};
use model::audit::Entry;
use model::clock::Timestamp;
use model::delivery::{Delivery, DeliveryStatus};
use model::endpoint::EndpointStatus;
use model::event::{Event, EventData};
use model::ids::{DeliveryId, EndpointId};

use super::idempotency::Outcome;
use super::moves::{cancel, replay};
use super::{Connection, Store, filter, lock_delivery, rows, statements, store_error};
use crate::deliveries::{Canceled, Deliveries, DeliveryFilter, Finished, Recorded, Replayed};
use crate::events::Events;
use crate::idempotency::{Once, Performed};
use crate::page::{Order, Page, PageRequest};
use crate::{Result, View};

pub(crate) async fn find(
    connection: &mut Connection,
    view: View,
    id: DeliveryId,
    now: Timestamp,
) -> sqlx::Result<Option<Delivery>> {
    let mut sql = QueryBuilder::new(statements::DELIVERIES);
    filter::deliveries(&mut sql, view, &DeliveryFilter::default(), now);
    sql.push(" AND d.id = ").push_bind(id.0);
    let row = sql.build().fetch_optional(connection).await?;
    row.as_ref().map(|row| rows::delivery(row, now)).transpose()
}

/// How an endpoint stands; `None` if there is no such endpoint.
pub(crate) async fn status_of_endpoint(
    connection: &mut Connection,
    endpoint: EndpointId,
) -> sqlx::Result<Option<EndpointStatus>> {
    let row = sqlx::query("SELECT status FROM endpoints WHERE id = $1 AND deleted_at IS NULL")
        .bind(endpoint.0)
        .fetch_optional(connection)
        .await?;
    row.map(|row| rows::parsed(&row, "status", str::parse)).transpose()
}

/// Sends a delivery again, unless something speaks against it; gives the
/// endpoint whose lane is to be told.
async fn replay_if_allowed(
    connection: &mut Connection,
    view: View,
    id: DeliveryId,
    force: bool,
    now: Timestamp,
) -> sqlx::Result<Outcome<(Replayed, Option<EndpointId>)>> {
    lock_delivery(connection, id).await?;
    let Some(delivery) = find(connection, view, id, now).await? else {
        return Ok(Outcome::Refused((Replayed::NotFound, None)));
    };
    if delivery.test {
        return Ok(Outcome::Refused((Replayed::Test, None)));
    }
    if status_of_endpoint(connection, delivery.endpoint).await? != Some(EndpointStatus::Enabled) {
        return Ok(Outcome::Refused((Replayed::EndpointNotEnabled, None)));
    }
    if delivery.status == DeliveryStatus::Delivered && !force {
        return Ok(Outcome::Refused((Replayed::AlreadyDelivered, None)));
    }
    if !replay(connection, &delivery, Trigger::Manual, now, now).await? {
        return Ok(Outcome::Refused((Replayed::NotFound, None)));
    }
    let after = Box::new(find(connection, view, id, now).await?.unwrap_or(delivery));
    let endpoint = after.endpoint;
    Ok(Outcome::DoneTo(after.clone(), (Replayed::Due(after), Some(endpoint))))
}

/// Withdraws a delivery that waits; gives the endpoint whose lane is to be told.
async fn cancel_if_waiting(
    connection: &mut Connection,
    view: View,
    id: DeliveryId,
    now: Timestamp,
) -> sqlx::Result<Outcome<(Canceled, Option<EndpointId>)>> {
    lock_delivery(connection, id).await?;
    let Some(delivery) = find(connection, view, id, now).await? else {
        return Ok(Outcome::Refused((Canceled::NotFound, None)));
    };
    if !delivery.status.is_waiting() {
        return Ok(Outcome::Refused((Canceled::AlreadyEnded, None)));
    }
    cancel(connection, &delivery, now).await?;
    let after = Box::new(find(connection, view, id, now).await?.unwrap_or(delivery));
    let endpoint = after.endpoint;
    Ok(Outcome::DoneTo(after.clone(), (Canceled::Done(after), Some(endpoint))))
}

/// No retry is put off for longer: a day of `Retry-After`, and jitter.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 60 * 60);

#[async_trait]
impl Deliveries for Store {
    async fn finish(&self, finished: Arc<Finished>) -> Result<Recorded> {
        self.writer.finish(finished).await
    }

    async fn find_delivery(&self, view: View, id: DeliveryId) -> Result<Option<Delivery>> {
        let now = self.shared.env.now();
        let mut reader = self.readers.acquire().await.map_err(store_error("read a delivery"))?;
        find(&mut reader, view, id, now).await.map_err(store_error("read a delivery"))
    }

    async fn list_deliveries(
        &self,
        view: View,
        filter: &DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<Delivery>> {
        let now = self.shared.env.now();
        let mut sql = QueryBuilder::new(statements::DELIVERIES);
        filter::deliveries(&mut sql, view, filter, now);
        statements::page(&mut sql, statements::Listed::Deliveries, view, page);
        let rows = sql.build().fetch_all(&self.readers).await.map_err(store_error("list deliveries"))?;
        let deliveries = rows
            .iter()
            .map(|row| rows::delivery(row, now))
            .collect::<sqlx::Result<_>>()
            .map_err(store_error("read deliveries"))?;
        Ok(Page::from_overfull(deliveries, page.limit, |delivery: &Delivery| delivery.id.0))
    }

    async fn list_attempts(
        &self,
        view: View,
        id: DeliveryId,
        page: PageRequest,
    ) -> Result<Option<Page<Attempt>>> {
        if self.find_delivery(view, id).await?.is_none() {
            return Ok(None);
        }
        // Their place in the list is their number.
        let cursor = |attempt: &Attempt| Uuid::from_u128(attempt.number.into());
        let number = |after: Uuid| i64::try_from(after.as_u128()).unwrap_or(i64::MAX);
        let (sql, first) = match page.order {
            Order::Ascending => (
                "SELECT * FROM attempts WHERE delivery = $1 AND number > $2 ORDER BY number LIMIT $3",
                i64::MIN,
            ),
            Order::Descending => (
                "SELECT * FROM attempts WHERE delivery = $1 AND number < $2 ORDER BY number DESC LIMIT $3",
                i64::MAX,
            ),
        };
        let rows = sqlx::query(sql)
            .bind(id.0)
            .bind(page.after.map_or(first, number))
            .bind(i64::from(page.limit) + 1)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error("list attempts"))?;
        let attempts = rows.iter().map(rows::attempt).collect::<sqlx::Result<_>>();
        let attempts = attempts.map_err(store_error("read attempts"))?;
        Ok(Some(Page::from_overfull(attempts, page.limit, cursor)))
    }

    async fn read_payload(&self, view: View, id: DeliveryId) -> Result<Option<(Delivery, Event, EventData)>> {
        let Some(delivery) = self.find_delivery(view, id).await? else { return Ok(None) };
        let event = self.find_event(view, delivery.event).await?;
        let data = match delivery.payload.version() {
            None => self.read_data(view, delivery.event).await?,
            Some(version) => self.read_older_data(view, delivery.event).await?.get(version).cloned(),
        };
        Ok(event.zip(data).map(|(stored, data)| (delivery, stored.event, data)))
    }

    async fn replay(
        &self,
        view: View,
        id: DeliveryId,
        force: bool,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Replayed>> {
        let now = self.shared.env.now();
        let performed = self
            .perform(view.project, once, Some(entry), move |connection| {
                replay_if_allowed(connection, view, id, force, now).boxed()
            })
            .await?;
        if let Performed::First((_, Some(endpoint))) = &performed {
            self.shared.hand_off.get().wake(&[*endpoint]);
        }
        Ok(performed.map(|(replayed, _)| replayed))
    }

    async fn cancel(
        &self,
        view: View,
        id: DeliveryId,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Canceled>> {
        let now = self.shared.env.now();
        let performed = self
            .perform(view.project, once, Some(entry), move |connection| {
                cancel_if_waiting(connection, view, id, now).boxed()
            })
            .await?;
        if let Performed::First((_, Some(endpoint))) = &performed {
            self.shared.hand_off.get().withdraw(*endpoint, id);
        }
        Ok(performed.map(|(canceled, _)| canceled))
    }

    async fn make_up_for_jump(&self, before: Timestamp, by: i64) -> Result<()> {
        let now = self.shared.env.now();
        self.edit(move |connection| {
            async move {
                if by > 0 {
                    sqlx::query(statements::START_LATER)
                        .bind(by)
                        .bind(before.as_micros())
                        .execute(&mut *connection)
                        .await?;
                } else {
                    // Nothing is put off for longer than this by itself.
                    let latest = now.plus(LONGEST_WAIT).as_micros();
                    sqlx::query(statements::COME_SOONER)
                        .bind(now.as_micros())
                        .bind(by)
                        .bind(latest)
                        .execute(&mut *connection)
                        .await?;
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }

    async fn settle_held(&self, since: Timestamp, limit: u32) -> Result<u64> {
        super::retention::settle_held(self, since, limit).await
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64> {
        super::retention::purge(self, now, limit).await
    }
}
