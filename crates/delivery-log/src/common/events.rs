//! Reading events.

use async_trait::async_trait;
use sqlx::{QueryBuilder, Row as _};

use model::clock::Timestamp;
use model::delivery::Delivery;
use model::event::{EventData, OlderData};
use model::ids::{EventId, ProjectId};

use super::{Connection, Db, Store, fan_out, filter, idempotency, rows, statements, store_error};
use crate::deliveries::{Deliveries, DeliveryFilter};
use crate::events::{EventFilter, Events, Publish, Published, StoredEvent};
use crate::idempotency::{FirstAnswer, KeyUse};
use crate::page::{Page, PageRequest};
use crate::{Result, StoreError, View};

/// The beginning of a statement that reads events, with the conditions of a filter.
pub(crate) fn select_events(view: View, filter: &EventFilter) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(rows::EVENT_COLUMNS).push(" FROM events e JOIN tenants t ON t.id = e.tenant");
    filter::events(&mut sql, view, filter);
    sql
}

pub(crate) async fn older_data(
    connection: &mut Connection,
    view: View,
    id: EventId,
) -> sqlx::Result<OlderData> {
    let row = sqlx::query(statements::READ_OLDER_DATA)
        .bind(view.project.0)
        .bind(id.0)
        .bind(view.tenant.map(|tenant| tenant.0))
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(rows::older_data).transpose().map(Option::unwrap_or_default)
}

#[async_trait]
impl Events for Store {
    async fn publish(&self, publish: Publish) -> Result<Published> {
        let mut published = self.publish_all(vec![publish]).await;
        published.pop().unwrap_or_else(|| Err(StoreError::unavailable("nothing was written".to_owned())))
    }

    async fn publish_all(&self, mut publishes: Vec<Publish>) -> Vec<Result<Published>> {
        for publish in &mut publishes {
            publish.endpoints = match publish.test {
                Some(_) => 1,
                None => self.shared.configuration.count_endpoints(publish.tenant),
            };
        }
        self.writer.publish(publishes).await
    }

    async fn go_on_with_fan_outs(&self, unmoved_since: Timestamp, limit: u32) -> Result<u64> {
        let failed = || store_error("go on with events for many endpoints");
        let mut reader = self.readers.acquire().await.map_err(failed())?;
        let fan_outs = fan_out::unmoved(&mut reader, unmoved_since, limit).await.map_err(failed())?;
        drop(reader);
        let many = fan_outs.len() as u64;
        self.writer.go_on_with(fan_outs).await?;
        Ok(many)
    }

    async fn first_answer(&self, project: ProjectId, key_use: &KeyUse) -> Result<FirstAnswer> {
        let failed = || store_error("look for the first answer to a request");
        let mut reader = self.readers.acquire().await.map_err(failed())?;
        let answer = idempotency::first_answer(&mut reader, &self.shared, project, key_use).await;
        let answer = answer.map_err(failed())?;
        if answer != FirstAnswer::None {
            // On the same connection: another may be to another server.
            self.make_sure(&mut reader).await?;
        }
        Ok(answer)
    }

    async fn find_event(&self, view: View, id: EventId) -> Result<Option<StoredEvent>> {
        let mut sql = select_events(view, &EventFilter::default());
        sql.push(" AND e.id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(&self.readers).await.map_err(store_error("find an event"))?;
        row.as_ref().map(rows::stored_event).transpose().map_err(store_error("read an event"))
    }

    async fn read_data(&self, view: View, id: EventId) -> Result<Option<EventData>> {
        let row = sqlx::query(statements::READ_DATA)
            .bind(view.project.0)
            .bind(id.0)
            .bind(view.tenant.map(|tenant| tenant.0))
            .fetch_optional(&self.readers)
            .await
            .map_err(store_error("find the data of an event"))?;
        let data = row.map(|row| row.try_get(0).map(EventData::from_stored)).transpose();
        data.map_err(store_error("read the data of an event"))
    }

    async fn read_older_data(&self, view: View, id: EventId) -> Result<OlderData> {
        let failed = || store_error("find the data of an event in older versions");
        let mut reader = self.readers.acquire().await.map_err(failed())?;
        older_data(&mut reader, view, id).await.map_err(failed())
    }

    async fn list_events(
        &self,
        view: View,
        filter: &EventFilter,
        page: PageRequest,
    ) -> Result<Page<StoredEvent>> {
        let mut sql = select_events(view, filter);
        statements::page(&mut sql, statements::Listed::Events, view, page);
        let rows = sql.build().fetch_all(&self.readers).await.map_err(store_error("list events"))?;
        let events = rows
            .iter()
            .map(rows::stored_event)
            .collect::<sqlx::Result<_>>()
            .map_err(store_error("read events"))?;
        Ok(Page::from_overfull(events, page.limit, |stored: &StoredEvent| stored.event.id.0))
    }

    async fn deliveries_of_event(
        &self,
        view: View,
        id: EventId,
        page: PageRequest,
    ) -> Result<Page<Delivery>> {
        let filter = DeliveryFilter { event: Some(id), ..DeliveryFilter::default() };
        self.list_deliveries(view, &filter, page).await
    }
}
