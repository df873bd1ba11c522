//! One connection that is made again when it breaks, and a bound on waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::{barrier, transient_cause};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take. The server gives up a little earlier
/// (`statement_timeout`), so that it does not go on unheard.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the answer to a sign of life may take.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// How often it is tried whether a connection can be made again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Waits for the database, but not for ever: a connection can be cut without
/// a word.
pub(super) async fn within<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    bounded(ANSWER, work).await
}

/// The same for a sign of life, which is of no use when it is late.
pub(super) async fn within_briefly<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    bounded(SIGN_OF_LIFE, work).await
}

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

/// A connection, or the wish for one.
pub(super) struct Link {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    trouble: Trouble,
}

impl Link {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, connection: None, trouble: Trouble::default() }
    }

    /// How it is, for others to look at.
    pub(super) fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// The connection, made if need be.
    pub(super) async fn get(&mut self) -> sqlx::Result<&mut PgConnection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let made = connect(&self.options).await;
                let was_there = self.trouble.0.swap(made.is_err(), Ordering::Relaxed);
                if made.is_err() && !was_there {
                    tokio::spawn(watch(self.options.clone(), Arc::downgrade(&self.trouble.0)));
                }
                made?
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Drops the connection if it is of no use any more.
    pub(super) fn checked<T>(&mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        if let Err(error) = &result
            && transient_cause(error).is_some()
        {
            self.connection = None;
        }
        result
    }

    pub(super) async fn close(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = bounded(CONNECT, connection.close()).await
        {
            tracing::debug!(%error, "the connection was not closed cleanly");
        }
    }
}

/// A new connection, on which everything that can be read is safe.
async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let mut connection = bounded(CONNECT, options.connect()).await?;
    barrier::pass(&mut connection).await?;
    Ok(connection)
}

/// Looks whether a connection can be made again, until one can. The link itself
/// tries only when it is wanted, and nobody may want it while the process says
/// that it is not ready.
async fn watch(options: PgConnectOptions, trouble: Weak<AtomicBool>) {
    loop {
        tokio::time::sleep(TRY_AGAIN).await;
        let made = connect(&options).await;
        let Some(trouble) = trouble.upgrade() else { return };
        if let Ok(connection) = made {
            trouble.store(false, Ordering::Relaxed);
            // It was only to see: that it does not close cleanly hurts nobody.
            let _ = bounded(CONNECT, connection.close()).await;
        }
        if !trouble.load(Ordering::Relaxed) {
            return;
        }
    }
}
