//! Reading what changed in the configuration.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;

use model::event_type::EventType;
use model::ids::{EndpointId, KeyId, ProjectId, TenantId};
use model::portal::CLOCKS_APART;

use super::rows::{parsed, time_option, uuid};
use super::{
    Connection, Row, Shared, Store, access, catalogue, endpoints, policies, portal, statements, store_error,
    tenants,
};
use crate::Result;
use crate::configuration::{Change, Configuration, Configured, KnownKey};
use crate::durability::SecondMachine;
use crate::hand_off::HandOff;

/// Takes the next version, for the rows that this transaction changes.
pub(crate) async fn next_version(connection: &mut Connection) -> sqlx::Result<i64> {
    sqlx::query_scalar("UPDATE configuration SET version = version + 1 RETURNING version")
        .fetch_one(connection)
        .await
}

impl Shared {
    /// Reads what changed, through `connection`.
    pub(crate) async fn refresh_through(&self, connection: &mut Connection) -> sqlx::Result<()> {
        let asked_at = self.env.now();
        let (version, history) =
            sqlx::query_as::<_, (i64, String)>(statements::READ_VERSION).fetch_one(&mut *connection).await?;
        self.refresh_to(connection, version, &history).await?;
        self.freshness.confirm(asked_at);
        Ok(())
    }

    /// Reads what changed up to `version`, if that is not known yet. In another
    /// history than what is known, everything may have changed.
    pub(crate) async fn refresh_to(
        &self,
        connection: &mut Connection,
        version: i64,
        history: &str,
    ) -> sqlx::Result<()> {
        let known = self.configuration.version_in_history();
        if history != &*known.history {
            let all = self.changes_since(connection, 0).await?;
            self.configuration.replace(version, history, all);
        } else if version > known.number {
            let changes = self.changes_since(connection, known.number).await?;
            self.configuration.apply(version, history, changes);
        }
        Ok(())
    }

    async fn changes_since(&self, connection: &mut Connection, known: i64) -> sqlx::Result<Vec<Change>> {
        let mut changes = Vec::new();
        for row in changed(connection, "SELECT * FROM projects WHERE version > $1", known).await? {
            changes.push(Change::Project(access::project(&row)?));
        }
        for row in changed(connection, "SELECT * FROM tenants WHERE version > $1", known).await? {
            changes.push(match time_option(&row, "deleted_at")? {
                None => Change::Tenant(tenants::tenant(&row)?),
                Some(_) => Change::NoTenant(TenantId(uuid(&row, "id")?)),
            });
        }
        for row in changed(connection, "SELECT * FROM endpoints WHERE version > $1", known).await? {
            changes.push(match time_option(&row, "deleted_at")? {
                None => Change::Endpoint(Box::new(endpoints::secret_endpoint(&row, &self.vault)?)),
                Some(_) => Change::NoEndpoint(TenantId(uuid(&row, "tenant")?), EndpointId(uuid(&row, "id")?)),
            });
        }
        for row in changed(connection, "SELECT * FROM retry_policies WHERE version > $1", known).await? {
            let policy = match time_option(&row, "deleted_at")? {
                None => Some(policies::policy(&row)?.policy),
                Some(_) => None,
            };
            changes.push(Change::Policy(ProjectId(uuid(&row, "project")?), row.try_get("name")?, policy));
        }
        for row in changed(connection, "SELECT * FROM event_types WHERE version > $1", known).await? {
            let (project, name) =
                (ProjectId(uuid(&row, "project")?), parsed(&row, "name", EventType::parse)?);
            let entry = match time_option(&row, "deleted_at")? {
                None => Some(catalogue::entry(connection, &row).await?),
                Some(_) => None,
            };
            changes.push(Change::EventType(project, name, entry));
        }
        for row in changed(connection, "SELECT * FROM api_keys WHERE version > $1", known).await? {
            changes.push(match time_option(&row, "revoked_at")? {
                None => {
                    Change::Key(Box::new(KnownKey { key: access::key(&row)?, tokens: access::tokens(&row)? }))
                }
                Some(_) => Change::NoKey(KeyId(uuid(&row, "id")?)),
            });
        }
        // Where nothing is known yet, nothing is to be forgotten.
        let sessions = match known {
            0 => "SELECT * FROM portal_sessions WHERE version > $1 AND expires_at > $2 AND ended_at IS NULL",
            _ => "SELECT * FROM portal_sessions WHERE version > $1 AND expires_at > $2",
        };
        let recent = self.env.now().minus(CLOCKS_APART).as_micros();
        for row in sqlx::query(sessions).bind(known).bind(recent).fetch_all(&mut *connection).await? {
            let known = portal::known_session(&row)?;
            let ended = time_option(&row, "ended_at")?.is_some();
            changes.push(match ended {
                true => Change::NoSession(known.session.id),
                false => Change::Session(Box::new(known)),
            });
        }
        Ok(changes)
    }
}

async fn changed(connection: &mut Connection, sql: &'static str, known: i64) -> sqlx::Result<Vec<Row>> {
    sqlx::query(sql).bind(known).fetch_all(connection).await
}

#[async_trait]
impl Configured for Store {
    fn configuration(&self) -> &Configuration {
        &self.shared.configuration
    }

    async fn refresh(&self) -> Result<()> {
        // One transaction, so that the rows are those of the version.
        let mut snapshot = self
            .lookouts()
            .begin_with(statements::BEGIN_READING)
            .await
            .map_err(store_error("begin to read"))?;
        self.shared.refresh_through(&mut snapshot).await.map_err(store_error("read the configuration"))?;
        snapshot.rollback().await.map_err(store_error("end reading"))
    }

    async fn ensure_fresh(&self, age: Duration) -> Result<()> {
        let is_fresh = || self.shared.freshness.is_fresh(self.shared.env.now(), age);
        if is_fresh() {
            return Ok(());
        }
        // One looks for all who wait.
        let _turn = self.shared.looking.lock().await;
        if is_fresh() { Ok(()) } else { self.refresh().await }
    }

    fn connect(&self, hand_off: Arc<dyn HandOff>) {
        self.announce_to(hand_off);
    }

    async fn check_ready(&self) -> Result<()> {
        if self.writer.is_closed() {
            return Err(crate::StoreError::unavailable("nothing is written any more".to_owned()));
        }
        self.check_connections().await?;
        let row = sqlx::query("SELECT count(*) FROM _sqlx_migrations WHERE success")
            .fetch_one(self.lookouts())
            .await
            .map_err(store_error("read the migrations"))?;
        let applied: i64 = row.try_get(0).map_err(store_error("read the migrations"))?;
        let known = super::open::MIGRATIONS.iter().count() as i64;
        // A newer version may have migrated already, to take over from this one.
        if applied >= known {
            Ok(())
        } else {
            Err(crate::StoreError::internal(
                "check the schema",
                format!("{applied} of {known} migrations are applied"),
            ))
        }
    }

    fn second_machine(&self) -> Option<SecondMachine> {
        self.look_at_machines()
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        self.close_rest().await;
    }
}
