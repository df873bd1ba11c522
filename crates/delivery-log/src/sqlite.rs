//! The embedded store: one SQLite file, owned by one server at a time.
//!
//! One connection writes; what waits to be written is gathered into one
//! transaction, so that the price of reaching the disk is shared
//! ([`writer`]). A small pool of other connections reads, and never waits
//! for the writer (write-ahead log).

mod access;
mod configuration;
mod deliveries;
mod endpoints;
mod events;
mod filter;
mod finish;
mod idempotency;
mod lanes;
mod multi_row;
mod open;
mod publish;
mod retention;
mod rows;
mod sequences;
mod tenants;
mod writer;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use sqlx::SqlitePool;

pub use open::{OpenError, Options, Ownership};

use crate::Surroundings;
use crate::configuration::Configuration;
use model::vault::Vault;

/// The oldest SQLite that is used. Before it, a database in WAL mode could
/// be corrupted by a rare race (https://www.sqlite.org/wal.html#walresetbug).
pub const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    readers: SqlitePool,
    writer: writer::WriterHandle,
    shared: Arc<Shared>,
}

/// What the readers and the writer both need.
pub(crate) struct Shared {
    surroundings: Surroundings,
    vault: Vault,
    configuration: Configuration,
    freshness: configuration::Freshness,
    hand_off: configuration::Connected,
    public_url: String,
    /// The number of the next event. Only the writer counts.
    next_event: AtomicI64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// What to tell about a failed statement.
pub(crate) fn store_error(attempted: &'static str) -> impl Fn(sqlx::Error) -> crate::StoreError {
    move |error| explain(attempted, &error)
}

/// What to tell about an error, for those that still need it.
pub(crate) fn explain(attempted: &'static str, error: &sqlx::Error) -> crate::StoreError {
    match transient_cause(error) {
        Some(cause) => crate::StoreError::Unavailable(cause),
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
