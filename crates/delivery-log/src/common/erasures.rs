//! Erasures, step by step: each is one transaction, and a bounded one.

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::{QueryBuilder, Row as _};
use uuid::Uuid;

use model::audit::Entry;
use model::clock::Timestamp;
use model::erasure::{Erased, Erasure, ErasureState};
use model::ids::{DeliveryId, EndpointId, ErasureId, ProjectId, TenantId};
use model::names::{Subject, TenantHandle};
use model::operations;

use super::configuration::next_version;
use super::idempotency::Outcome;
use super::rows::{coded, json, parsed, time, to_json, uuid};
use super::{Connection, Db, Row, Store, erasing, filter, statements, store_error, tenants};
use crate::erasures::{ErasureBegun, ErasureStep, Erasures};
use crate::idempotency::{KeySpace, Once, Performed, Principal, SpacedKey};
use crate::page::{Page, PageRequest};
use crate::tenants::Tenant;
use crate::{Edited, Result, View};

/// So many idempotency keys are looked at in one step.
const KEYS_AT_ONCE: i64 = 5_000;

/// What one step over events has removed.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// The events.
    pub(crate) events: Vec<Uuid>,
    /// How many deliveries, of those and of others.
    pub(crate) deliveries: u64,
    /// How many attempts.
    pub(crate) attempts: u64,
    /// Those that waited, whom their lanes must not send any more.
    pub(crate) withdrawn: Vec<(EndpointId, DeliveryId)>,
}

impl Removed {
    fn is_nothing(&self) -> bool {
        self.events.is_empty() && self.deliveries == 0
    }
}

fn erasure(row: &Row) -> sqlx::Result<Erasure> {
    let tenants: Vec<Uuid> = json(row, "tenants")?;
    let subject: Option<&str> = row.try_get("subject")?;
    Ok(Erasure {
        id: ErasureId(uuid(row, "id")?),
        project: ProjectId(uuid(row, "project")?),
        handle: parsed(row, "handle", TenantHandle::parse)?,
        tenants: tenants.into_iter().map(TenantId).collect(),
        subject: subject.map(|_| parsed(row, "subject", Subject::parse)).transpose()?,
        reason: row.try_get("reason")?,
        state: coded(row, "state", ErasureState::from_code)?,
        erased: json(row, "erased")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

async fn insert(connection: &mut Connection, new: &Erasure) -> sqlx::Result<()> {
    let tenants: Vec<Uuid> = new.tenants.iter().map(|tenant| tenant.0).collect();
    sqlx::query(
        "INSERT INTO erasures (id, project, handle, tenants, subject, reason, state, erased, key_after, \
         created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', $9, $10)",
    )
    .bind(new.id.0)
    .bind(new.project.0)
    .bind(new.handle.as_str())
    .bind(to_json(&tenants))
    .bind(new.subject.as_ref().map(Subject::as_str))
    .bind(&new.reason)
    .bind(new.state.code())
    .bind(to_json(&new.erased))
    .bind(new.created_at.as_micros())
    .bind(new.updated_at.as_micros())
    .execute(connection)
    .await
    .map(|_| ())
}

/// Takes away what tenants are known by. The rows stay, so that other processes
/// learn that they are gone.
async fn scrub(connection: &mut Connection, wanted: &Erasure) -> sqlx::Result<Erased> {
    let version = next_version(connection).await?;
    let mut erased = Erased::default();
    for tenant in &wanted.tenants {
        let run = |sql: &'static str| sqlx::query(sql).bind(version).bind(tenant.0);
        run(
            "UPDATE tenants SET handle = 'erased', name = '', metadata = '{}', contacts = '[]', version = $1 \
             WHERE id = $2",
        )
        .execute(&mut *connection)
        .await?;
        erased.endpoints += run(erasing::SCRUB_ENDPOINTS).execute(&mut *connection).await?.rows_affected();
        let keys = run("UPDATE api_keys SET name = '', allowed_networks = '[]', last_used_from = NULL, \
                        version = $1 WHERE tenant = $2");
        erased.api_keys += keys.execute(&mut *connection).await?.rows_affected();
        let sessions =
            run("UPDATE portal_sessions SET origins = '[]', theme = '{}', locale = NULL, page = NULL, \
                            version = $1 WHERE tenant = $2");
        erased.portal_sessions += sessions.execute(&mut *connection).await?.rows_affected();
        sqlx::query("DELETE FROM tenant_sequences WHERE tenant = $1")
            .bind(tenant.0)
            .execute(&mut *connection)
            .await?;
    }
    Ok(erased)
}

/// Events of operators tell of endpoints by their ids.
async fn notices(connection: &mut Connection, wanted: &Erasure) -> sqlx::Result<Vec<(TenantId, Subject)>> {
    let operators: Option<Uuid> =
        sqlx::query_scalar("SELECT id FROM tenants WHERE project = $1 AND handle = $2")
            .bind(wanted.project.0)
            .bind(operations::handle().as_str())
            .fetch_optional(&mut *connection)
            .await?;
    let Some(operators) = operators.map(TenantId) else { return Ok(Vec::new()) };
    let mut about = Vec::new();
    for tenant in &wanted.tenants {
        let endpoints: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM endpoints WHERE tenant = $1")
            .bind(tenant.0)
            .fetch_all(&mut *connection)
            .await?;
        let ids = endpoints.into_iter().map(|id| EndpointId(id).to_string());
        about.extend(ids.filter_map(|id| Subject::parse(&id).ok()).map(|subject| (operators, subject)));
    }
    Ok(about)
}

/// Removes events, at most about `limit`, with all that belongs to them.
async fn remove_events(connection: &mut Connection, wanted: &Erasure, limit: u32) -> sqlx::Result<Removed> {
    for tenant in &wanted.tenants {
        let removed =
            erasing::remove_events(connection, *tenant, wanted.subject.as_ref(), wanted.id, limit).await?;
        if !removed.is_nothing() {
            return Ok(removed);
        }
    }
    if wanted.subject.is_none() {
        for (operators, subject) in notices(connection, wanted).await? {
            let removed =
                erasing::remove_events(connection, operators, Some(&subject), wanted.id, limit).await?;
            if !removed.is_nothing() {
                return Ok(removed);
            }
        }
    }
    Ok(Removed::default())
}

/// Notes which events are gone, until their idempotency keys are, too.
async fn note_events(connection: &mut Connection, id: ErasureId, events: &[Uuid]) -> sqlx::Result<()> {
    for event in events {
        sqlx::query("INSERT INTO erased_events (erasure, event) VALUES ($1, $2)")
            .bind(id.0)
            .bind(event)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Removes what waits in quarantine.
async fn remove_quarantined(connection: &mut Connection, wanted: &Erasure) -> sqlx::Result<u64> {
    let is_about = |definition: &serde_json::Value| {
        wanted.subject.as_ref().is_none_or(|subject| definition["subject"] == subject.as_str())
    };
    remove_where(connection, wanted, "quarantine", "definition", is_about).await
}

/// Removes replays of the tenant, or those alone whose filter names the subject.
async fn remove_replays(connection: &mut Connection, wanted: &Erasure) -> sqlx::Result<u64> {
    let is_about = |filter: &serde_json::Value| {
        wanted.subject.as_ref().is_none_or(|subject| filter["subject"] == subject.as_str())
    };
    remove_where(connection, wanted, "replays", "filter", is_about).await
}

/// Removes rows of the tenants whose JSON is about what is erased.
async fn remove_where(
    connection: &mut Connection,
    wanted: &Erasure,
    table: &'static str,
    column: &'static str,
    is_about: impl Fn(&serde_json::Value) -> bool,
) -> sqlx::Result<u64> {
    let mut removed = 0;
    for tenant in &wanted.tenants {
        let mut sql = QueryBuilder::<Db>::new("SELECT id, ");
        sql.push(column).push(" FROM ").push(table).push(" WHERE project = ").push_bind(wanted.project.0);
        sql.push(" AND tenant = ").push_bind(tenant.0);
        for row in sql.build().fetch_all(&mut *connection).await? {
            if !is_about(&json(&row, column)?) {
                continue;
            }
            let mut delete = QueryBuilder::<Db>::new("DELETE FROM ");
            delete.push(table).push(" WHERE id = ").push_bind(uuid(&row, "id")?);
            removed += delete.build().execute(&mut *connection).await?.rows_affected();
        }
    }
    Ok(removed)
}

/// Removes what the audit log says of the tenants, or of replays by the subject.
/// The chain stays.
async fn remove_audit(connection: &mut Connection, wanted: &Erasure) -> sqlx::Result<u64> {
    let mut removed = 0;
    for tenant in &wanted.tenants {
        let rows =
            sqlx::query("SELECT number, content FROM audit_contents WHERE project = $1 AND tenant = $2")
                .bind(wanted.project.0)
                .bind(tenant.0)
                .fetch_all(&mut *connection)
                .await?;
        for row in rows {
            let content: serde_json::Value = json(&row, "content")?;
            let is_about = |subject: &Subject| content["after"]["filter"]["subject"] == subject.as_str();
            if wanted.subject.as_ref().is_some_and(|subject| !is_about(subject)) {
                continue;
            }
            let number: i64 = row.try_get("number")?;
            sqlx::query("UPDATE audit_chain SET erasure = $3 WHERE project = $1 AND number = $2")
                .bind(wanted.project.0)
                .bind(number)
                .bind(wanted.id.0)
                .execute(&mut *connection)
                .await?;
            sqlx::query("DELETE FROM audit_contents WHERE project = $1 AND number = $2")
                .bind(wanted.project.0)
                .bind(number)
                .execute(&mut *connection)
                .await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes idempotency keys of events that are gone, and of requests by the tenants.
/// Gives how many, and whether all keys have been looked at.
async fn remove_keys(connection: &mut Connection, wanted: &Erasure) -> sqlx::Result<(u64, bool)> {
    let after: String = sqlx::query_scalar("SELECT key_after FROM erasures WHERE id = $1")
        .bind(wanted.id.0)
        .fetch_one(&mut *connection)
        .await?;
    let keys: Vec<String> = sqlx::query_scalar(
        "SELECT key FROM idempotency_keys WHERE project = $1 AND key > $2 ORDER BY key LIMIT $3",
    )
    .bind(wanted.project.0)
    .bind(&after)
    .bind(KEYS_AT_ONCE)
    .fetch_all(&mut *connection)
    .await?;
    let Some(last) = keys.last() else { return Ok((0, true)) };
    let mut sql = QueryBuilder::<Db>::new("DELETE FROM idempotency_keys WHERE project = ");
    sql.push_bind(wanted.project.0)
        .push(" AND key > ")
        .push_bind(after)
        .push(" AND key <= ")
        .push_bind(last.clone());
    sql.push(" AND (event IN (SELECT event FROM erased_events WHERE erasure = ")
        .push_bind(wanted.id.0)
        .push(")");
    let spaces = wanted.tenants.iter().filter(|_| wanted.subject.is_none()).flat_map(|tenant| {
        let own = Principal::Tenant(*tenant);
        [KeySpace::Publishes(own), KeySpace::Requests(own)]
    });
    for space in spaces {
        let prefix = SpacedKey::prefix(space);
        let length = prefix.chars().count() as i32;
        sql.push(" OR substr(key, 1, ").push_bind(length).push(") = ").push_bind(prefix);
    }
    sql.push(")");
    let removed = sql.build().execute(&mut *connection).await?.rows_affected();
    sqlx::query("UPDATE erasures SET key_after = $2 WHERE id = $1")
        .bind(wanted.id.0)
        .bind(last)
        .execute(connection)
        .await?;
    Ok((removed, (keys.len() as i64) < KEYS_AT_ONCE))
}

/// Forgets the lanes of endpoints that are gone. Those that somebody owns may have a
/// call under way, whose end would be written there.
async fn remove_lanes(connection: &mut Connection, wanted: &Erasure) -> sqlx::Result<bool> {
    if wanted.subject.is_some() {
        return Ok(true);
    }
    let mut left = 0;
    for tenant in &wanted.tenants {
        sqlx::query(
            "DELETE FROM lanes WHERE owner IS NULL AND endpoint IN (SELECT id FROM endpoints WHERE tenant = $1)",
        )
        .bind(tenant.0)
        .execute(&mut *connection)
        .await?;
        let owned: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM lanes WHERE endpoint IN (SELECT id FROM endpoints WHERE tenant = $1)",
        )
        .bind(tenant.0)
        .fetch_one(&mut *connection)
        .await?;
        left += owned;
    }
    Ok(left == 0)
}

/// One step, with the deliveries that lanes must not send any more.
async fn advance(
    connection: &mut Connection,
    id: ErasureId,
    limit: u32,
    now: Timestamp,
) -> sqlx::Result<Option<(ErasureStep, Vec<(EndpointId, DeliveryId)>)>> {
    let mut sql = QueryBuilder::<Db>::new("SELECT * FROM erasures WHERE id = ");
    sql.push_bind(id.0).push(statements::FOR_UPDATE);
    let row = sql.build().fetch_optional(&mut *connection).await?;
    let Some(mut stands) = row.as_ref().map(erasure).transpose()? else { return Ok(None) };
    if stands.state == ErasureState::Completed {
        return Ok(Some((ErasureStep::Ended(stands), Vec::new())));
    }
    let removed = remove_events(connection, &stands, limit).await?;
    note_events(connection, id, &removed.events).await?;
    stands.erased.events += removed.events.len() as u64;
    stands.erased.deliveries += removed.deliveries;
    stands.erased.attempts += removed.attempts;
    let mut waits = false;
    if removed.is_nothing() {
        let (keys, all_keys) = remove_keys(connection, &stands).await?;
        stands.erased.idempotency_keys += keys;
        if all_keys {
            stands.erased.quarantined += remove_quarantined(connection, &stands).await?;
            stands.erased.replays += remove_replays(connection, &stands).await?;
            stands.erased.audit_entries += remove_audit(connection, &stands).await?;
            if remove_lanes(connection, &stands).await? {
                stands.state = ErasureState::Completed;
                // How far it was is somebody's key, too.
                for sql in [
                    "DELETE FROM erased_events WHERE erasure = $1",
                    "UPDATE erasures SET key_after = '' WHERE id = $1",
                ] {
                    sqlx::query(sql).bind(id.0).execute(&mut *connection).await?;
                }
            }
            waits = stands.state == ErasureState::Running;
        }
    }
    stands.updated_at = now;
    sqlx::query("UPDATE erasures SET state = $2, erased = $3, updated_at = $4 WHERE id = $1")
        .bind(id.0)
        .bind(stands.state.code())
        .bind(to_json(&stands.erased))
        .bind(now.as_micros())
        .execute(connection)
        .await?;
    let step = match stands.state {
        ErasureState::Completed => ErasureStep::Ended(stands),
        ErasureState::Running if waits => ErasureStep::Waits(stands),
        ErasureState::Running => ErasureStep::GoesOn(stands),
    };
    Ok(Some((step, removed.withdrawn)))
}

/// Those whom a view may see: a tenant that is there sees erasures of its subjects.
fn visible(view: View) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new("SELECT * FROM erasures WHERE project = ");
    sql.push_bind(view.project.0);
    if let Some(own) = view.tenant {
        sql.push(" AND tenants = ").push_bind(to_json(&[own.0]));
    }
    sql
}

#[async_trait]
impl Erasures for Store {
    fn remains(&self) -> &'static [&'static str] {
        &erasing::REMAINS
    }

    async fn deleted_tenants(&self, project: ProjectId, handle: &TenantHandle) -> Result<Vec<Tenant>> {
        let failed = || store_error("look for deleted tenants");
        let rows = sqlx::query(
            "SELECT * FROM tenants WHERE project = $1 AND handle = $2 AND deleted_at IS NOT NULL ORDER BY id",
        )
        .bind(project.0)
        .bind(handle.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(failed())?;
        rows.iter().map(tenants::tenant).collect::<sqlx::Result<_>>().map_err(failed())
    }

    async fn begin_erasure(
        &self,
        erasure: &Erasure,
        expected: Option<Timestamp>,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<ErasureBegun>> {
        let (mut new, now) = (erasure.clone(), self.shared.env.now());
        self.perform(new.project, once, Some(entry), move |connection| {
            async move {
                if let (None, Some(expected), Some(last)) = (&new.subject, expected, new.tenants.last()) {
                    let view = View { project: new.project, tenant: None };
                    if tenants::delete(connection, view, *last, expected, now).await? == Edited::Outdated {
                        return Ok(Outcome::Refused(ErasureBegun::Outdated));
                    }
                }
                if new.subject.is_none() {
                    new.erased = scrub(connection, &new).await?;
                }
                insert(connection, &new).await?;
                Ok(Outcome::Done(ErasureBegun::Done))
            }
            .boxed()
        })
        .await
    }

    async fn advance_erasure(&self, id: ErasureId, limit: u32) -> Result<Option<ErasureStep>> {
        let now = self.shared.env.now();
        let step =
            self.edit(move |connection| async move { advance(connection, id, limit, now).await }.boxed());
        let Some((step, withdrawn)) = step.await? else { return Ok(None) };
        let hand_off = self.shared.hand_off.get();
        withdrawn.iter().for_each(|(endpoint, delivery)| hand_off.withdraw(*endpoint, *delivery));
        if let ErasureStep::Ended(_) = step {
            self.leave_no_trace().await?;
        }
        Ok(Some(step))
    }

    async fn find_erasure(&self, view: View, id: ErasureId) -> Result<Option<Erasure>> {
        let mut sql = visible(view);
        sql.push(" AND id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(&self.readers).await.map_err(store_error("find an erasure"))?;
        row.as_ref().map(erasure).transpose().map_err(store_error("read an erasure"))
    }

    async fn list_erasures(&self, view: View, page: PageRequest) -> Result<Page<Erasure>> {
        let mut sql = visible(view);
        filter::page(&mut sql, "id", page);
        let failed = || store_error("list erasures");
        let rows = sql.build().fetch_all(&self.readers).await.map_err(failed())?;
        let found = rows.iter().map(erasure).collect::<sqlx::Result<_>>().map_err(failed())?;
        Ok(Page::from_overfull(found, page.limit, |one: &Erasure| one.id.0))
    }

    async fn running_erasures(&self, limit: u32) -> Result<Vec<ErasureId>> {
        let ids = sqlx::query_scalar("SELECT id FROM erasures WHERE state = 0 ORDER BY id LIMIT $1");
        let ids: Vec<Uuid> = ids
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(store_error("look for erasures"))?;
        Ok(ids.into_iter().map(ErasureId).collect())
    }
}
