//! Retry policies.

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::Row as _;

use model::audit::Entry;
use model::clock::Timestamp;
use model::ids::ProjectId;
use model::retry::MAX_POLICIES;

use super::configuration::next_version;
use super::idempotency::Outcome;
use super::rows::{json, time, to_json, uuid};
use super::{Connection, Row, Store, store_error};
use crate::Result;
use crate::idempotency::{Once, Performed};
use crate::policies::{NamedPolicy, Policies, PolicyRemoved, PolicySaved};

pub(crate) fn policy(row: &Row) -> sqlx::Result<NamedPolicy> {
    Ok(NamedPolicy {
        project: ProjectId(uuid(row, "project")?),
        name: row.try_get("name")?,
        policy: json(row, "definition")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

async fn save(
    connection: &mut Connection,
    new: &NamedPolicy,
    expected: Option<Timestamp>,
) -> sqlx::Result<PolicySaved> {
    let version = next_version(connection).await?;
    let (sql, refused) = match expected {
        // One that was removed may come again.
        None => (
            "INSERT INTO retry_policies AS r (project, name, definition, created_at, updated_at, version) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (project, name) DO UPDATE SET \
             definition = excluded.definition, created_at = excluded.created_at, \
             updated_at = excluded.updated_at, version = excluded.version, deleted_at = NULL \
             WHERE r.deleted_at IS NOT NULL",
            PolicySaved::Taken,
        ),
        Some(_) => (
            "UPDATE retry_policies SET definition = $3, created_at = $4, updated_at = $5, version = $6 \
             WHERE project = $1 AND name = $2 AND updated_at = $7 AND deleted_at IS NULL",
            PolicySaved::Changed,
        ),
    };
    if expected.is_none() {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM retry_policies WHERE project = $1 AND deleted_at IS NULL",
        )
        .bind(new.project.0)
        .fetch_one(&mut *connection)
        .await?;
        if count as usize >= MAX_POLICIES {
            return Ok(PolicySaved::TooMany);
        }
    }
    let query = sqlx::query(sql)
        .bind(new.project.0)
        .bind(&new.name)
        .bind(to_json(&new.policy))
        .bind(new.created_at.as_micros())
        .bind(new.updated_at.as_micros())
        .bind(version);
    let query = match expected {
        Some(expected) => query.bind(expected.as_micros()),
        None => query,
    };
    let done = query.execute(connection).await?;
    Ok(if done.rows_affected() == 1 { PolicySaved::Done } else { refused })
}

async fn remove(
    connection: &mut Connection,
    project: ProjectId,
    name: &str,
    now: Timestamp,
) -> sqlx::Result<PolicyRemoved> {
    let version = next_version(connection).await?;
    let options: Vec<String> =
        sqlx::query_scalar("SELECT options FROM endpoints WHERE project = $1 AND deleted_at IS NULL")
            .bind(project.0)
            .fetch_all(&mut *connection)
            .await?;
    let uses = |text: &&String| {
        serde_json::from_str::<model::calls::CallOptions>(text).is_ok_and(|calls| calls.retry_policy == name)
    };
    let users = options.iter().filter(uses).count() as u64;
    if users > 0 {
        return Ok(PolicyRemoved::InUse(users));
    }
    let done = sqlx::query(
        "UPDATE retry_policies SET deleted_at = $1, version = $2 \
         WHERE project = $3 AND name = $4 AND deleted_at IS NULL",
    )
    .bind(now.as_micros())
    .bind(version)
    .bind(project.0)
    .bind(name)
    .execute(connection)
    .await?;
    Ok(if done.rows_affected() == 1 { PolicyRemoved::Done } else { PolicyRemoved::NotFound })
}

#[async_trait]
impl Policies for Store {
    async fn list_policies(&self, project: ProjectId) -> Result<Vec<NamedPolicy>> {
        let rows = sqlx::query(
            "SELECT * FROM retry_policies WHERE project = $1 AND deleted_at IS NULL ORDER BY name",
        )
        .bind(project.0)
        .fetch_all(&self.readers)
        .await
        .map_err(store_error("list retry policies"))?;
        rows.iter().map(policy).collect::<sqlx::Result<_>>().map_err(store_error("read retry policies"))
    }

    async fn save_policy(
        &self,
        new: &NamedPolicy,
        expected: Option<Timestamp>,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<PolicySaved>> {
        let new = new.clone();
        self.perform(new.project, once, Some(entry), move |connection| {
            async move { Ok(Outcome::done_if(PolicySaved::Done, save(connection, &new, expected).await?)) }
                .boxed()
        })
        .await
    }

    async fn remove_policy(&self, project: ProjectId, name: &str, entry: Entry) -> Result<PolicyRemoved> {
        let (name, now) = (name.to_owned(), self.shared.env.now());
        self.perform_always(project, entry, move |connection| {
            async move {
                Ok(Outcome::done_if(PolicyRemoved::Done, remove(connection, project, &name, now).await?))
            }
            .boxed()
        })
        .await
    }
}
