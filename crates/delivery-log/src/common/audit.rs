//! The audit log: written with what it tells of, read, checked, forgotten.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::{QueryBuilder, Row as _};
use uuid::Uuid;

use model::audit::chain::{BEGINNING, Broken, ChainKey, Digest, Ends, Kept, Linked, Walk, digest};
use model::audit::{Action, Content, Entry};
use model::clock::Timestamp;
use model::ids::{AuditId, ErasureId, ProjectId};

use super::rows::{broken, hash, hash_option, time, to_json, uuid};
use super::{Connection, Db, Row, Shared, Store, filter, statements, store_error};
use crate::audit::{Audit, AuditFilter, Recorded, Verified};
use crate::page::{Page, PageRequest};
use crate::{Result, View};

/// So many entries are read at once when a log is checked.
const STEP: i64 = 500;

/// What binds the sealed key of a log to its row.
fn row_name(project: ProjectId) -> Vec<u8> {
    [b"audit_logs.key".as_slice(), project.as_bytes()].concat()
}

fn number(row: &Row, column: &'static str) -> sqlx::Result<u64> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|error| broken(column, error))
}

/// The log of a project.
pub(crate) struct Log {
    pub(crate) key: ChainKey,
    /// Where it begins and ends.
    ends: Ends,
    seal: Digest,
}

impl Log {
    fn is_sealed(&self) -> bool {
        self.key.seal(&self.ends) == self.seal
    }
}

fn log(row: &Row, shared: &Shared, project: ProjectId) -> sqlx::Result<Log> {
    let key = shared.vault.unseal(row.try_get("sealed_key")?, &row_name(project));
    let key = key.map_err(|error| broken("sealed_key", error))?;
    let key = ChainKey::from_bytes(&key).ok_or_else(|| broken("sealed_key", "it has not 32 bytes"))?;
    let ends = Ends {
        first_before: number(row, "first_before")?,
        before: hash(row, "before")?,
        last: number(row, "last")?,
        link: hash(row, "link")?,
    };
    Ok(Log { key, ends, seal: hash(row, "seal")? })
}

/// The log of a project, which nobody else writes to until this transaction ends.
pub(crate) async fn locked(
    connection: &mut Connection,
    shared: &Shared,
    project: ProjectId,
) -> sqlx::Result<Log> {
    let mut sql = QueryBuilder::<Db>::new("SELECT * FROM audit_logs WHERE project = ");
    sql.push_bind(project.0).push(statements::FOR_UPDATE);
    let row = match sql.build().fetch_optional(&mut *connection).await? {
        Some(row) => row,
        None => begin(connection, shared, project).await?,
    };
    log(&row, shared, project)
}

/// A log without entries, unless another process has just begun it.
async fn begin(connection: &mut Connection, shared: &Shared, project: ProjectId) -> sqlx::Result<Row> {
    let key = ChainKey::generate(shared.env.entropy.as_ref());
    let sealed = shared.vault.seal(key.reveal(), &row_name(project), shared.env.entropy.as_ref());
    // One that is there is written over with itself, which waits for its lock.
    sqlx::query(
        "INSERT INTO audit_logs (project, sealed_key, first_before, before, last, link, seal) \
         VALUES ($1, $2, 0, $3, 0, $3, $4) \
         ON CONFLICT (project) DO UPDATE SET last = audit_logs.last RETURNING *",
    )
    .bind(project.0)
    .bind(sealed)
    .bind(BEGINNING.as_slice())
    .bind(key.seal(&Ends::EMPTY).as_slice())
    .fetch_one(connection)
    .await
}

/// Sets where a log begins and ends. One whose record was changed gets no good seal
/// any more: it goes on, and whoever checks it is told.
async fn set_ends(
    connection: &mut Connection,
    project: ProjectId,
    log: &Log,
    ends: &Ends,
) -> sqlx::Result<()> {
    let seal = if log.is_sealed() { log.key.seal(ends) } else { log.seal };
    sqlx::query(
        "UPDATE audit_logs SET first_before = $2, before = $3, last = $4, link = $5, seal = $6 WHERE project = $1",
    )
    .bind(project.0)
    .bind(ends.first_before as i64)
    .bind(ends.before.as_slice())
    .bind(ends.last as i64)
    .bind(ends.link.as_slice())
    .bind(seal.as_slice())
    .execute(connection)
    .await
    .map(|_| ())
}

/// Adds an entry, in the transaction of what it tells of. It comes last there, so
/// that transactions take their locks in one order.
pub(crate) async fn append(
    connection: &mut Connection,
    shared: &Shared,
    project: ProjectId,
    entry: Entry,
) -> sqlx::Result<()> {
    let log = locked(connection, shared, project).await?;
    // To the millisecond, as the content says it.
    let at = Timestamp::from_millis(shared.env.now().as_millis());
    let id = shared.env.new_id::<AuditId>();
    let (number, before) = (log.ends.last + 1, log.ends.link);
    let tenant = entry.tenant.as_ref().map(|(tenant, _)| tenant.0);
    let content = Content::new(entry, id, number, at);
    let text = to_json(&content);
    let digest = digest(&text);
    let ends = Ends { last: number, link: log.key.link(number, at, &digest, &before), ..log.ends };
    set_ends(connection, project, &log, &ends).await?;
    sqlx::query(
        "INSERT INTO audit_chain (project, number, id, at, digest, link) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(project.0)
    .bind(number as i64)
    .bind(id.0)
    .bind(at.as_micros())
    .bind(digest.as_slice())
    .bind(ends.link.as_slice())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO audit_contents (project, number, actor, action, target, tenant, content) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(project.0)
    .bind(number as i64)
    .bind(&content.actor)
    .bind(&content.action)
    .bind(&content.target)
    .bind(tenant)
    .bind(&text)
    .execute(connection)
    .await
    .map(|_| ())
}

/// Entries with what is kept of their contents.
const SELECT: &str = "SELECT c.number, c.id, c.at, c.digest, c.link, c.erasure, c.mark, \
    t.actor, t.action, t.target, t.tenant, t.content \
    FROM audit_chain c LEFT JOIN audit_contents t ON t.project = c.project AND t.number = c.number \
    WHERE c.project = ";

fn recorded(row: &Row) -> sqlx::Result<Recorded> {
    let content = match (row.try_get::<Option<&str>, _>("content")?, erasure(row)?) {
        (Some(text), _) => {
            Ok(serde_json::from_str(text).map_err(|error| broken("content", error)).map(Box::new)?)
        }
        (None, Some(erasure)) => Err(erasure),
        (None, None) => return Err(broken("content", "it is missing")),
    };
    Ok(Recorded {
        number: number(row, "number")?,
        id: AuditId(uuid(row, "id")?),
        at: time(row, "at")?,
        content,
    })
}

fn erasure(row: &Row) -> sqlx::Result<Option<ErasureId>> {
    Ok(row.try_get::<Option<Uuid>, _>("erasure")?.map(ErasureId))
}

/// A link, with what is kept of its content.
fn linked(row: &Row) -> sqlx::Result<Linked> {
    let content = match row.try_get::<Option<&str>, _>("content")? {
        Some(text) if says_the_same(row, text)? => Kept::Text(text.to_owned()),
        Some(_) => Kept::Contradicted,
        None => match (erasure(row)?, hash_option(row, "mark")?) {
            (Some(by), Some(mark)) => Kept::Erased(by, mark),
            _ => Kept::Nothing,
        },
    };
    Ok(Linked {
        number: number(row, "number")?,
        at: time(row, "at")?,
        digest: hash(row, "digest")?,
        link: hash(row, "link")?,
        content,
    })
}

/// Whether the columns beside a content, by which entries are found, say what it says.
fn says_the_same(row: &Row, text: &str) -> sqlx::Result<bool> {
    let Ok(content) = serde_json::from_str::<Content>(text) else { return Ok(false) };
    Ok(content.id.0 == uuid(row, "id")?
        && content.at == time(row, "at")?
        && content.actor == row.try_get::<&str, _>("actor")?
        && content.action == row.try_get::<&str, _>("action")?
        && content.target == row.try_get::<&str, _>("target")?
        && content.tenant_id == row.try_get::<Option<Uuid>, _>("tenant")?)
}

/// The conditions of a list.
fn conditions(view: View, wanted: &AuditFilter) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new(SELECT);
    sql.push_bind(view.project.0);
    for tenant in [view.tenant, wanted.tenant].into_iter().flatten() {
        sql.push(" AND t.tenant = ").push_bind(tenant.0);
    }
    if let Some(actor) = wanted.actor {
        sql.push(" AND t.actor = ").push_bind(actor.to_string());
    }
    if let Some(target) = &wanted.target {
        sql.push(" AND t.target = ").push_bind(target.clone());
    }
    if !wanted.actions.is_empty() {
        sql.push(" AND t.action IN (");
        let mut list = sql.separated(", ");
        for action in &wanted.actions {
            list.push_bind(Action::as_str(*action));
        }
        sql.push(")");
    }
    if let Some(after) = wanted.after {
        sql.push(" AND c.at >= ").push_bind(after.as_micros());
    }
    if let Some(before) = wanted.before {
        sql.push(" AND c.at < ").push_bind(before.as_micros());
    }
    sql
}

async fn verify(connection: &mut Connection, shared: &Shared, project: ProjectId) -> sqlx::Result<Verified> {
    let mut verified = Verified::NOTHING;
    let row = sqlx::query("SELECT * FROM audit_logs WHERE project = $1").bind(project.0);
    let Some(row) = row.fetch_optional(&mut *connection).await? else {
        // Entries whose log is gone have lost their key.
        let left = sqlx::query("SELECT 1 FROM audit_chain WHERE project = $1 LIMIT 1").bind(project.0);
        let left = left.fetch_optional(connection).await?;
        return Ok(Verified { broken: left.map(|_| Broken::Ends), ..verified });
    };
    let Log { key, ends, seal } = log(&row, shared, project)?;
    verified.last = (ends.last, ends.link);
    let mut walk = match Walk::new(key, ends, &seal) {
        Ok(walk) => walk,
        Err(broken) => return Ok(Verified { broken: Some(broken), ..verified }),
    };
    let mut after = ends.first_before as i64;
    loop {
        let mut sql = QueryBuilder::<Db>::new(SELECT);
        sql.push_bind(project.0).push(" AND c.number > ").push_bind(after);
        sql.push(" ORDER BY c.number LIMIT ").push_bind(STEP);
        let rows = sql.build().fetch_all(&mut *connection).await?;
        for row in &rows {
            let next = linked(row)?;
            if let Err(broken) = walk.step(&next) {
                return Ok(Verified { broken: Some(broken), ..verified });
            }
            verified.entries += 1;
            verified.erased += u64::from(matches!(next.content, Kept::Erased(..)));
            after = next.number as i64;
        }
        if (rows.len() as i64) < STEP {
            return Ok(Verified { broken: walk.finish().err(), ..verified });
        }
    }
}

/// Forgets the oldest entries of one project, at most `limit`.
async fn forget(
    connection: &mut Connection,
    shared: &Shared,
    project: ProjectId,
    before: Timestamp,
    limit: u32,
) -> sqlx::Result<u64> {
    let log = locked(connection, shared, project).await?;
    // What was changed is kept, to be found.
    let changed = |number| {
        tracing::error!(project.id = %project.0, number, "the audit log was changed: nothing of it is forgotten");
    };
    if !log.is_sealed() {
        changed(log.ends.last);
        return Ok(0);
    }
    let mut ends = log.ends;
    let rows = sqlx::query(
        "SELECT number, at, digest, link FROM audit_chain WHERE project = $1 AND number > $2 ORDER BY number LIMIT $3",
    )
    .bind(project.0)
    .bind(ends.first_before as i64)
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await?;
    let mut forgotten = 0;
    for row in &rows {
        let (number, at, link) = (number(row, "number")?, time(row, "at")?, hash(row, "link")?);
        if at >= before {
            break;
        }
        if log.key.link(number, at, &hash(row, "digest")?, &ends.before) != link {
            changed(number);
            break;
        }
        (ends.first_before, ends.before) = (number, link);
        forgotten += 1;
    }
    if forgotten == 0 {
        return Ok(0);
    }
    for sql in [
        "DELETE FROM audit_contents WHERE project = $1 AND number <= $2",
        "DELETE FROM audit_chain WHERE project = $1 AND number <= $2",
    ] {
        let delete = sqlx::query(sql).bind(project.0).bind(ends.first_before as i64);
        delete.execute(&mut *connection).await?;
    }
    set_ends(connection, project, &log, &ends).await?;
    Ok(forgotten)
}

#[async_trait]
impl Audit for Store {
    async fn record(&self, project: ProjectId, entry: Entry) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        self.edit(move |connection| async move { append(connection, &shared, project, entry).await }.boxed())
            .await
    }

    async fn list_audit(
        &self,
        view: View,
        wanted: &AuditFilter,
        page: PageRequest,
    ) -> Result<Page<Recorded>> {
        let mut sql = conditions(view, wanted);
        filter::page_of_numbers(&mut sql, "c.number", page);
        let failed = || store_error("list the audit log");
        let rows = sql.build().fetch_all(&self.readers).await.map_err(failed())?;
        let found = rows.iter().map(recorded).collect::<sqlx::Result<_>>().map_err(failed())?;
        Ok(Page::from_overfull(found, page.limit, |one: &Recorded| Uuid::from_u128(one.number.into())))
    }

    async fn verify_audit(&self, project: ProjectId) -> Result<Verified> {
        let failed = || store_error("check the audit log");
        // As of one moment: entries are added meanwhile.
        let mut snapshot = self.lookouts().begin_with(statements::BEGIN_READING).await.map_err(failed())?;
        let verified = verify(&mut snapshot, &self.shared, project).await.map_err(failed())?;
        snapshot.rollback().await.map_err(failed())?;
        Ok(verified)
    }

    async fn forget_audit(&self, before: Timestamp, limit: u32) -> Result<u64> {
        let failed = || store_error("look for old entries of the audit log");
        let old = sqlx::query_scalar(
            "SELECT DISTINCT l.project FROM audit_logs l JOIN audit_chain c \
             ON c.project = l.project AND c.number = l.first_before + 1 WHERE c.at < $1",
        );
        let old: Vec<Uuid> = old.bind(before.as_micros()).fetch_all(&self.readers).await.map_err(failed())?;
        let mut forgotten = 0;
        for project in old.into_iter().map(ProjectId) {
            let shared = Arc::clone(&self.shared);
            forgotten += self
                .edit(move |connection| {
                    async move { forget(connection, &shared, project, before, limit).await }.boxed()
                })
                .await?;
        }
        Ok(forgotten)
    }
}
