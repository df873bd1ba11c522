//! Reading events.

use async_trait::async_trait;
use sqlx::{QueryBuilder, Row as _};

use model::delivery::Delivery;
use model::event::EventData;
use model::ids::EventId;

use super::{Db, Store, filter, rows, statements, store_error};
use crate::deliveries::{Deliveries, DeliveryFilter};
use crate::events::{EventFilter, Events, Publish, Published, StoredEvent};
use crate::page::{Page, PageRequest};
use crate::{Result, View};

fn select_events(view: View, filter: &EventFilter) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(rows::EVENT_COLUMNS).push(" FROM events e JOIN tenants t ON t.id = e.tenant");
    filter::events(&mut sql, view, filter);
    sql
}

#[async_trait]
impl Events for Store {
    async fn publish(&self, publish: Publish) -> Result<Published> {
        self.writer.publish(publish).await
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
