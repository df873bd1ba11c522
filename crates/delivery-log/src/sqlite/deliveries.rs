//! Reading deliveries, sending them again, withdrawing them.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::{QueryBuilder, SqliteConnection};

use model::attempt::{Attempt, Trigger};
use model::clock::Timestamp;
use model::delivery::{Delivery, DeliveryStatus, HeldBy};
use model::event::{Event, EventData};
use model::ids::DeliveryId;

use super::{SqliteStore, filter, idempotency, lanes, rows, store_error};
use crate::deliveries::{Canceled, Deliveries, DeliveryFilter, Finished, Recorded, Replayed};
use crate::events::Events;
use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::{Result, View};

async fn find(
    connection: &mut SqliteConnection,
    view: View,
    id: DeliveryId,
    now: Timestamp,
) -> sqlx::Result<Option<Delivery>> {
    let mut sql = QueryBuilder::new(rows::DELIVERY_SELECT);
    filter::deliveries(&mut sql, view, &DeliveryFilter::default(), now);
    sql.push(" AND d.id = ").push_bind(id.0);
    let row = sql.build().fetch_optional(connection).await?;
    row.as_ref().map(|row| rows::delivery(row, now)).transpose()
}

/// Starts a fresh schedule. What waits keeps its schedule and becomes due now.
async fn replay(connection: &mut SqliteConnection, delivery: &Delivery, now: Timestamp) -> sqlx::Result<()> {
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
    lanes::wake(connection, &[delivery.endpoint], now).await
}

async fn cancel(connection: &mut SqliteConnection, delivery: &Delivery, now: Timestamp) -> sqlx::Result<()> {
    // The number of an attempt that is under way is not given out again.
    sqlx::query(
        "UPDATE deliveries SET status = 4, failure = NULL, due_at = NULL, \
         attempts = attempts + (claimed IS NOT NULL), claimed = NULL, updated_at = ? \
         WHERE project = ? AND id = ?",
    )
    .bind(now.as_micros())
    .bind(delivery.project.0)
    .bind(delivery.id.0)
    .execute(connection)
    .await
    .map(|_| ())
}

async fn endpoint_is_enabled(connection: &mut SqliteConnection, delivery: &Delivery) -> sqlx::Result<bool> {
    let row =
        sqlx::query("SELECT 1 FROM endpoints WHERE id = ? AND status = 'enabled' AND deleted_at IS NULL")
            .bind(delivery.endpoint.0)
            .fetch_optional(connection)
            .await?;
    Ok(row.is_some())
}

#[async_trait]
impl Deliveries for SqliteStore {
    async fn finish(&self, finished: Arc<Finished>) -> Result<Recorded> {
        self.writer.finish(finished).await
    }

    async fn find_delivery(&self, view: View, id: DeliveryId) -> Result<Option<Delivery>> {
        let now = self.shared.surroundings.now();
        let mut reader = self.readers.acquire().await.map_err(store_error("read a delivery"))?;
        find(&mut reader, view, id, now).await.map_err(store_error("read a delivery"))
    }

    async fn list_deliveries(
        &self,
        view: View,
        filter: &DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<Delivery>> {
        let now = self.shared.surroundings.now();
        let mut sql = QueryBuilder::new(rows::DELIVERY_SELECT);
        filter::deliveries(&mut sql, view, filter, now);
        filter::numbered_page(&mut sql, filter::Numbered::Deliveries, view, page);
        let rows = sql.build().fetch_all(&self.readers).await.map_err(store_error("list deliveries"))?;
        let deliveries = rows
            .iter()
            .map(|row| rows::delivery(row, now))
            .collect::<sqlx::Result<_>>()
            .map_err(store_error("read deliveries"))?;
        Ok(Page::from_overfull(deliveries, page.limit, |delivery: &Delivery| delivery.id.0))
    }

    async fn list_attempts(&self, view: View, id: DeliveryId) -> Result<Option<Vec<Attempt>>> {
        if self.find_delivery(view, id).await?.is_none() {
            return Ok(None);
        }
        let rows = sqlx::query("SELECT * FROM attempts WHERE delivery = ? ORDER BY number")
            .bind(id.0)
            .fetch_all(&self.readers)
            .await
            .map_err(store_error("list attempts"))?;
        let attempts = rows.iter().map(rows::attempt).collect::<sqlx::Result<_>>();
        attempts.map(Some).map_err(store_error("read attempts"))
    }

    async fn read_payload(&self, view: View, id: DeliveryId) -> Result<Option<(Delivery, Event, EventData)>> {
        let Some(delivery) = self.find_delivery(view, id).await? else { return Ok(None) };
        let event = self.find_event(view, delivery.event).await?;
        let data = self.read_data(view, delivery.event).await?;
        Ok(event.zip(data).map(|(stored, data)| (delivery, stored.event, data)))
    }

    async fn replay(
        &self,
        view: View,
        id: DeliveryId,
        force: bool,
        once: Option<Once>,
    ) -> Result<Performed<Replayed>> {
        let shared = Arc::clone(&self.shared);
        let (performed, endpoint) = self
            .writer
            .edit(move |connection| {
                async move {
                    let (once, now) = (once.as_ref(), shared.surroundings.now());
                    if let Some(before) = idempotency::find(connection, &shared, view.project, once).await? {
                        return Ok((before, None));
                    }
                    let Some(delivery) = find(connection, view, id, now).await? else {
                        return Ok((Performed::First(Replayed::NotFound), None));
                    };
                    let held = delivery.hold.is_some_and(|hold| hold.by == HeldBy::Paused);
                    if held || !endpoint_is_enabled(connection, &delivery).await? {
                        return Ok((Performed::First(Replayed::EndpointNotEnabled), None));
                    }
                    if delivery.status == DeliveryStatus::Delivered && !force {
                        return Ok((Performed::First(Replayed::AlreadyDelivered), None));
                    }
                    replay(connection, &delivery, now).await?;
                    idempotency::keep(connection, &shared, view.project, once).await?;
                    Ok((Performed::First(Replayed::Due), Some(delivery.endpoint)))
                }
                .boxed()
            })
            .await?;
        if let Some(endpoint) = endpoint {
            self.shared.hand_off.get().wake(&[endpoint]);
        }
        Ok(performed)
    }

    async fn cancel(&self, view: View, id: DeliveryId, once: Option<Once>) -> Result<Performed<Canceled>> {
        let shared = Arc::clone(&self.shared);
        let (performed, endpoint) = self
            .writer
            .edit(move |connection| {
                async move {
                    let (once, now) = (once.as_ref(), shared.surroundings.now());
                    if let Some(before) = idempotency::find(connection, &shared, view.project, once).await? {
                        return Ok((before, None));
                    }
                    let Some(delivery) = find(connection, view, id, now).await? else {
                        return Ok((Performed::First(Canceled::NotFound), None));
                    };
                    if !delivery.status.is_waiting() {
                        return Ok((Performed::First(Canceled::AlreadyEnded), None));
                    }
                    cancel(connection, &delivery, now).await?;
                    idempotency::keep(connection, &shared, view.project, once).await?;
                    Ok((Performed::First(Canceled::Done), Some(delivery.endpoint)))
                }
                .boxed()
            })
            .await?;
        if let Some(endpoint) = endpoint {
            self.shared.hand_off.get().withdraw(endpoint, id);
        }
        Ok(performed)
    }

    async fn settle_held(&self, since: Timestamp, limit: u32) -> Result<u64> {
        super::retention::settle_held(self, since, limit).await
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64> {
        super::retention::purge(self, now, limit).await
    }
}
