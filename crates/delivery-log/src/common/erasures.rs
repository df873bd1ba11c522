//! Erasures, step by step: each is one transaction, and a bounded one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::{QueryBuilder, Row as _};
use uuid::Uuid;

use model::audit::Entry;
use model::clock::Timestamp;
use model::erasure::{Erased, Erasure, ErasureState};
use model::ids::{self, DeliveryId, EndpointId, ErasureId, PortalSessionId, ProjectId, TenantId};
use model::names::{Subject, TenantHandle};
use model::operations;

use super::configuration::next_version;
use super::idempotency::Outcome;
use super::rows::{coded, hash, json, parsed, time, to_json, uuid};
use super::{
    Connection, Db, Row, Shared, Store, audit, erasing, filter, replays, statements, store_error, tenants,
};
use crate::erasures::{ErasureBegun, ErasureStep, Erasures};
use crate::idempotency::{KeySpace, Once, Performed, Principal, SpacedKey};
use crate::page::{Page, PageRequest};
use crate::tenants::Tenant;
use crate::{Edited, Result, View};

/// So many idempotency keys are looked at in one step.
const KEYS_AT_ONCE: i64 = 5_000;
/// So many other rows are removed in one step. An entry of the audit log may be large.
const ROWS_AT_ONCE: i64 = 200;
/// So many endpoints are looked for at once in what operators were told.
const ENDPOINTS_AT_ONCE: usize = 200;

/// By how much the clock of a process that publishes may be ahead: events of a subject
/// that come so soon after an erasure was asked for are erased, too.
const CLOCKS_APART: Duration = Duration::from_secs(60);

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
        run("UPDATE tenants SET handle = '', name = '', metadata = '{}', contacts = '[]', version = $1 \
             WHERE id = $2")
        .execute(&mut *connection)
        .await?;
        erased.endpoints += run(erasing::SCRUB_ENDPOINTS).execute(&mut *connection).await?.rows_affected();
        let keys = run("UPDATE api_keys SET name = '', allowed_networks = '[]', last_used_from = NULL, \
                        last_used_at = NULL, version = $1 WHERE tenant = $2");
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

/// The operators of a project.
async fn operators(connection: &mut Connection, project: ProjectId) -> sqlx::Result<Option<TenantId>> {
    let found: Option<Uuid> = sqlx::query_scalar("SELECT id FROM tenants WHERE project = $1 AND handle = $2")
        .bind(project.0)
        .bind(operations::handle().as_str())
        .fetch_optional(connection)
        .await?;
    Ok(found.map(TenantId))
}

/// Removes events, at most about `limit`, with all that belongs to them.
async fn remove_events(connection: &mut Connection, wanted: &Erasure, limit: u32) -> sqlx::Result<Removed> {
    let subject: Option<Vec<String>> = wanted.subject.as_ref().map(|subject| vec![subject.to_string()]);
    // A tenant that is gone gets no more events; a subject may, and those are not meant.
    let beyond = wanted.subject.as_ref().map(|_| ids::first_at(wanted.created_at.plus(CLOCKS_APART)));
    for tenant in &wanted.tenants {
        let removed = erasing::remove_events(connection, *tenant, subject.as_deref(), beyond, limit).await?;
        if !removed.is_nothing() {
            return Ok(removed);
        }
    }
    if wanted.subject.is_none()
        && let Some(operators) = operators(connection, wanted.project).await?
    {
        return remove_notices(connection, operators, wanted, limit).await;
    }
    Ok(Removed::default())
}

/// Removes what operators were told of the endpoints of a tenant: the subjects of
/// these events are their ids.
async fn remove_notices(
    connection: &mut Connection,
    operators: TenantId,
    wanted: &Erasure,
    limit: u32,
) -> sqlx::Result<Removed> {
    for tenant in &wanted.tenants {
        let endpoints: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM endpoints WHERE tenant = $1")
            .bind(tenant.0)
            .fetch_all(&mut *connection)
            .await?;
        for some in endpoints.chunks(ENDPOINTS_AT_ONCE) {
            let subjects: Vec<String> = some.iter().map(|id| EndpointId(*id).to_string()).collect();
            let removed = erasing::remove_events(connection, operators, Some(&subjects), None, limit).await?;
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

/// The condition that a column of JSON names the subject, where there is one.
fn names_subject(sql: &mut QueryBuilder<Db>, column: &'static str, wanted: &Erasure) {
    if let Some(subject) = &wanted.subject {
        let member = format!("\"subject\":{}", to_json(&subject.as_str()));
        sql.push(" AND ").push(statements::PLACE_IN).push("(").push(column).push(", ");
        sql.push_bind(member).push(") > 0");
    }
}

/// Some rows of the tenants: any, or those whose JSON names the subject.
async fn some_rows(
    connection: &mut Connection,
    wanted: &Erasure,
    table: &'static str,
    column: &'static str,
) -> sqlx::Result<Vec<Uuid>> {
    let mut found = Vec::new();
    for tenant in &wanted.tenants {
        let mut sql = QueryBuilder::<Db>::new("SELECT id FROM ");
        sql.push(table).push(" WHERE project = ").push_bind(wanted.project.0);
        sql.push(" AND tenant = ").push_bind(tenant.0);
        names_subject(&mut sql, column, wanted);
        sql.push(" LIMIT ").push_bind(ROWS_AT_ONCE);
        found.extend(sql.build_query_scalar::<Uuid>().fetch_all(&mut *connection).await?);
    }
    Ok(found)
}

/// Removes some of what waits in quarantine.
async fn remove_quarantined(connection: &mut Connection, wanted: &Erasure) -> sqlx::Result<u64> {
    let held = some_rows(connection, wanted, "quarantine", "definition").await?;
    for id in &held {
        sqlx::query("DELETE FROM quarantine WHERE id = $1").bind(id).execute(&mut *connection).await?;
    }
    Ok(held.len() as u64)
}

/// Removes some replays.
async fn remove_replays(connection: &mut Connection, wanted: &Erasure) -> sqlx::Result<u64> {
    let old = some_rows(connection, wanted, "replays", "filter").await?;
    replays::remove(connection, &old).await?;
    Ok(old.len() as u64)
}

/// Removes some of what the audit log says of the tenants, or of the subject. The
/// places in the chain stay, and are marked.
async fn remove_audit(connection: &mut Connection, shared: &Shared, wanted: &Erasure) -> sqlx::Result<u64> {
    // Entries are written and forgotten under the same lock.
    let log = audit::locked(connection, shared, wanted.project).await?;
    let mut removed = 0;
    for tenant in &wanted.tenants {
        let mut sql = QueryBuilder::<Db>::new(
            "SELECT c.number, c.digest FROM audit_contents t JOIN audit_chain c \
             ON c.project = t.project AND c.number = t.number WHERE t.project = ",
        );
        sql.push_bind(wanted.project.0).push(" AND t.tenant = ").push_bind(tenant.0);
        names_subject(&mut sql, "t.content", wanted);
        sql.push(" LIMIT ").push_bind(ROWS_AT_ONCE);
        for row in sql.build().fetch_all(&mut *connection).await? {
            let number: i64 = row.try_get("number")?;
            let mark = log.key.mark_erased(number as u64, &hash(&row, "digest")?, wanted.id);
            sqlx::query("UPDATE audit_chain SET erasure = $3, mark = $4 WHERE project = $1 AND number = $2")
                .bind(wanted.project.0)
                .bind(number)
                .bind(wanted.id.0)
                .bind(mark.as_slice())
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

/// What the keys of the tenants and of their portal sessions begin with.
async fn key_spaces(connection: &mut Connection, wanted: &Erasure) -> sqlx::Result<HashSet<String>> {
    let mut spaces = HashSet::new();
    if wanted.subject.is_some() {
        return Ok(spaces);
    }
    for tenant in &wanted.tenants {
        let sessions: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM portal_sessions WHERE tenant = $1")
            .bind(tenant.0)
            .fetch_all(&mut *connection)
            .await?;
        let sessions = sessions.into_iter().map(|id| Principal::Session(PortalSessionId(id)));
        for own in sessions.chain([Principal::Tenant(*tenant)]) {
            spaces.extend([KeySpace::Publishes(own), KeySpace::Requests(own)].map(SpacedKey::prefix));
        }
    }
    Ok(spaces)
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
    let of_events = sqlx::query(
        "DELETE FROM idempotency_keys WHERE project = $1 AND key > $2 AND key <= $3 \
         AND event IN (SELECT event FROM erased_events WHERE erasure = $4)",
    );
    let of_events = of_events.bind(wanted.project.0).bind(&after).bind(last).bind(wanted.id.0);
    let mut removed = of_events.execute(&mut *connection).await?.rows_affected();
    let spaces = key_spaces(connection, wanted).await?;
    for key in keys.iter().filter(|key| spaces.contains(SpacedKey::space_of(key))) {
        let own = sqlx::query("DELETE FROM idempotency_keys WHERE project = $1 AND key = $2");
        removed += own.bind(wanted.project.0).bind(key).execute(&mut *connection).await?.rows_affected();
    }
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

/// How far one step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There may be more to remove.
    More,
    /// Somebody may have a call under way.
    CallsUnderWay,
    /// All rows are gone.
    AllGone,
    /// And so are their traces.
    Completed,
}

/// What a step came to: the erasure, how far it is, and the deliveries that lanes must
/// not send any more.
type Advanced = (Erasure, Progress, Vec<(EndpointId, DeliveryId)>);

/// One step.
async fn advance(
    connection: &mut Connection,
    shared: &Shared,
    id: ErasureId,
    limit: u32,
) -> sqlx::Result<Option<Advanced>> {
    let Some(mut stands) = locked(connection, id).await? else { return Ok(None) };
    if stands.state == ErasureState::Completed {
        return Ok(Some((stands, Progress::Completed, Vec::new())));
    }
    let removed = remove_events(connection, &stands, limit).await?;
    if !removed.events.is_empty() {
        note_events(connection, id, &removed.events).await?;
        // Their keys may be among those that were looked at.
        sqlx::query("UPDATE erasures SET key_after = '' WHERE id = $1")
            .bind(id.0)
            .execute(&mut *connection)
            .await?;
    }
    stands.erased.events += removed.events.len() as u64;
    stands.erased.deliveries += removed.deliveries;
    stands.erased.attempts += removed.attempts;
    let progress = match removed.is_nothing() {
        true => remove_the_rest(connection, shared, &mut stands).await?,
        false => Progress::More,
    };
    stands.updated_at = shared.env.now();
    save(connection, &stands).await?;
    Ok(Some((stands, progress, removed.withdrawn)))
}

/// An erasure, with which nobody else goes on until this transaction ends.
async fn locked(connection: &mut Connection, id: ErasureId) -> sqlx::Result<Option<Erasure>> {
    let mut sql = QueryBuilder::<Db>::new("SELECT * FROM erasures WHERE id = ");
    sql.push_bind(id.0).push(statements::FOR_UPDATE);
    sql.build().fetch_optional(connection).await?.as_ref().map(erasure).transpose()
}

/// An erasure has ended, unless somebody else has said so before.
async fn complete(connection: &mut Connection, id: ErasureId, now: Timestamp) -> sqlx::Result<Erasure> {
    let mut stands = locked(connection, id).await?.ok_or(sqlx::Error::RowNotFound)?;
    if stands.state == ErasureState::Running {
        (stands.state, stands.updated_at) = (ErasureState::Completed, now);
        save(connection, &stands).await?;
    }
    Ok(stands)
}

/// Removes some of what there is beside events.
async fn remove_the_rest(
    connection: &mut Connection,
    shared: &Shared,
    stands: &mut Erasure,
) -> sqlx::Result<Progress> {
    let (keys, all_keys) = remove_keys(connection, stands).await?;
    stands.erased.idempotency_keys += keys;
    if !all_keys {
        return Ok(Progress::More);
    }
    let quarantined = remove_quarantined(connection, stands).await?;
    let replays = remove_replays(connection, stands).await?;
    let entries = remove_audit(connection, shared, stands).await?;
    stands.erased.quarantined += quarantined;
    stands.erased.replays += replays;
    stands.erased.audit_entries += entries;
    if quarantined + replays + entries > 0 {
        return Ok(Progress::More);
    }
    if !remove_lanes(connection, stands).await? {
        return Ok(Progress::CallsUnderWay);
    }
    // How far it was is somebody's key, too.
    for sql in
        ["DELETE FROM erased_events WHERE erasure = $1", "UPDATE erasures SET key_after = '' WHERE id = $1"]
    {
        sqlx::query(sql).bind(stands.id.0).execute(&mut *connection).await?;
    }
    Ok(Progress::AllGone)
}

async fn save(connection: &mut Connection, stands: &Erasure) -> sqlx::Result<()> {
    sqlx::query("UPDATE erasures SET state = $2, erased = $3, updated_at = $4 WHERE id = $1")
        .bind(stands.id.0)
        .bind(stands.state.code())
        .bind(to_json(&stands.erased))
        .bind(stands.updated_at.as_micros())
        .execute(connection)
        .await
        .map(|_| ())
}

/// Those whom a view may see: a tenant that is there sees erasures of its subjects.
fn visible(view: View) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new("SELECT * FROM erasures WHERE project = ");
    sql.push_bind(view.project.0);
    if let Some(own) = view.tenant {
        sql.push(" AND subject IS NOT NULL AND ").push(statements::PLACE_IN).push("(tenants, ");
        sql.push_bind(to_json(&own.0)).push(") > 0");
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
        let shared = Arc::clone(&self.shared);
        let step =
            self.edit(move |connection| async move { advance(connection, &shared, id, limit).await }.boxed());
        let Some((stands, progress, withdrawn)) = step.await? else { return Ok(None) };
        let hand_off = self.shared.hand_off.get();
        withdrawn.iter().for_each(|(endpoint, delivery)| hand_off.withdraw(*endpoint, *delivery));
        Ok(Some(match progress {
            Progress::More => ErasureStep::GoesOn(stands),
            Progress::CallsUnderWay => ErasureStep::Waits(stands),
            Progress::Completed => ErasureStep::Ended(stands),
            // Whoever reads an old state of the store keeps its traces.
            Progress::AllGone if !self.leave_no_trace().await? => ErasureStep::Waits(stands),
            Progress::AllGone => {
                let now = self.shared.env.now();
                let done = self.edit(move |connection| complete(connection, id, now).boxed());
                ErasureStep::Ended(done.await?)
            }
        }))
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
