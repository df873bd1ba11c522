//! Portal sessions.

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::{QueryBuilder, Row as _};

use model::access::{Scopes, TokenHash};
use model::audit::Entry;
use model::clock::Timestamp;
use model::ids::{KeyId, PortalSessionId, ProjectId, TenantId};
use model::portal::{MAX_KEPT, MAX_SESSIONS, PortalSession};

use super::configuration::next_version;
use super::idempotency::Outcome;
use super::rows::{hash, hash_option, json, parsed, time, to_json, uuid};
use super::{Connection, Db, Row, Store, filter, store_error};
use crate::configuration::KnownSession;
use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::portal::{EndSessions, Portal, SessionOpened, SessionTokens};
use crate::{Edited, Result, View};

fn session(row: &Row) -> sqlx::Result<PortalSession> {
    Ok(PortalSession {
        id: PortalSessionId(uuid(row, "id")?),
        project: ProjectId(uuid(row, "project")?),
        tenant: TenantId(uuid(row, "tenant")?),
        opened_by: KeyId(uuid(row, "opened_by")?),
        scopes: parsed(row, "scopes", str::parse::<Scopes>)?,
        origins: json(row, "origins")?,
        theme: json(row, "theme")?,
        locale: row.try_get("locale")?,
        page: row.try_get("page")?,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
    })
}

/// A session with its tokens, as it is kept in memory.
pub(crate) fn known_session(row: &Row) -> sqlx::Result<KnownSession> {
    let tokens = SessionTokens {
        token: hash(row, "token")?,
        code: hash_option(row, "code")?,
        code_until: time(row, "code_until")?,
        page_token: hash_option(row, "page_token")?,
    };
    Ok(KnownSession { session: session(row)?, tokens })
}

async fn open(
    connection: &mut Connection,
    new: &PortalSession,
    tokens: SessionTokens,
) -> sqlx::Result<SessionOpened> {
    // The version first: whoever has it is alone until the commit. Nobody revokes the
    // key, deletes the tenant or opens another one meanwhile.
    let version = next_version(connection).await?;
    let opener: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM api_keys k JOIN tenants t ON t.id = $2 \
         WHERE k.id = $1 AND k.revoked_at IS NULL AND t.deleted_at IS NULL",
    )
    .bind(new.opened_by.0)
    .bind(new.tenant.0)
    .fetch_one(&mut *connection)
    .await?;
    if opener == 0 {
        return Ok(SessionOpened::Gone);
    }
    let (kept, ended): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(ended_at) FROM (SELECT ended_at FROM portal_sessions \
         WHERE tenant = $1 AND expires_at > $2 LIMIT $3) s",
    )
    .bind(new.tenant.0)
    .bind(new.created_at.as_micros())
    .bind(i64::from(MAX_KEPT))
    .fetch_one(&mut *connection)
    .await?;
    if kept >= i64::from(MAX_KEPT) || kept - ended >= i64::from(MAX_SESSIONS) {
        return Ok(SessionOpened::TooMany);
    }
    sqlx::query(
        "INSERT INTO portal_sessions (id, project, tenant, opened_by, scopes, origins, theme, locale, page, \
         token, code, code_until, created_at, expires_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(new.id.0)
    .bind(new.project.0)
    .bind(new.tenant.0)
    .bind(new.opened_by.0)
    .bind(new.scopes.to_string())
    .bind(to_json(&new.origins))
    .bind(to_json(&new.theme))
    .bind(&new.locale)
    .bind(&new.page)
    .bind(tokens.token.as_slice())
    .bind(tokens.code.as_ref().map(TokenHash::as_slice))
    .bind(tokens.code_until.as_micros())
    .bind(new.created_at.as_micros())
    .bind(new.expires_at.as_micros())
    .bind(version)
    .execute(connection)
    .await?;
    Ok(SessionOpened::Done)
}

/// Ends sessions; gives how many. Without a view, they may be of any project.
pub(crate) async fn end(
    connection: &mut Connection,
    view: Option<View>,
    which: EndSessions,
    now: Timestamp,
) -> sqlx::Result<u64> {
    let conditions = |sql: &mut QueryBuilder<Db>| {
        sql.push(" WHERE ended_at IS NULL AND expires_at > ").push_bind(now.as_micros());
        if let Some(view) = view {
            filter::is_seen(sql.push(" AND "), view);
        }
        match which {
            EndSessions::One(tenant, id) => {
                sql.push(" AND tenant = ").push_bind(tenant.0).push(" AND id = ").push_bind(id.0)
            }
            EndSessions::OfTenant(tenant) => sql.push(" AND tenant = ").push_bind(tenant.0),
            EndSessions::OpenedBy(key) => sql.push(" AND opened_by = ").push_bind(key.0),
        };
    };
    // Where there is nothing to end, the configuration does not change.
    let mut sql = QueryBuilder::<Db>::new("SELECT id FROM portal_sessions");
    conditions(&mut sql);
    if sql.push(" LIMIT 1").build().fetch_optional(&mut *connection).await?.is_none() {
        return Ok(0);
    }
    let version = next_version(connection).await?;
    let mut sql = QueryBuilder::<Db>::new("UPDATE portal_sessions SET ended_at = ");
    sql.push_bind(now.as_micros()).push(", version = ").push_bind(version);
    conditions(&mut sql);
    Ok(sql.build().execute(connection).await?.rows_affected())
}

#[async_trait]
impl Portal for Store {
    async fn open_portal_session(
        &self,
        new: &PortalSession,
        tokens: SessionTokens,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<SessionOpened>> {
        let new = new.clone();
        self.perform(new.project, once, Some(entry), move |connection| {
            async move { Ok(Outcome::done_if(SessionOpened::Done, open(connection, &new, tokens).await?)) }
                .boxed()
        })
        .await
    }

    async fn list_portal_sessions(
        &self,
        view: View,
        tenant: TenantId,
        page: PageRequest,
    ) -> Result<Page<PortalSession>> {
        let mut sql = QueryBuilder::new("SELECT * FROM portal_sessions WHERE ended_at IS NULL AND tenant = ");
        sql.push_bind(tenant.0).push(" AND expires_at > ").push_bind(self.shared.env.now().as_micros());
        filter::is_seen(sql.push(" AND "), view);
        filter::page(&mut sql, "id", page);
        let failed = || store_error("list portal sessions");
        let rows = sql.build().fetch_all(&self.readers).await.map_err(failed())?;
        let read = rows.iter().map(session).collect::<sqlx::Result<_>>().map_err(failed())?;
        Ok(Page::from_overfull(read, page.limit, |session: &PortalSession| session.id.0))
    }

    async fn end_portal_sessions(&self, view: View, which: EndSessions, entry: Entry) -> Result<u64> {
        let now = self.shared.env.now();
        self.perform_always(view.project, entry, move |connection| {
            async move {
                Ok(match end(connection, Some(view), which, now).await? {
                    0 => Outcome::Refused(0),
                    ended => Outcome::Done(ended),
                })
            }
            .boxed()
        })
        .await
    }

    async fn exchange_portal_code(
        &self,
        project: ProjectId,
        id: PortalSessionId,
        code: TokenHash,
        page_token: TokenHash,
        entry: Entry,
    ) -> Result<Edited> {
        let now = self.shared.env.now();
        self.perform_always(project, entry, move |connection| {
            async move {
                let version = next_version(connection).await?;
                let done = sqlx::query(
                    "UPDATE portal_sessions SET code = NULL, page_token = $1, version = $2 \
                     WHERE id = $3 AND code = $4 AND code_until > $5 AND expires_at > $5 AND ended_at IS NULL",
                )
                .bind(page_token.as_slice())
                .bind(version)
                .bind(id.0)
                .bind(code.as_slice())
                .bind(now.as_micros())
                .execute(connection)
                .await?;
                Ok(Outcome::of(Edited::of_rows(done.rows_affected())))
            }
            .boxed()
        })
        .await
    }

    async fn forget_portal_sessions(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.edit(move |connection| {
            async move {
                let done = sqlx::query(
                    "DELETE FROM portal_sessions WHERE id IN \
                     (SELECT id FROM portal_sessions WHERE expires_at < $1 LIMIT $2)",
                )
                .bind(before.as_micros())
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
