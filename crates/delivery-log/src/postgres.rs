//! PostgreSQL: one database, any number of processes.
//!
//! One connection of each process publishes and finishes, in groups, by one
//! statement each ([`writer`]). Others read, and make the rarer changes. What
//! waits stands in a small table; what has ended, in tables cut by day.

mod announce;
mod barrier;
mod claims;
mod columns;
mod composite;
mod counters;
mod erasing;
mod finish;
mod group;
mod hosts;
mod lanes;
mod link;
mod machines;
mod moves;
mod open;
mod partitions;
mod parts;
mod processes;
mod publish;
mod recovery;
mod retention;
#[path = "common/shared.rs"]
mod shared;
mod statements;
mod timeline;
mod writer;

#[cfg(test)]
pub(crate) use open::MIGRATIONS;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::Instant;

pub use open::{OpenError, Options, migrate};
use shared::{lane_rows, rows};

// By these names `shared` knows what it works on.
use PostgresStore as Store;
use sqlx::PgConnection as Connection;
use sqlx::Postgres as Db;
use sqlx::postgres::PgRow as Row;
/// What rows know an event by: its id.
type EventKey = uuid::Uuid;

use crate::Result;
use crate::durability::SecondMachine;
use crate::hand_off::HandOff;
use crate::queue::HandIn;
use crate::shared::Connected;
use model::ids::{DeliveryId, ProjectId};

/// The oldest server that is used, as `server_version_num`.
pub const OLDEST_POSTGRES: i32 = 140_000;

/// For how long tables are vacuumed after an erasure.
const VACUUMING: std::time::Duration = std::time::Duration::from_secs(5);
/// How long connections may take to be closed.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(5);

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    hosts: Arc<hosts::Hosts>,
    machines: Arc<machines::Machines>,
    readers: PgPool,
    /// For what must not wait behind the lists of callers: the configuration,
    /// and lanes with work.
    lookouts: PgPool,
    editors: PgPool,
    ear: PgPool,
    outbox: announce::Outbox,
    writer: writer::WriterHandle,
    claims: HandIn<claims::Claim>,
    /// for heartbeats, which must not wait behind anything else.
    pulse: tokio::sync::Mutex<link::Link>,
    /// How the connections are that write, claim and write heartbeats.
    troubles: [link::Trouble; 3],
    shared: Arc<Shared>,
    /// How often lanes with work were looked for.
    looks: AtomicU32,
}

/// What the parts of the store share.
type Shared = crate::shared::Shared<Extra>;
type FanOut = crate::publishing::FanOut<EventKey>;
type Effects = crate::publishing::Effects<EventKey>;

/// What they share in this backend alone.
pub(crate) struct Extra {
    /// The lanes of this process, beside those of others.
    local: Connected,
}

impl Shared {
    /// Reads what changed in the configuration, as of one moment.
    async fn refresh_snapshot(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let mut snapshot = connection.begin_with(statements::BEGIN_READING).await?;
        self.refresh_through(&mut snapshot).await?;
        snapshot.rollback().await
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PostgresStore")
    }
}

impl PostgresStore {
    /// Runs `change` in a transaction of its own. When this returns, what it
    /// changed in the configuration is known in memory.
    async fn edit<T, F>(&self, change: F) -> Result<T>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        self.with_connection("make a change", move |connection| {
            async move {
                let result = in_transaction(connection, change).await?;
                if let Err(error) = shared.refresh_snapshot(connection).await {
                    tracing::warn!(%error, "cannot reload the configuration after a change");
                }
                Ok(result)
            }
            .boxed()
        })
        .await
    }

    /// Runs `change`, which has nothing to do with the configuration, in a
    /// transaction of its own.
    async fn transact<T, F>(&self, change: F) -> Result<T>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.with_connection("make a change", move |connection| in_transaction(connection, change).boxed())
            .await
    }

    /// Runs `change` in a transaction, on the connection for heartbeats.
    async fn pulse<T, F>(&self, change: F) -> Result<T>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let mut link = self.pulse.lock().await;
        let done = link.ask_briefly(async |connection| in_transaction(connection, change).await).await;
        done.map_err(store_error("write the heartbeat"))
    }

    /// Runs `work` on a connection, which is dropped if the answer does not
    /// come in time.
    async fn with_connection<T, F>(&self, attempted: &'static str, work: F) -> Result<T>
    where
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let moves = self.hosts.moves();
        let mut connection = self.editors.acquire().await.map_err(store_error(attempted))?;
        let done = moves.unless(link::within(work(&mut connection))).await;
        if let Err(error) = &done
            && transient_cause(error).is_some()
        {
            drop(connection.detach());
        }
        done.map_err(store_error(attempted))
    }

    /// Whether everything that works on the database can: there are as many
    /// machines as are asked for, and each part has connections of its own, of
    /// which the server may have too few for all.
    async fn check_connections(&self) -> crate::Result<()> {
        self.machines.check()?;
        if self.troubles.iter().any(link::Trouble::is_there) {
            let detail =
                "a connection that publishes or delivers cannot be made; does the server allow enough?";
            return Err(crate::StoreError::unavailable(detail.to_owned()));
        }
        for pool in [&self.readers, &self.editors] {
            pool.acquire().await.map_err(store_error("connect to the database"))?;
        }
        Ok(())
    }

    /// Waits until what was read on this connection can be answered.
    async fn make_sure(&self, connection: &mut Connection) -> Result<()> {
        let sure = async {
            barrier::pass(connection).await?;
            self.machines.confirm(connection).await
        };
        let sure = self.hosts.moves().unless(link::within(sure)).await;
        sure.map_err(store_error("make sure of what is stored"))
    }

    /// Has rows that were erased taken out of their tables, as far as that goes
    /// quickly: the server does the rest by itself.
    async fn leave_no_trace(&self) -> Result<bool> {
        let mut connection = self.editors.acquire().await.map_err(store_error("tidy up after an erasure"))?;
        let vacuum = async {
            for table in erasing::TABLES {
                let one = sqlx::query(sqlx::AssertSqlSafe(format!("VACUUM (SKIP_LOCKED) {table}")));
                one.execute(&mut *connection).await?;
            }
            Ok::<_, sqlx::Error>(())
        };
        match tokio::time::timeout(VACUUMING, vacuum).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::info!(%error, "what was erased is left for autovacuum"),
            Err(_) => {
                tracing::info!("what was erased is left for autovacuum, as it is much");
                // It may be in the middle of an answer.
                drop(connection.detach());
            }
        }
        Ok(true)
    }

    /// Where the configuration is read.
    fn lookouts(&self) -> &PgPool {
        &self.lookouts
    }

    /// Tells this process, and the others.
    fn announce_to(&self, local: Arc<dyn HandOff>) {
        self.shared.extra.local.set(Arc::clone(&local));
        self.shared.hand_off.set(Arc::new(announce::Everywhere::new(local, self.outbox.clone())));
    }

    fn look_at_machines(&self) -> Option<SecondMachine> {
        self.machines.second()
    }

    async fn close_rest(&self) {
        // A connection that does not answer is not waited for.
        let closing = async {
            self.claims.close().await;
            self.lookouts.close().await;
            self.ear.close().await;
            self.editors.close().await;
            self.pulse.lock().await.close().await;
        };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::warn!("the database does not answer: its connections are dropped");
        }
    }
}

/// Runs `change` in a transaction. When this returns, what was changed and what
/// was read are as safe as the database is asked to keep them.
async fn in_transaction<T, F>(connection: &mut PgConnection, change: F) -> sqlx::Result<T>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let mut transaction = connection.begin().await?;
    let result = change(&mut transaction).await?;
    // The result may be that nothing is left to be changed.
    barrier::write(&mut transaction).await?;
    let began = Instant::now();
    transaction.commit().await?;
    if barrier::is_doubtful(began) {
        barrier::pass(connection).await?;
    }
    Ok(result)
}

/// Keeps others from working under the same idempotency key until this
/// transaction ends.
async fn lock_key(connection: &mut Connection, project: ProjectId, key: &str) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1 || $2, 0))")
        .bind(project.0.to_string())
        .bind(key)
        .execute(connection)
        .await
        .map(|_| ())
}

/// Waits for a finish that is just being written, and keeps the next one away
/// until this transaction ends.
async fn lock_delivery(connection: &mut Connection, id: DeliveryId) -> sqlx::Result<()> {
    let lock = sqlx::query("SELECT 1 FROM waiting WHERE id = $1 FOR UPDATE").bind(id.0);
    lock.fetch_optional(connection).await.map(|_| ())
}

/// What to tell about a failed statement.
pub(crate) fn store_error(attempted: &'static str) -> impl Fn(sqlx::Error) -> crate::StoreError {
    move |error| match transient_cause(&error) {
        Some(why) => crate::StoreError::Unavailable { why, source: Some(Arc::new(error)) },
        None => crate::StoreError::internal(attempted, error),
    }
}

/// Says why, if the same statement may succeed later.
pub(crate) fn transient_cause(error: &sqlx::Error) -> Option<String> {
    // https://www.postgresql.org/docs/current/errcodes-appendix.html: classes
    // of connections, resources, operators and the system, and single codes.
    const CLASSES: [&str; 4] = ["08", "53", "57", "58"];
    const CODES: [(&str, &str); 4] = [
        ("40001", "the database could not serialize the change"),
        ("40P01", "the database found a deadlock"),
        ("55P03", "a lock was not available"),
        ("25006", "the database is read-only"),
    ];
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code()?;
            let known = CODES.iter().find(|(known, _)| *known == code);
            let class = CLASSES.contains(&code.get(..2)?);
            known.map(|(_, cause)| (*cause).to_owned()).or(class.then(|| database.message().to_owned()))
        }
        sqlx::Error::PoolTimedOut => Some("no connection to the database is free".to_owned()),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Some("the store is closed".to_owned()),
        sqlx::Error::Io(error) => Some(error.to_string()),
        sqlx::Error::Tls(error) => Some(error.to_string()),
        // Words that make no sense come from a connection that broke in the middle of them.
        sqlx::Error::Protocol(error) => Some(error.clone()),
        _ => None,
    }
}
