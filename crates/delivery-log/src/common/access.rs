//! Projects and API keys.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::{QueryBuilder, Row as _};

use model::access::{ApiKey, Grant, LastUse, Scopes, TokenHash};
use model::audit::Entry;
use model::clock::Timestamp;
use model::ids::{EndpointId, KeyId, ProjectId, TenantId};
use model::names::ProjectName;
use model::project::{UndeclaredTypes, UnknownTenant, Validation};
use model::vault::{MasterKey, Vault, WrappedKey};

use super::configuration::next_version;
use super::idempotency::Outcome;
use super::rows::{count, hash, hash_option, json, parsed, time, time_option, to_json, uuid};
use super::{Connection, Db, Row, Store, filter, portal, statements, store_error};
use crate::access::{
    Access, DEFAULT_RETENTION_DAYS, KeyCreated, KeyTokens, Project, SessionsOfKey, most_keys,
};
use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::portal::EndSessions;
use crate::{Edited, Result, View};

pub(crate) fn project(row: &Row) -> sqlx::Result<Project> {
    Ok(Project {
        id: ProjectId(uuid(row, "id")?),
        name: parsed(row, "name", ProjectName::parse)?,
        unknown_tenant: parsed(row, "unknown_tenant", str::parse)?,
        undeclared_types: parsed(row, "undeclared_types", str::parse)?,
        validation: parsed(row, "validation", str::parse)?,
        retention_days: count(row, "retention_days")?,
        paused_at: time_option(row, "paused_at")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

pub(crate) fn key(row: &Row) -> sqlx::Result<ApiKey> {
    let tenant: Option<uuid::Uuid> = row.try_get("tenant")?;
    Ok(ApiKey {
        id: KeyId(uuid(row, "id")?),
        project: ProjectId(uuid(row, "project")?),
        name: row.try_get("name")?,
        scopes: parsed(row, "scopes", str::parse::<Scopes>)?,
        tenant: tenant.map(TenantId),
        expires_at: time_option(row, "expires_at")?,
        allowed_networks: json(row, "allowed_networks")?,
        rate_limit: rate_limit(row)?,
        created_by: row.try_get::<Option<uuid::Uuid>, _>("created_by")?.map(KeyId),
        last_use: last_use(row)?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

fn rate_limit(row: &Row) -> sqlx::Result<Option<NonZeroU32>> {
    let rate: Option<i64> = row.try_get("rate_limit")?;
    Ok(rate.and_then(|rate| u32::try_from(rate).ok()).and_then(NonZeroU32::new))
}

fn last_use(row: &Row) -> sqlx::Result<Option<LastUse>> {
    let Some(at) = time_option(row, "last_used_at")? else { return Ok(None) };
    Ok(Some(LastUse { at, from: parsed(row, "last_used_from", str::parse)? }))
}

pub(crate) fn tokens(row: &Row) -> sqlx::Result<KeyTokens> {
    let previous = hash_option(row, "previous_token")?;
    let until = time_option(row, "previous_until")?;
    Ok(KeyTokens { current: hash(row, "token")?, previous: previous.zip(until) })
}

async fn ensure_project(connection: &mut Connection, new: &Project) -> sqlx::Result<Project> {
    let existing = sqlx::query("SELECT * FROM projects WHERE name = $1")
        .bind(new.name.as_str())
        .fetch_optional(&mut *connection);
    if let Some(row) = existing.await? {
        return project(&row);
    }
    let version = next_version(connection).await?;
    sqlx::query(
        "INSERT INTO projects (id, name, unknown_tenant, retention_days, created_at, updated_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(new.id.0)
    .bind(new.name.as_str())
    .bind(new.unknown_tenant.as_str())
    .bind(i64::from(new.retention_days))
    .bind(new.created_at.as_micros())
    .bind(new.updated_at.as_micros())
    .bind(version)
    .execute(connection)
    .await?;
    Ok(new.clone())
}

/// Gives the project, and the endpoints whose lanes' owners have to be told.
async fn pause(
    connection: &mut Connection,
    id: ProjectId,
    paused: bool,
    now: Timestamp,
) -> sqlx::Result<(Option<Project>, Vec<EndpointId>)> {
    let version = next_version(connection).await?;
    // Paused twice, it is paused since the first time.
    let row = sqlx::query(
        "UPDATE projects SET paused_at = CASE WHEN $1 THEN coalesce(paused_at, $2) END, updated_at = $2, \
         version = $3 WHERE id = $4 RETURNING *",
    )
    .bind(paused)
    .bind(now.as_micros())
    .bind(version)
    .bind(id.0)
    .fetch_optional(&mut *connection)
    .await?;
    if !paused {
        // Lanes that rested meanwhile are looked for from now on.
        sqlx::query(
            "UPDATE lanes SET wake_at = $1 WHERE owner IS NULL AND wake_at > $1 \
             AND endpoint IN (SELECT id FROM endpoints WHERE project = $2 AND deleted_at IS NULL)",
        )
        .bind(now.as_micros())
        .bind(id.0)
        .execute(&mut *connection)
        .await?;
    }
    let owned: Vec<uuid::Uuid> = sqlx::query_scalar(
        "SELECT endpoint FROM lanes WHERE owner IS NOT NULL \
         AND endpoint IN (SELECT id FROM endpoints WHERE project = $1 AND deleted_at IS NULL)",
    )
    .bind(id.0)
    .fetch_all(connection)
    .await?;
    let found = row.as_ref().map(project).transpose()?;
    Ok((found, owned.into_iter().map(EndpointId).collect()))
}

async fn insert_key(
    connection: &mut Connection,
    key: &ApiKey,
    token: TokenHash,
    now: Timestamp,
) -> sqlx::Result<KeyCreated> {
    let version = next_version(connection).await?;
    if let Some(tenant) = key.tenant {
        let alive = sqlx::query("SELECT 1 FROM tenants WHERE id = $1 AND deleted_at IS NULL").bind(tenant.0);
        if alive.fetch_optional(&mut *connection).await?.is_none() {
            return Ok(KeyCreated::NoTenant);
        }
    }
    let others: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM api_keys WHERE project = $1 AND tenant IS NOT DISTINCT FROM $2 \
         AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)",
    )
    .bind(key.project.0)
    .bind(key.tenant.map(|tenant| tenant.0))
    .bind(now.as_micros())
    .fetch_one(&mut *connection)
    .await?;
    if others >= most_keys(key.tenant) {
        return Ok(KeyCreated::TooMany);
    }
    sqlx::query(
        "INSERT INTO api_keys (id, project, name, scopes, tenant, expires_at, allowed_networks, token, \
         created_at, updated_at, version, created_by, rate_limit) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    )
    .bind(key.id.0)
    .bind(key.project.0)
    .bind(&key.name)
    .bind(key.scopes.to_string())
    .bind(key.tenant.map(|tenant| tenant.0))
    .bind(key.expires_at.map(Timestamp::as_micros))
    .bind(to_json(&key.allowed_networks))
    .bind(token.as_slice())
    .bind(key.created_at.as_micros())
    .bind(key.updated_at.as_micros())
    .bind(version)
    .bind(key.created_by.map(|maker| maker.0))
    .bind(key.rate_limit.map(|rate| i64::from(rate.get())))
    .execute(connection)
    .await?;
    Ok(KeyCreated::Done)
}

/// A key with the view's rights, not revoked.
fn visible_keys(view: View) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new("SELECT * FROM api_keys WHERE revoked_at IS NULL AND ");
    filter::is_seen(&mut sql, view);
    sql
}

/// What binds a sealed grant to being one.
const GRANT: &[u8] = b"grant";

/// So many uses of keys are written in one transaction.
const USES_AT_ONCE: usize = 100;

/// It is no change of the configuration: nobody else has to know at once.
async fn note_uses(connection: &mut Connection, uses: &[(KeyId, LastUse)]) -> sqlx::Result<()> {
    for (key, LastUse { at, from }) in uses {
        sqlx::query(
            "UPDATE api_keys SET last_used_at = $1, last_used_from = $2 \
             WHERE id = $3 AND revoked_at IS NULL AND (last_used_at IS NULL OR last_used_at < $1)",
        )
        .bind(at.as_micros())
        .bind(from.to_string())
        .bind(key.0)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn revoke(
    connection: &mut Connection,
    known: Option<(View, Timestamp)>,
    id: KeyId,
    sessions: SessionsOfKey,
    now: Timestamp,
) -> sqlx::Result<Edited> {
    let version = next_version(connection).await?;
    let mut sql = QueryBuilder::new("UPDATE api_keys SET revoked_at = ");
    sql.push_bind(now.as_micros()).push(", version = ").push_bind(version);
    sql.push(" WHERE revoked_at IS NULL AND id = ").push_bind(id.0);
    if let Some((view, expected)) = known {
        sql.push(" AND updated_at = ").push_bind(expected.as_micros()).push(" AND ");
        filter::is_seen(&mut sql, view);
    }
    let revoked = Edited::of_rows(sql.build().execute(&mut *connection).await?.rows_affected());
    // The operator may end the sessions of a key that was revoked before.
    let mut ended = 0;
    if sessions == SessionsOfKey::End && (revoked == Edited::Done || known.is_none()) {
        ended = portal::end(connection, known.map(|(view, _)| view), EndSessions::OpenedBy(id), now).await?;
    }
    Ok(if ended > 0 { Edited::Done } else { revoked })
}

#[async_trait]
impl Access for Store {
    async fn ensure_project(&self, name: &ProjectName, entry: Entry) -> Result<Project> {
        let now = self.shared.env.now();
        let new = Project {
            id: self.shared.env.new_id::<ProjectId>(),
            name: name.clone(),
            unknown_tenant: UnknownTenant::default(),
            undeclared_types: UndeclaredTypes::default(),
            validation: Validation::default(),
            retention_days: DEFAULT_RETENTION_DAYS,
            paused_at: None,
            created_at: now,
            updated_at: now,
        };
        self.perform_always(new.id, entry, move |connection| {
            async move {
                let project = ensure_project(connection, &new).await?;
                Ok(if project.id == new.id { Outcome::Done(project) } else { Outcome::Refused(project) })
            }
            .boxed()
        })
        .await
    }

    async fn find_project(&self, id: ProjectId) -> Result<Option<Project>> {
        let row =
            sqlx::query("SELECT * FROM projects WHERE id = $1").bind(id.0).fetch_optional(&self.readers);
        let row = row.await.map_err(store_error("find a project"))?;
        row.as_ref().map(project).transpose().map_err(store_error("read a project"))
    }

    async fn update_project(&self, project: &Project, expected: Timestamp, entry: Entry) -> Result<Edited> {
        let new = project.clone();
        self.perform_always(project.id, entry, move |connection| {
            async move {
                let version = next_version(connection).await?;
                let done = sqlx::query(
                    "UPDATE projects SET unknown_tenant = $1, retention_days = $2, updated_at = $3, \
                         version = $4, undeclared_types = $7, validation = $8 WHERE id = $5 AND updated_at = $6",
                )
                .bind(new.unknown_tenant.as_str())
                .bind(i64::from(new.retention_days))
                .bind(new.updated_at.as_micros())
                .bind(version)
                .bind(new.id.0)
                .bind(expected.as_micros())
                .bind(new.undeclared_types.as_str())
                .bind(new.validation.as_str())
                .execute(connection)
                .await?;
                Ok(Outcome::of(Edited::of_rows(done.rows_affected())))
            }
            .boxed()
        })
        .await
    }

    async fn pause_project(&self, id: ProjectId, paused: bool, entry: Entry) -> Result<Option<Project>> {
        let now = self.shared.env.now();
        let work = self.perform_always(id, entry, move |connection| {
            async move {
                let (found, woken) = pause(connection, id, paused, now).await?;
                Ok(Outcome::of_found(found).with(woken))
            }
            .boxed()
        });
        let (found, woken) = work.await?;
        self.shared.hand_off.get().wake(&woken);
        Ok(found)
    }

    async fn create_key(
        &self,
        key: &ApiKey,
        token: TokenHash,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<KeyCreated>> {
        let (key, now) = (key.clone(), self.shared.env.now());
        self.perform(key.project, once, Some(entry), move |connection| {
            async move {
                Ok(Outcome::done_if(KeyCreated::Done, insert_key(connection, &key, token, now).await?))
            }
            .boxed()
        })
        .await
    }

    async fn find_key(&self, view: View, id: KeyId) -> Result<Option<ApiKey>> {
        let mut sql = visible_keys(view);
        sql.push(" AND id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(&self.readers).await.map_err(store_error("find a key"))?;
        row.as_ref().map(key).transpose().map_err(store_error("read a key"))
    }

    async fn list_keys(
        &self,
        view: View,
        unused_since: Option<Timestamp>,
        page: PageRequest,
    ) -> Result<Page<ApiKey>> {
        let mut sql = visible_keys(view);
        if let Some(since) = unused_since {
            sql.push(" AND coalesce(last_used_at, created_at) < ").push_bind(since.as_micros());
        }
        filter::page(&mut sql, "id", page);
        let rows = sql.build().fetch_all(&self.readers).await.map_err(store_error("list keys"))?;
        let keys = rows.iter().map(key).collect::<sqlx::Result<_>>().map_err(store_error("read keys"))?;
        Ok(Page::from_overfull(keys, page.limit, |key: &ApiKey| key.id.0))
    }

    async fn list_all_keys(&self) -> Result<Vec<(ProjectName, ApiKey)>> {
        let sql = "SELECT k.*, p.name AS project_name FROM api_keys k JOIN projects p ON p.id = k.project \
                   WHERE k.revoked_at IS NULL ORDER BY p.name, k.id";
        let rows = sqlx::query(sql).fetch_all(&self.readers).await.map_err(store_error("list keys"))?;
        rows.iter()
            .map(|row| Ok((parsed(row, "project_name", ProjectName::parse)?, key(row)?)))
            .collect::<sqlx::Result<_>>()
            .map_err(store_error("read keys"))
    }

    async fn note_key_uses(&self, uses: &[(KeyId, LastUse)]) -> Result<()> {
        for some in uses.chunks(USES_AT_ONCE) {
            let some = some.to_vec();
            self.edit(move |connection| async move { note_uses(connection, &some).await }.boxed()).await?;
        }
        Ok(())
    }

    fn seal_grant(&self, grant: &Grant) -> Vec<u8> {
        self.shared.vault.seal(to_json(grant).as_bytes(), GRANT, self.shared.env.entropy.as_ref())
    }

    fn open_grant(&self, sealed: &[u8]) -> Option<Grant> {
        let text = self.shared.vault.unseal(sealed, GRANT).ok()?;
        serde_json::from_slice(&text).ok()
    }

    async fn rotate_master_key(&self, from: &MasterKey, to: &MasterKey) -> Result<Option<usize>> {
        let (from, to, shared) = (from.clone(), to.clone(), Arc::clone(&self.shared));
        self.edit(move |connection| {
            async move {
                let mut sql = QueryBuilder::<Db>::new("SELECT id, wrapped FROM data_keys ORDER BY number");
                let rows = sql.push(statements::FOR_UPDATE).build().fetch_all(&mut *connection).await?;
                let key =
                    |row: &Row| Ok(WrappedKey { id: row.try_get("id")?, wrapped: row.try_get("wrapped")? });
                let keys: Vec<WrappedKey> = rows.iter().map(key).collect::<sqlx::Result<_>>()?;
                let Ok(keys) = Vault::rewrap(&from, &to, &keys, shared.env.entropy.as_ref()) else {
                    return Ok(None);
                };
                for key in &keys {
                    sqlx::query("UPDATE data_keys SET wrapped = $2 WHERE id = $1")
                        .bind(key.id)
                        .bind(&key.wrapped)
                        .execute(&mut *connection)
                        .await?;
                }
                Ok(Some(keys.len()))
            }
            .boxed()
        })
        .await
    }

    async fn rotate_key(
        &self,
        key: &ApiKey,
        expected: Timestamp,
        token: TokenHash,
        overlap_until: Timestamp,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Edited>> {
        let (id, project, updated_at) = (key.id, key.project, key.updated_at);
        self.perform(project, once, Some(entry), move |connection| {
            async move {
                let version = next_version(connection).await?;
                let done = sqlx::query(
                    "UPDATE api_keys SET previous_token = token, previous_until = $1, token = $2, \
                     updated_at = $3, version = $4 WHERE id = $5 AND project = $6 \
                     AND updated_at = $7 AND revoked_at IS NULL",
                )
                .bind(overlap_until.as_micros())
                .bind(token.as_slice())
                .bind(updated_at.as_micros())
                .bind(version)
                .bind(id.0)
                .bind(project.0)
                .bind(expected.as_micros())
                .execute(connection)
                .await?;
                Ok(Outcome::of(Edited::of_rows(done.rows_affected())))
            }
            .boxed()
        })
        .await
    }

    async fn revoke_key(
        &self,
        view: View,
        id: KeyId,
        expected: Timestamp,
        sessions: SessionsOfKey,
        entry: Entry,
    ) -> Result<Edited> {
        let now = self.shared.env.now();
        self.perform_always(view.project, entry, move |connection| {
            async move {
                revoke(connection, Some((view, expected)), id, sessions, now).await.map(Outcome::of)
            }
            .boxed()
        })
        .await
    }

    async fn revoke_any_key(&self, id: KeyId, sessions: SessionsOfKey, entry: Entry) -> Result<Edited> {
        let now = self.shared.env.now();
        let failed = store_error("find a key");
        let project: Option<uuid::Uuid> = sqlx::query_scalar("SELECT project FROM api_keys WHERE id = $1")
            .bind(id.0)
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        let Some(project) = project.map(ProjectId) else { return Ok(Edited::Outdated) };
        self.perform_always(project, entry, move |connection| {
            async move { revoke(connection, None, id, sessions, now).await.map(Outcome::of) }.boxed()
        })
        .await
    }
}
