//! The servers of the database, and which of them is the primary.
//!
//! The address may name several: `postgres://user@a,b:5433,c/db`. One of them
//! writes, the others repeat it, and after a failover it is another one. sqlx
//! takes one host, so each has options of its own here. While there are several,
//! all are asked a few times a second whether they write; what is connected
//! to another than the primary is connected anew.
//!
//! Nothing is read from a standby: the order in which commits become visible
//! there is another one, and what is visible may be late.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgConnection, PgPool, Row as _};
use tokio::sync::watch;
use tokio::time::Instant;

use super::link::bounded;
use super::open::OpenError;
use super::timeline::timeline;
use super::{OLDEST_POSTGRES, open};

/// How often each server is asked whether it writes.
const LOOK: Duration = Duration::from_millis(300);
/// How long its answer may take.
const ANSWER: Duration = Duration::from_secs(1);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// An address names at most so many servers.
const MOST: usize = 16;

/// The timeline of a server; null on a standby.
const TIMELINE: &str = concat!("SELECT CASE WHEN NOT pg_is_in_recovery() THEN ", timeline!(), " END");

/// The same, if the server can be written to.
const WRITES: &str = concat!(
    "SELECT CASE WHEN NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean THEN ",
    timeline!(),
    " END"
);

/// How the connections of one purpose differ from the others.
pub(super) type Tuning = fn(PgConnectOptions) -> PgConnectOptions;

/// The servers.
#[derive(Debug)]
pub(super) struct Hosts {
    servers: Vec<PgConnectOptions>,
    primary: watch::Sender<Primary>,
    /// What each server said last.
    said: Mutex<Said>,
    /// Pools that are to connect to the primary.
    pools: Mutex<Vec<PgPool>>,
}

/// What servers say of themselves.
#[derive(Debug, Default)]
struct Said {
    /// The timeline that each writes; none if it does not write, or say so.
    writes: Vec<Option<String>>,
    /// The newest of all that were ever said. Whoever writes an older one has not
    /// noticed yet that another server was promoted.
    newest: String,
}

/// Which server is the primary.
#[derive(Debug, Clone, Copy)]
struct Primary {
    server: usize,
    since: Instant,
}

impl Hosts {
    /// Finds the primary, and connects to it.
    ///
    /// # Errors
    ///
    /// Fails if no server can be reached that writes, or one is too old.
    pub(super) async fn find(url: &SecretString) -> Result<(Arc<Self>, PgConnection), OpenError> {
        let servers = servers(url)?;
        let mut failed = Vec::new();
        for (number, server) in servers.iter().enumerate() {
            match connect_at_start(server).await {
                Ok(connection) => {
                    let said = Said { writes: vec![None; servers.len()], newest: String::new() };
                    let (primary, _) = watch::channel(Primary { server: number, since: Instant::now() });
                    let hosts =
                        Arc::new(Self { servers, primary, said: Mutex::new(said), pools: Mutex::default() });
                    return Ok((hosts, connection));
                }
                Err(error) if servers.len() == 1 => return Err(error),
                Err(error) => {
                    let why = match error {
                        OpenError::Standby => "is a standby".to_owned(),
                        error => error.to_string(),
                    };
                    failed.push(format!("{}:{} {why}", server.get_host(), server.get_port()));
                }
            }
        }
        Err(OpenError::NoPrimary(failed.join("; ")))
    }

    /// Whether there is another server to go to.
    pub(super) fn are_several(&self) -> bool {
        self.servers.len() > 1
    }

    /// How to connect to the primary.
    pub(super) fn options(&self, tuning: Tuning) -> PgConnectOptions {
        tuning(self.servers[self.primary.borrow().server].clone())
    }

    /// A new connection to the primary.
    ///
    /// # Errors
    ///
    /// Fails also if the server does not write any more.
    pub(super) async fn connect(&self, tuning: Tuning) -> sqlx::Result<PgConnection> {
        let options = self.options(tuning);
        bounded(CONNECT, async {
            let mut connection = options.connect().await?;
            self.refuse_others(&mut connection).await?;
            Ok(connection)
        })
        .await
    }

    /// A pool of connections to whichever server is the primary.
    pub(super) fn pool(self: &Arc<Self>, options: PgPoolOptions) -> PgPool {
        let (hosts, known) = (Arc::downgrade(self), Arc::downgrade(self));
        let pool = options
            .after_connect(move |connection, _| {
                let known = known.upgrade();
                Box::pin(async move {
                    match known {
                        Some(hosts) => hosts.refuse_others(connection).await,
                        None => Err(sqlx::Error::PoolClosed),
                    }
                })
            })
            .before_acquire(move |_, connection| {
                let is_of_now = hosts.upgrade().is_some_and(|hosts| hosts.is_of_now(&connection));
                Box::pin(async move { Ok(is_of_now) })
            })
            .connect_lazy_with(self.options(|options| options));
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool.clone());
        pool
    }

    /// Whether a connection was made since the primary is the one of now.
    fn is_of_now(&self, connection: &PoolConnectionMetadata) -> bool {
        connection.age <= self.primary.borrow().since.elapsed() || !self.are_several()
    }

    /// Refuses a connection to a standby, and to a primary of before.
    async fn refuse_others(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        let timeline: Option<String> = sqlx::query_scalar(TIMELINE).fetch_one(connection).await?;
        let why = match timeline {
            None => "the database server is a read-only standby",
            Some(timeline) if timeline < self.said.lock().unwrap_or_else(PoisonError::into_inner).newest => {
                "the database server was the primary before"
            }
            Some(_) => return Ok(()),
        };
        Err(sqlx::Error::Protocol(why.to_owned()))
    }

    /// Tells when the primary is another one.
    pub(super) fn moves(&self) -> Moves {
        let mut moves = self.primary.subscribe();
        moves.mark_unchanged();
        Moves(moves)
    }

    /// Looks after the primary until the store is gone, if there are several
    /// servers.
    pub(super) fn look_after(self: &Arc<Self>) {
        if self.are_several() {
            for number in 0..self.servers.len() {
                tokio::spawn(look(Arc::downgrade(self), number));
            }
        }
    }

    /// Keeps what a server said, and follows whoever was promoted last.
    fn heard(&self, number: usize, writes: Option<String>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(timeline) = &writes
            && *timeline > said.newest
        {
            said.newest.clone_from(timeline);
        }
        said.writes[number] = writes;
        let is_newest = |writes: &Option<String>| writes.as_ref() == Some(&said.newest);
        let current = self.primary.borrow().server;
        if is_newest(&said.writes[current]) {
            return;
        }
        // Nobody, if it only did not answer in time.
        let Some(newest) = said.writes.iter().position(is_newest) else { return };
        let server = &self.servers[newest];
        tracing::warn!(
            host = server.get_host(),
            port = server.get_port(),
            "another server is the primary now"
        );
        let options = self.servers[newest].clone();
        for pool in self.pools.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            pool.set_connect_options(options.clone());
        }
        self.primary.send_replace(Primary { server: newest, since: Instant::now() });
    }
}

/// Ends work on a server that is not the primary any more.
#[derive(Debug)]
pub(super) struct Moves(watch::Receiver<Primary>);

impl Moves {
    /// Whether the primary is another one since this was made.
    pub(super) fn has_moved(&self) -> bool {
        self.0.has_changed().unwrap_or(false)
    }

    /// Waits until it is another one.
    pub(super) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The servers are forgotten with the store: nothing moves any more.
            std::future::pending::<()>().await;
        }
    }

    /// Does work, unless the primary moves meanwhile: the answer may never come.
    pub(super) async fn unless<T>(mut self, work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.next() => Err(sqlx::Error::Protocol("the database failed over meanwhile".to_owned())),
        }
    }
}

/// Asks one server again and again whether it writes.
async fn look(hosts: Weak<Hosts>, number: usize) {
    let mut connection = None;
    loop {
        let Some(options) = hosts.upgrade().map(|hosts| hosts.servers[number].clone()) else { return };
        let asking = async {
            let asked = match connection.as_mut() {
                Some(connection) => connection,
                None => connection.insert(options.connect().await?),
            };
            sqlx::query_scalar(WRITES).fetch_one(asked).await
        };
        let answer: sqlx::Result<Option<String>> = bounded(ANSWER, asking).await;
        if answer.is_err() {
            connection = None;
        }
        let Some(hosts) = hosts.upgrade() else { return };
        hosts.heard(number, answer.unwrap_or_default());
        drop(hosts);
        tokio::time::sleep(LOOK).await;
    }
}

async fn connect_at_start(options: &PgConnectOptions) -> Result<PgConnection, OpenError> {
    let mut connection = bounded(CONNECT, options.connect()).await.map_err(OpenError::Connect)?;
    let asking = sqlx::query(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
         pg_is_in_recovery()",
    );
    let row = bounded(ANSWER, asking.fetch_one(&mut connection)).await?;
    if row.try_get::<i32, _>(0)? < OLDEST_POSTGRES {
        return Err(OpenError::OldServer { found: row.try_get(1)? });
    }
    if row.try_get(2)? {
        return Err(OpenError::Standby);
    }
    Ok(connection)
}

/// The options for each server that the address names.
fn servers(url: &SecretString) -> Result<Vec<PgConnectOptions>, OpenError> {
    let urls = urls(url.expose_secret())?;
    urls.iter().map(|url| open::connect_options(url)).collect()
}

/// One address for each server of a list, as libpq reads it.
/// <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS>
fn urls(url: &str) -> Result<Vec<String>, OpenError> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let mut kept = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            // What is always looked for.
            Some(("target_session_attrs", "read-write" | "primary")) => {}
            Some(("target_session_attrs", other)) => return Err(OpenError::Attributes(other.to_owned())),
            _ => kept.push(parameter),
        }
    }
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    let Some((scheme, rest)) = address.split_once("://") else { return Ok(vec![url.to_owned()]) };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (user, hosts) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    let hosts: Vec<&str> = hosts.split(',').collect();
    if hosts.len() > MOST || (hosts.len() > 1 && hosts.iter().any(|host| host.is_empty())) {
        return Err(OpenError::Hosts { most: MOST });
    }
    Ok(hosts.into_iter().map(|host| format!("{scheme}://{user}{host}{path}{query}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(url: &str) -> Vec<String> {
        urls(url).expect("an address")
    }

    #[test]
    fn a_list_is_one_address_for_each_server() {
        assert_eq!(found("postgres://me:a%40b@a/db"), ["postgres://me:a%40b@a/db"]);
        assert_eq!(
            found(
                "postgres://me:secret@a,b:5433,[::1]:5434/db?target_session_attrs=read-write&sslmode=require"
            ),
            [
                "postgres://me:secret@a/db?sslmode=require",
                "postgres://me:secret@b:5433/db?sslmode=require",
                "postgres://me:secret@[::1]:5434/db?sslmode=require",
            ]
        );
        assert_eq!(found("postgresql://a,b"), ["postgresql://a", "postgresql://b"]);
        assert_eq!(
            found("postgres://me@a,b/db?target_session_attrs=primary"),
            ["postgres://me@a/db", "postgres://me@b/db"]
        );
    }

    #[test]
    fn a_list_that_cannot_be_meant_is_refused() {
        for wrong in ["postgres://a,/db", "postgres://a,,b/db", "postgres://,a/db"] {
            assert!(matches!(urls(wrong), Err(OpenError::Hosts { .. })), "{wrong}");
        }
        let many = format!("postgres://{}/db", vec!["a"; MOST + 1].join(","));
        assert!(matches!(urls(&many), Err(OpenError::Hosts { .. })));
        for other in ["any", "read-only", "standby", "prefer-standby", ""] {
            let wrong = format!("postgres://a,b/db?target_session_attrs={other}");
            assert!(matches!(urls(&wrong), Err(OpenError::Attributes(_))), "{wrong}");
        }
    }
}
