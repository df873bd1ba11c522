//! One connection that is made again when it breaks, and a bound on waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;

use super::hosts::{Hosts, Moves, Tuning};
use super::{barrier, transient_cause};

/// How long a connection may take to be closed.
const CLOSE: Duration = Duration::from_secs(3);
/// How long an answer may take. The server gives up a little earlier
/// (`statement_timeout`), so that it does not go on unheard.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the answer to a heartbeat may take.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// How often it is tried whether a connection can be made again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Waits for the database, but not for ever: a connection can be cut without
/// a word.
pub(super) async fn within<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    bounded(ANSWER, work).await
}

/// The same with a time of one's own.
pub(super) async fn bounded<T>(
    time: Duration,
    work: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    let timed_out = |_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    tokio::time::timeout(time, work).await.unwrap_or_else(timed_out)
}

/// Whether a connection that is wanted cannot be made.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<AtomicBool>);

impl Trouble {
    /// Whether it could not be made when it was tried last.
    pub(super) fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Which of the connections of a link it is. What was read on one says nothing
/// of the server that another is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number(u64);

/// A connection, or the wish for one.
pub(super) struct Link {
    hosts: Arc<Hosts>,
    tuning: Tuning,
    /// With what tells that it is to another server than the primary of now.
    connection: Option<(PgConnection, Moves)>,
    /// Counts the connections that were made.
    number: Number,
    trouble: Trouble,
    /// Since when nothing that was asked was done, because of the database.
    troubled_since: Option<Instant>,
}

impl Link {
    pub(super) fn new(hosts: &Arc<Hosts>, tuning: Tuning) -> Self {
        Self {
            hosts: Arc::clone(hosts),
            tuning,
            connection: None,
            number: Number(0),
            trouble: Trouble::default(),
            troubled_since: None,
        }
    }

    /// The servers that it may be to.
    pub(super) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// How it is, for others to look at.
    pub(super) fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// The connection to the primary, made if need be.
    async fn get(&mut self) -> sqlx::Result<&mut PgConnection> {
        let connection = match self.connection.take().filter(|(_, moves)| !moves.has_moved()) {
            Some(connection) => connection,
            None => {
                let moves = self.hosts.moves();
                let made = connect(&self.hosts, self.tuning).await;
                let was_there = self.trouble.0.swap(made.is_err(), Ordering::Relaxed);
                if made.is_err() && !was_there {
                    let (hosts, trouble) = (Arc::downgrade(&self.hosts), Arc::downgrade(&self.trouble.0));
                    tokio::spawn(watch(hosts, self.tuning, trouble));
                }
                let made = made?;
                self.number.0 += 1;
                (made, moves)
            }
        };
        Ok(&mut self.connection.insert(connection).0)
    }

    /// Has the database do something, and waits for the answer, but not for ever,
    /// and not for that of a server that is not the primary any more. Drops the
    /// connection if it is of no use then.
    pub(super) async fn ask<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        self.ask_within(ANSWER, work).await
    }

    /// The same for a heartbeat, which is of no use when it is late.
    pub(super) async fn ask_briefly<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        self.ask_within(SIGN_OF_LIFE, work).await
    }

    async fn ask_within<T>(
        &mut self,
        time: Duration,
        work: impl AsyncFnOnce(&mut PgConnection) -> sqlx::Result<T>,
    ) -> sqlx::Result<T> {
        let moves = self.hosts.moves();
        let result = match self.get().await {
            Ok(connection) => moves.unless(bounded(time, work(connection))).await,
            Err(error) => Err(error),
        };
        match &result {
            Err(error) if transient_cause(error).is_some() => {
                self.connection = None;
                self.troubled_since.get_or_insert_with(Instant::now);
            }
            _ => self.troubled_since = None,
        }
        result
    }

    /// Which connection it is now.
    pub(super) fn number(&self) -> Number {
        self.number
    }

    /// For how long nothing was done that was asked.
    pub(super) fn troubled_for(&self) -> Duration {
        self.troubled_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(super) async fn close(&mut self) {
        if let Some((connection, _)) = self.connection.take()
            && let Err(error) = bounded(CLOSE, connection.close()).await
        {
            tracing::debug!(%error, "the connection was not closed cleanly");
        }
    }
}

/// A new connection, on which everything that can be read is safe.
async fn connect(hosts: &Hosts, tuning: Tuning) -> sqlx::Result<PgConnection> {
    let mut connection = hosts.connect(tuning).await?;
    barrier::pass(&mut connection).await?;
    Ok(connection)
}

/// Looks whether a connection can be made again, until one can. The link itself
/// tries only when it is wanted, and nobody may want it while the process says
/// that it is not ready.
async fn watch(hosts: Weak<Hosts>, tuning: Tuning, trouble: Weak<AtomicBool>) {
    loop {
        tokio::time::sleep(TRY_AGAIN).await;
        let Some(hosts) = hosts.upgrade() else { return };
        let made = connect(&hosts, tuning).await;
        let Some(trouble) = trouble.upgrade() else { return };
        if let Ok(connection) = made {
            trouble.store(false, Ordering::Relaxed);
            // It was only to see: that it does not close cleanly hurts nobody.
            let _ = bounded(CLOSE, connection.close()).await;
        }
        if !trouble.load(Ordering::Relaxed) {
            return;
        }
    }
}
