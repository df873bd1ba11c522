//! Events in quarantine.

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::{QueryBuilder, Row as _};

use model::audit::Entry;
use model::clock::Timestamp;
use model::event::EventData;
use model::ids::{EventId, ProjectId, QuarantineId, TenantId};
use model::quarantine::QuarantineState;
use model::schema::Fault;

use super::idempotency::Outcome;
use super::rows::{coded, json, time, to_json, uuid};
use super::{Connection, Db, Row, Store, filter, statements, store_error};
use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::quarantine::{MAX_HELD, Quarantine, QuarantineKept, Quarantined};
use crate::{Edited, Result, View};

fn quarantined(row: &Row) -> sqlx::Result<Quarantined> {
    let faults: Vec<(String, String)> = json(row, "faults")?;
    let became: Option<uuid::Uuid> = row.try_get("event")?;
    Ok(Quarantined {
        id: QuarantineId(uuid(row, "id")?),
        project: ProjectId(uuid(row, "project")?),
        tenant: TenantId(uuid(row, "tenant")?),
        event: json(row, "definition")?,
        data: EventData::from_stored(row.try_get("data")?),
        faults: faults.into_iter().map(|(pointer, detail)| Fault { pointer, detail }).collect(),
        state: coded(row, "state", QuarantineState::from_code)?,
        became: became.map(EventId),
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

async fn keep(connection: &mut Connection, new: &Quarantined) -> sqlx::Result<QuarantineKept> {
    let mut alive = QueryBuilder::<Db>::new("SELECT 1 FROM tenants WHERE deleted_at IS NULL AND id = ");
    alive.push_bind(new.tenant.0).push(statements::FOR_UPDATE);
    if alive.build().fetch_optional(&mut *connection).await?.is_none() {
        return Ok(QuarantineKept::NoTenant);
    }
    let held: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT 1 FROM quarantine WHERE project = $1 AND state = 0 LIMIT $2) held",
    )
    .bind(new.project.0)
    .bind(MAX_HELD as i64)
    .fetch_one(&mut *connection)
    .await?;
    if held as u64 >= MAX_HELD {
        return Ok(QuarantineKept::Full);
    }
    let faults: Vec<(&str, &str)> =
        new.faults.iter().map(|fault| (fault.pointer.as_str(), fault.detail.as_str())).collect();
    sqlx::query(
        "INSERT INTO quarantine (id, project, tenant, definition, data, faults, state, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $7)",
    )
    .bind(new.id.0)
    .bind(new.project.0)
    .bind(new.tenant.0)
    .bind(to_json(&new.event))
    .bind(new.data.as_bytes())
    .bind(to_json(&faults))
    .bind(new.created_at.as_micros())
    .execute(connection)
    .await?;
    Ok(QuarantineKept::Done)
}

/// Sets how an event stands, if a condition holds.
async fn set(
    connection: &mut Connection,
    view: View,
    id: QuarantineId,
    condition: &'static str,
    state: QuarantineState,
    became: Option<EventId>,
    now: Timestamp,
) -> sqlx::Result<Edited> {
    let mut sql = QueryBuilder::new("UPDATE quarantine SET state = ");
    sql.push_bind(state.code()).push(", event = ").push_bind(became.map(|event| event.0));
    sql.push(", updated_at = ").push_bind(now.as_micros()).push(" WHERE id = ").push_bind(id.0);
    filter::is_seen(sql.push(" AND ").push(condition).push(" AND "), view);
    Ok(Edited::of_rows(sql.build().execute(connection).await?.rows_affected()))
}

fn visible(view: View) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new("SELECT * FROM quarantine WHERE ");
    filter::is_seen(&mut sql, view);
    sql
}

#[async_trait]
impl Quarantine for Store {
    async fn keep_in_quarantine(
        &self,
        new: &Quarantined,
        once: Option<Once>,
    ) -> Result<Performed<QuarantineKept>> {
        let new = new.clone();
        self.perform(new.project, once, None, move |connection| {
            async move { Ok(Outcome::done_if(QuarantineKept::Done, keep(connection, &new).await?)) }.boxed()
        })
        .await
    }

    async fn find_quarantined(&self, view: View, id: QuarantineId) -> Result<Option<Quarantined>> {
        let failed = || store_error("find an event in quarantine");
        let mut sql = visible(view);
        sql.push(" AND id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(&self.readers).await.map_err(failed())?;
        row.as_ref().map(quarantined).transpose().map_err(failed())
    }

    async fn list_quarantined(
        &self,
        view: View,
        state: Option<QuarantineState>,
        page: PageRequest,
    ) -> Result<Page<Quarantined>> {
        let failed = || store_error("list events in quarantine");
        let mut sql = visible(view);
        if let Some(state) = state {
            sql.push(" AND state = ").push_bind(state.code());
        }
        filter::page(&mut sql, "id", page);
        let rows = sql.build().fetch_all(&self.readers).await.map_err(failed())?;
        let read = rows.iter().map(quarantined).collect::<sqlx::Result<_>>().map_err(failed())?;
        Ok(Page::from_overfull(read, page.limit, |one: &Quarantined| one.id.0))
    }

    async fn drop_quarantined(
        &self,
        view: View,
        id: QuarantineId,
        now: Timestamp,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Edited>> {
        self.perform(view.project, once, Some(entry), move |connection| {
            async move {
                let done =
                    set(connection, view, id, "state = 0", QuarantineState::Dropped, None, now).await?;
                Ok(Outcome::of(done))
            }
            .boxed()
        })
        .await
    }

    async fn begin_release(&self, view: View, id: QuarantineId) -> Result<Edited> {
        let now = self.shared.env.now();
        self.edit(move |connection| {
            let waits = "(state = 0 OR (state = 1 AND event IS NULL))";
            set(connection, view, id, waits, QuarantineState::Released, None, now).boxed()
        })
        .await
    }

    async fn end_release(
        &self,
        view: View,
        id: QuarantineId,
        became: Option<EventId>,
        now: Timestamp,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<()>> {
        let state = if became.is_some() { QuarantineState::Released } else { QuarantineState::Held };
        self.perform(view.project, once, Some(entry), move |connection| {
            async move {
                let waits = "state = 1 AND event IS NULL";
                let done = set(connection, view, id, waits, state, became, now).await?;
                // What waits again may be released by the same request.
                Ok(match (done, became) {
                    (Edited::Done, Some(_)) => Outcome::Done(()),
                    _ => Outcome::Refused(()),
                })
            }
            .boxed()
        })
        .await
    }

    async fn forget_quarantined(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.edit(move |connection| {
            async move {
                let done = sqlx::query(
                    "DELETE FROM quarantine WHERE id IN (SELECT q.id FROM quarantine q \
                     JOIN projects p ON p.id = q.project \
                     WHERE q.created_at < $1 - p.retention_days * 86400000000 LIMIT $2)",
                )
                .bind(now.as_micros())
                .bind(i64::from(limit))
                .execute(connection)
                .await?;
                Ok(done.rows_affected())
            }
            .boxed()
        })
        .await
    }
}
