//! Tenants.

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::{QueryBuilder, Row as _};

use model::audit::Entry;
use model::clock::Timestamp;
use model::ids::{EndpointId, ProjectId, TenantId};
use model::names::TenantHandle;

use super::configuration::next_version;
use super::idempotency::Outcome;
use super::rows::{json, parsed, time, time_option, to_json, uuid};
use super::{Connection, Db, Row, Store, filter, lanes, store_error};
use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::tenants::{Created, Tenant, Tenants};
use crate::{Edited, Result, View};

pub(crate) fn tenant(row: &Row) -> sqlx::Result<Tenant> {
    Ok(Tenant {
        id: TenantId(uuid(row, "id")?),
        project: ProjectId(uuid(row, "project")?),
        handle: parsed(row, "handle", TenantHandle::parse)?,
        name: row.try_get("name")?,
        metadata: row.try_get("metadata")?,
        contacts: json(row, "contacts")?,
        paused_at: time_option(row, "paused_at")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

async fn insert(connection: &mut Connection, new: &Tenant) -> sqlx::Result<Created> {
    let version = next_version(connection).await?;
    let done = sqlx::query(
        "INSERT INTO tenants (id, project, handle, name, metadata, created_at, updated_at, version, \
         contacts) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (project, handle) WHERE deleted_at IS NULL DO NOTHING",
    )
    .bind(new.id.0)
    .bind(new.project.0)
    .bind(new.handle.as_str())
    .bind(&new.name)
    .bind(&new.metadata)
    .bind(new.created_at.as_micros())
    .bind(new.updated_at.as_micros())
    .bind(version)
    .bind(to_json(&new.contacts))
    .execute(connection)
    .await?;
    Ok(if done.rows_affected() == 1 { Created::New } else { Created::Taken })
}

/// Gives the tenant, and the endpoints whose lanes have to be told.
async fn pause(
    connection: &mut Connection,
    view: View,
    id: TenantId,
    paused: bool,
    now: Timestamp,
) -> sqlx::Result<(Option<Tenant>, Vec<EndpointId>)> {
    let version = next_version(connection).await?;
    // Paused twice, it is paused since the first time.
    let row = sqlx::query(
        "UPDATE tenants SET paused_at = CASE WHEN $1 THEN coalesce(paused_at, $2) END, updated_at = $2, \
         version = $3 WHERE id = $4 AND project = $5 AND deleted_at IS NULL RETURNING *",
    )
    .bind(paused)
    .bind(now.as_micros())
    .bind(version)
    .bind(id.0)
    .bind(view.project.0)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok((None, Vec::new())) };
    let endpoints: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT id FROM endpoints WHERE tenant = $1 AND deleted_at IS NULL ORDER BY id")
            .bind(id.0)
            .fetch_all(&mut *connection)
            .await?;
    let endpoints: Vec<EndpointId> = endpoints.into_iter().map(EndpointId).collect();
    if !paused {
        lanes::wake(connection, &endpoints, now).await?;
    }
    Ok((Some(tenant(&row)?), endpoints))
}

pub(crate) async fn delete(
    connection: &mut Connection,
    view: View,
    id: TenantId,
    expected: Timestamp,
    now: Timestamp,
) -> sqlx::Result<Edited> {
    let version = next_version(connection).await?;
    let done = sqlx::query(
        "UPDATE tenants SET deleted_at = $1, version = $2 \
         WHERE id = $3 AND project = $4 AND updated_at = $5 AND deleted_at IS NULL",
    )
    .bind(now.as_micros())
    .bind(version)
    .bind(id.0)
    .bind(view.project.0)
    .bind(expected.as_micros())
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(Edited::Outdated);
    }
    for sql in [
        "UPDATE endpoints SET deleted_at = $1, version = $2 WHERE tenant = $3 AND deleted_at IS NULL",
        "UPDATE api_keys SET revoked_at = $1, version = $2 WHERE tenant = $3 AND revoked_at IS NULL",
        "UPDATE portal_sessions SET ended_at = $1, version = $2 WHERE tenant = $3 AND ended_at IS NULL",
    ] {
        sqlx::query(sql).bind(now.as_micros()).bind(version).bind(id.0).execute(&mut *connection).await?;
    }
    Ok(Edited::Done)
}

fn visible(view: View) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new(
        // The platform's own are not shown (`model::operations`).
        "SELECT * FROM tenants WHERE deleted_at IS NULL AND handle NOT LIKE 'posthorn:%' AND project = ",
    );
    sql.push_bind(view.project.0);
    if let Some(tenant) = view.tenant {
        sql.push(" AND id = ").push_bind(tenant.0);
    }
    sql
}

#[async_trait]
impl Tenants for Store {
    async fn create_tenant(
        &self,
        tenant: &Tenant,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Created>> {
        let new = tenant.clone();
        self.perform(new.project, once, Some(entry), move |connection| {
            async move { Ok(Outcome::done_if(Created::New, insert(connection, &new).await?)) }.boxed()
        })
        .await
    }

    async fn find_tenant(&self, view: View, handle: &TenantHandle) -> Result<Option<Tenant>> {
        let mut sql = visible(view);
        sql.push(" AND handle = ").push_bind(handle.as_str().to_owned());
        let row = sql.build().fetch_optional(&self.readers).await.map_err(store_error("find a tenant"))?;
        row.as_ref().map(tenant).transpose().map_err(store_error("read a tenant"))
    }

    async fn list_tenants(&self, view: View, page: PageRequest) -> Result<Page<Tenant>> {
        let mut sql = visible(view);
        filter::page(&mut sql, "id", page);
        let rows = sql.build().fetch_all(&self.readers).await.map_err(store_error("list tenants"))?;
        let tenants =
            rows.iter().map(tenant).collect::<sqlx::Result<_>>().map_err(store_error("read tenants"))?;
        Ok(Page::from_overfull(tenants, page.limit, |tenant: &Tenant| tenant.id.0))
    }

    async fn update_tenant(&self, tenant: &Tenant, expected: Timestamp, entry: Entry) -> Result<Edited> {
        let new = tenant.clone();
        self.perform_always(tenant.project, entry, move |connection| {
            async move {
                let version = next_version(connection).await?;
                let done = sqlx::query(
                    "UPDATE tenants SET name = $1, metadata = $2, updated_at = $3, version = $4, \
                         contacts = $7 WHERE id = $5 AND updated_at = $6 AND deleted_at IS NULL",
                )
                .bind(&new.name)
                .bind(&new.metadata)
                .bind(new.updated_at.as_micros())
                .bind(version)
                .bind(new.id.0)
                .bind(expected.as_micros())
                .bind(to_json(&new.contacts))
                .execute(connection)
                .await?;
                Ok(Outcome::of(Edited::of_rows(done.rows_affected())))
            }
            .boxed()
        })
        .await
    }

    async fn pause_tenant(
        &self,
        view: View,
        id: TenantId,
        paused: bool,
        entry: Entry,
    ) -> Result<Option<Tenant>> {
        let now = self.shared.env.now();
        let work = self.perform_always(view.project, entry, move |connection| {
            async move {
                let (tenant, woken) = pause(connection, view, id, paused, now).await?;
                Ok(Outcome::of_found(tenant).with(woken))
            }
            .boxed()
        });
        let (tenant, woken) = work.await?;
        self.shared.hand_off.get().wake(&woken);
        Ok(tenant)
    }

    async fn delete_tenant(
        &self,
        view: View,
        id: TenantId,
        expected: Timestamp,
        entry: Entry,
    ) -> Result<Edited> {
        let now = self.shared.env.now();
        self.perform_always(view.project, entry, move |connection| {
            async move { delete(connection, view, id, expected, now).await.map(Outcome::of) }.boxed()
        })
        .await
    }
}
