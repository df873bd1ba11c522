//! The embedded store: one SQLite file, owned by one server at a time.
//!
//! One connection writes; what waits to be written is gathered into one
//! transaction, so that the price of reaching the disk is shared
//! ([`writer`]). A small pool of other connections reads, and never waits
//! for the writer (write-ahead log).

mod columns;
mod erasing;
mod finish;
mod identity;
mod lanes;
mod moves;
mod multi_row;
mod open;
mod parts;
mod publish;
mod retention;
mod sequences;
#[path = "common/shared.rs"]
mod shared;
mod statements;
mod writer;

#[cfg(test)]
pub(crate) use open::MIGRATIONS;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use futures_util::future::BoxFuture;
use sqlx::{SqliteConnection, SqlitePool};

pub use open::{OpenError, Options, Ownership};
use shared::{lane_rows, rows};

use crate::hand_off::HandOff;
use model::ids::{DeliveryId, ProjectId};

/// The oldest SQLite that is used. Before it, a database in WAL mode could
/// be corrupted by a rare race (https://www.sqlite.org/wal.html#walresetbug).
pub const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

// By these names `shared` knows what it works on.
use SqliteStore as Store;
use sqlx::Sqlite as Db;
use sqlx::SqliteConnection as Connection;
use sqlx::sqlite::SqliteRow as Row;
/// What rows know an event by: its number.
type EventKey = i64;

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    readers: SqlitePool,
    writer: writer::WriterHandle,
    shared: Arc<Shared>,
}

/// What the parts of the store share.
type Shared = crate::shared::Shared<Extra>;
type FanOut = crate::publishing::FanOut<EventKey>;
type Effects = crate::publishing::Effects<EventKey>;

/// What they share in this backend alone.
pub(crate) struct Extra {
    /// The number of the next event. Only the writer counts.
    next_event: AtomicI64,
}

impl SqliteStore {
    /// Runs `change` in a transaction of its own.
    async fn edit<T, F>(&self, change: F) -> crate::Result<T>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.writer.edit(change).await
    }

    /// Takes what was erased out of the write-ahead log, too.
    async fn leave_no_trace(&self) -> crate::Result<bool> {
        self.writer.empty_log().await
    }

    /// What can be read is on the disk.
    async fn make_sure(&self, _: &mut Connection) -> crate::Result<()> {
        Ok(())
    }

    /// Where the configuration is read.
    fn lookouts(&self) -> &SqlitePool {
        &self.readers
    }

    /// There is nobody else to tell.
    fn announce_to(&self, local: Arc<dyn HandOff>) {
        self.shared.hand_off.set(local);
    }

    /// An embedded store is on one machine, and is not asked for a second one.
    fn look_at_machines(&self) -> Option<crate::durability::SecondMachine> {
        None
    }

    async fn close_rest(&self) {}

    /// Whether everything that works on the database can.
    async fn check_connections(&self) -> crate::Result<()> {
        match self.writer.lost() {
            Some(lost) => Err(crate::StoreError::unavailable(lost)),
            None => Ok(()),
        }
    }
}

/// Keeps others from working under the same idempotency key. There are no
/// others: one connection writes.
async fn lock_key(_: &mut Connection, _: ProjectId, _: &str) -> sqlx::Result<()> {
    Ok(())
}

/// Keeps others from finishing a delivery: one connection writes, so there are none.
async fn lock_delivery(_: &mut Connection, _: DeliveryId) -> sqlx::Result<()> {
    Ok(())
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
    // https://www.sqlite.org/rescode.html: the low byte is the primary code.
    const TRANSIENT: [(u32, &str); 7] = [
        (5, "the database is locked by another process"),
        (6, "the database is locked"),
        (8, "the database cannot be written"),
        (10, "the disk reports an error"),
        (13, "the disk is full"),
        (14, "the database file cannot be opened"),
        (15, "the database lock cannot be taken"),
    ];
    match error {
        sqlx::Error::Database(database) => {
            let code: u32 = database.code()?.parse().ok()?;
            let known = TRANSIENT.iter().find(|(primary, _)| *primary == code & 0xff)?;
            Some(known.1.to_owned())
        }
        sqlx::Error::PoolTimedOut => Some("all connections are busy".to_owned()),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Some("the store is closed".to_owned()),
        sqlx::Error::Io(error) => Some(error.to_string()),
        _ => None,
    }
}
