//! The catalogue of event types.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sqlx::{QueryBuilder, Row as _};

use model::audit::Entry;
use model::catalogue::{EventTypeEntry, Relation, Version, VersionStatus};
use model::clock::Timestamp;
use model::downgrade::Downgrade;
use model::event_type::EventType;
use model::ids::{EndpointId, ProjectId};
use model::schema::{Fault, Schema};

use super::columns::int;
use super::configuration::next_version;
use super::idempotency::Outcome;
use super::rows::{broken, coded, count, parsed, time, time_option, uuid};
use super::{Connection, Db, Row, Store, statements, store_error};
use crate::catalogue::{COUNTED, Catalogue, Usage};
use crate::idempotency::{Once, Performed};
use crate::{Edited, Result, View};

fn told(faults: Vec<Fault>) -> String {
    faults.into_iter().map(|fault| format!("{} {}", fault.pointer, fault.detail)).collect()
}

fn number_option(row: &Row, column: &'static str) -> sqlx::Result<Option<u32>> {
    int(row, column)?.map(|number| u32::try_from(number).map_err(|error| broken(column, error))).transpose()
}

fn version(row: &Row) -> sqlx::Result<Version> {
    let schema: &str = row.try_get("schema")?;
    let downgrade = |text: &str| {
        let source = serde_json::from_str(text).map_err(|error| broken("downgrade", error))?;
        Downgrade::parse(&source).map(Arc::new).map_err(|faults| broken("downgrade", told(faults)))
    };
    Ok(Version {
        number: count(row, "number")?,
        schema: Arc::new(Schema::from_stored(schema).map_err(|faults| broken("schema", told(faults)))?),
        example: row.try_get("example")?,
        changelog: row.try_get("changelog")?,
        status: coded(row, "status", VersionStatus::from_code)?,
        deprecated_at: time_option(row, "deprecated_at")?,
        sunset_at: time_option(row, "sunset_at")?,
        successor: number_option(row, "successor")?,
        downgrade: row.try_get::<Option<&str>, _>("downgrade")?.map(downgrade).transpose()?,
        relation: coded(row, "relation", Relation::from_code)?,
        told: count(row, "told")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// A type with its versions.
pub(crate) async fn entry(connection: &mut Connection, row: &Row) -> sqlx::Result<EventTypeEntry> {
    let project = uuid(row, "project")?;
    let name = parsed(row, "name", EventType::parse)?;
    let rows =
        sqlx::query("SELECT * FROM event_type_versions WHERE project = $1 AND name = $2 ORDER BY number")
            .bind(project)
            .bind(name.as_str())
            .fetch_all(connection)
            .await?;
    Ok(EventTypeEntry {
        project: ProjectId(project),
        name,
        description: row.try_get("description")?,
        size_budget: number_option(row, "size_budget")?,
        versions: rows.iter().map(version).collect::<sqlx::Result<_>>()?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

async fn save_type(connection: &mut Connection, entry: &EventTypeEntry, version: i64) -> sqlx::Result<()> {
    // One that was removed may come again, with versions of its own.
    sqlx::query(
        "INSERT INTO event_types (project, name, description, size_budget, created_at, updated_at, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (project, name) DO UPDATE SET \
         description = excluded.description, size_budget = excluded.size_budget, \
         created_at = excluded.created_at, updated_at = excluded.updated_at, deleted_at = NULL, \
         version = excluded.version",
    )
    .bind(entry.project.0)
    .bind(entry.name.as_str())
    .bind(&entry.description)
    .bind(entry.size_budget.map(i64::from))
    .bind(entry.created_at.as_micros())
    .bind(entry.updated_at.as_micros())
    .bind(version)
    .execute(&mut *connection)
    .await?;
    for version in &entry.versions {
        save_version(connection, entry, version).await?;
    }
    Ok(())
}

async fn save_version(
    connection: &mut Connection,
    entry: &EventTypeEntry,
    version: &Version,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO event_type_versions (project, name, number, schema, example, changelog, status, \
         deprecated_at, sunset_at, successor, downgrade, relation, told, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
         ON CONFLICT (project, name, number) DO UPDATE SET schema = excluded.schema, \
         example = excluded.example, changelog = excluded.changelog, status = excluded.status, \
         deprecated_at = excluded.deprecated_at, sunset_at = excluded.sunset_at, \
         successor = excluded.successor, downgrade = excluded.downgrade, relation = excluded.relation, \
         told = excluded.told, created_at = excluded.created_at, updated_at = excluded.updated_at",
    )
    .bind(entry.project.0)
    .bind(entry.name.as_str())
    .bind(i64::from(version.number))
    .bind(version.schema.text())
    .bind(version.example.as_deref())
    .bind(&version.changelog)
    .bind(version.status.code())
    .bind(version.deprecated_at.map(Timestamp::as_micros))
    .bind(version.sunset_at.map(Timestamp::as_micros))
    .bind(version.successor.map(i64::from))
    .bind(version.downgrade.as_ref().map(|downgrade| downgrade.source().to_string()))
    .bind(version.relation.code())
    .bind(i64::from(version.told))
    .bind(version.created_at.as_micros())
    .bind(version.updated_at.as_micros())
    .execute(connection)
    .await
    .map(|_| ())
}

/// What a change of the catalogue is checked against.
const CHECKED_AGAINST: [&str; 4] = [
    "SELECT count(*) FROM projects WHERE version > $1",
    "SELECT count(*) FROM tenants WHERE version > $1",
    "SELECT count(*) FROM endpoints WHERE version > $1",
    "SELECT count(*) FROM event_types WHERE version > $1",
];

/// The next version of the configuration, if nothing that the change was checked
/// against has changed since this one. Keys and sessions come and go meanwhile.
async fn version_after(connection: &mut Connection, checked_at: i64) -> sqlx::Result<Option<i64>> {
    let mut lock = QueryBuilder::<Db>::new("SELECT version FROM configuration");
    lock.push(statements::FOR_UPDATE).build().fetch_one(&mut *connection).await?;
    for sql in CHECKED_AGAINST {
        let changed: i64 = sqlx::query_scalar(sql).bind(checked_at).fetch_one(&mut *connection).await?;
        if changed > 0 {
            return Ok(None);
        }
    }
    next_version(connection).await.map(Some)
}

#[async_trait]
impl Catalogue for Store {
    async fn save_event_types(
        &self,
        entries: &[EventTypeEntry],
        checked_at: i64,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Edited>> {
        let Some(project) = entries.first().map(|entry| entry.project) else {
            return Ok(Performed::First(Edited::Done));
        };
        let entries = entries.to_vec();
        self.perform(project, once, Some(entry), move |connection| {
            async move {
                let Some(version) = version_after(connection, checked_at).await? else {
                    return Ok(Outcome::Refused(Edited::Outdated));
                };
                for entry in &entries {
                    save_type(connection, entry, version).await?;
                }
                Ok(Outcome::Done(Edited::Done))
            }
            .boxed()
        })
        .await
    }

    async fn remove_event_type(
        &self,
        project: ProjectId,
        name: &EventType,
        checked_at: i64,
        entry: Entry,
    ) -> Result<Edited> {
        let (name, now) = (name.clone(), self.shared.env.now());
        self.perform_always(project, entry, move |connection| {
            async move {
                let Some(version) = version_after(connection, checked_at).await? else {
                    return Ok(Outcome::Refused(Edited::Outdated));
                };
                sqlx::query("DELETE FROM event_type_versions WHERE project = $1 AND name = $2")
                    .bind(project.0)
                    .bind(name.as_str())
                    .execute(&mut *connection)
                    .await?;
                sqlx::query(
                    "UPDATE event_types SET deleted_at = $1, version = $2 WHERE project = $3 AND name = $4",
                )
                .bind(now.as_micros())
                .bind(version)
                .bind(project.0)
                .bind(name.as_str())
                .execute(connection)
                .await?;
                Ok(Outcome::Done(Edited::Done))
            }
            .boxed()
        })
        .await
    }

    async fn usage(
        &self,
        view: View,
        endpoint: EndpointId,
        name: &EventType,
        since: Timestamp,
    ) -> Result<Usage> {
        let failed = || store_error("count the deliveries of an event type");
        let row = sqlx::query(statements::USAGE)
            .bind(view.project.0)
            .bind(endpoint.0)
            .bind(name.as_str())
            .bind(since.as_micros())
            .bind(COUNTED as i64 + 1)
            .fetch_one(&self.readers)
            .await
            .map_err(failed())?;
        let deliveries = count(&row, "many").map_err(failed())?;
        let last_at = time_option(&row, "last_at").map_err(failed())?;
        Ok(Usage { deliveries: deliveries.into(), last_at })
    }
}
