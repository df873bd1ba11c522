//! Opening the database: reachable, new enough, migrated, writable, and with
//! the right master key.

use std::str::FromStr as _;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use secrecy::SecretString;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{ConnectOptions as _, PgConnection, PgPool, Row as _};

use model::vault::{MasterKey, Vault, VaultError, WrappedKey};

use super::hosts::Hosts;
use super::link::Link;
use super::machines::Machines;
use super::{Extra, OLDEST_POSTGRES, PostgresStore, Shared, announce, claims, partitions, writer};
use crate::Env;
use crate::durability::Durability;
use crate::migrations::{migrator, steps};

/// The schema, step by step.
pub(crate) static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    migrator(steps!(
        "postgres": "0001_foundation",
        "0002_delivery_engine",
        "0003_order_index",
        "0004_replays",
        "0005_catalogue",
        "0006_server_timeline",
        "0007_fan_outs",
        "0008_portal_sessions",
        "0009_use_of_keys",
        "0010_rates_of_keys",
        "0011_audit_log",
        "0012_erasures",
    ))
});

/// How many connections read for the API.
const READERS: u32 = 4;
/// How many connections look at the configuration and at lanes.
const LOOKOUTS: u32 = 2;
/// How many connections make changes, claim and give back.
const EDITORS: u32 = 4;
/// How long to wait for a connection.
const ACQUIRE: Duration = Duration::from_secs(3);

/// How to open a database.
#[derive(Debug)]
pub struct Options {
    /// Where it is: `postgres://user:password@host/database`.
    pub url: SecretString,
    /// The key that the data keys are wrapped with.
    pub master_key: MasterKey,
    /// Where the deployment is reached, for thin payloads.
    pub public_url: String,
    /// On how many machines an event is before it is acknowledged.
    pub durability: Durability,
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address makes no sense.
    #[error("the address of the database is not valid: {0}")]
    Url(sqlx::Error),
    /// Nobody answers there, or not to us.
    #[error(
        "cannot connect to PostgreSQL: {0}; check POSTHORN_DATABASE_URL, the server, and its pg_hba.conf"
    )]
    Connect(sqlx::Error),
    /// The server is too old.
    #[error("PostgreSQL {found} is too old; {} or newer is needed", OLDEST_POSTGRES / 10_000)]
    OldServer {
        /// Its version.
        found: String,
    },
    /// The list of servers cannot be meant.
    #[error("the address of the database is not valid: a list of hosts has 1 to {most} of them, none empty")]
    Hosts {
        /// How many there may be.
        most: usize,
    },
    /// What is asked of the server that is used is not what Posthorn needs.
    #[error(
        "the address of the database is not valid: target_session_attrs is {0:?}, but Posthorn writes; leave it out, or \
         say read-write"
    )]
    Attributes(String),
    /// The server only repeats what another one writes.
    #[error(
        "this PostgreSQL server is a read-only standby; POSTHORN_DATABASE_URL must name the primary, or all servers: postgres://user@a,b,c/database"
    )]
    Standby,
    /// None of several servers can be used.
    #[error("no PostgreSQL server of the list can be written to: {0}")]
    NoPrimary(String),
    /// Two machines are asked for, and whether there are cannot be seen.
    #[error(
        "durability = \"two-machines\" needs to see the standbys, and the database user may not; grant it: \
         GRANT pg_read_all_stats TO the user"
    )]
    MayNotSeeStandbys,
    /// The schema is older than this program.
    #[error("the database is not up to date; run `posthorn migrate` first")]
    NotMigrated,
    /// The schema is newer than this program.
    #[error("the database was brought up to date by a newer Posthorn; run at least that version")]
    NewerSchema,
    /// The user may not do what has to be done.
    #[error(
        "the database user lacks a right: {0}; grant it, or let the owner of the schema run `posthorn migrate`"
    )]
    Rights(sqlx::Error),
    /// A migration failed.
    #[error("cannot bring the database up to date: {0}")]
    Migration(MigrateError),
    /// The master key does not fit.
    #[error("{0}; set POSTHORN_MASTER_KEY to the key that this database was made with")]
    MasterKey(#[from] VaultError),
    /// Anything else.
    #[error("cannot open the database: {0}")]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
        match code.as_deref() {
            Some("42501") => Self::Rights(error),
            Some("25006") => Self::Standby,
            Some("42P01") => Self::NotMigrated,
            _ => Self::Database(error),
        }
    }
}

/// Brings the schema up to date, and makes the partitions of the next days.
///
/// Steps take only locks that are had at once or not at all: they wait two
/// seconds for one, and fail rather than hold up others.
pub async fn migrate(options: Options, env: Env) -> Result<(), OpenError> {
    let (hosts, mut connection) = Hosts::find(&options.url).await?;
    let patient =
        hosts.options(|options| options.options([("lock_timeout", "2s"), ("statement_timeout", "0")]));
    let one = PgPoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE).connect_lazy_with(patient);
    drop_unfinished_index(&one).await?;
    MIGRATIONS.run(&one).await.map_err(migration_error)?;
    one.close().await;
    partitions::make(&mut connection, env.now()).await?;
    open_vault(&mut connection, &options.master_key, &env).await?;
    Ok(())
}

/// An index that is made beside all others stays behind, of no use, when making
/// it was cut short; the next try would take it for a finished one.
async fn drop_unfinished_index(pool: &PgPool) -> Result<(), OpenError> {
    let unfinished: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         WHERE c.relname = 'waiting_in_order' AND NOT i.indisvalid)",
    )
    .fetch_one(pool)
    .await?;
    if unfinished {
        sqlx::raw_sql("DROP INDEX CONCURRENTLY IF EXISTS waiting_in_order").execute(pool).await?;
    }
    Ok(())
}

fn migration_error(error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(_) => OpenError::NewerSchema,
        MigrateError::Execute(error) => error.into(),
        MigrateError::ExecuteMigration(error, _) if matches!(&error, sqlx::Error::Database(e) if e.code().as_deref() == Some("42501")) => {
            OpenError::Rights(error)
        }
        other => OpenError::Migration(other),
    }
}

impl PostgresStore {
    /// Opens a database that is up to date.
    pub async fn open(options: Options, env: Env) -> Result<Self, OpenError> {
        let (hosts, mut connection) = Hosts::find(&options.url).await?;
        check_schema(&mut connection).await?;
        let vault = open_vault(&mut connection, &options.master_key, &env).await?;
        let machines = Arc::new(Machines::new(&mut connection, options.durability).await?);
        let (outbox, news) = announce::outbox();
        let extra = Extra { local: Default::default() };
        let shared = Arc::new(Shared::new(env, vault, options.public_url, extra));
        shared.refresh_snapshot(&mut connection).await?;
        sqlx::Connection::close(connection).await?;
        let pool = |most| hosts.pool(PgPoolOptions::new().max_connections(most).acquire_timeout(ACQUIRE));
        let (readers, lookouts, editors) = (pool(READERS), pool(LOOKOUTS), pool(EDITORS));
        // For the listener alone.
        let ear = hosts.pool(PgPoolOptions::new().max_connections(1));
        tokio::spawn(announce::send(editors.clone(), news));
        tokio::spawn(announce::listen(ear.clone(), Arc::downgrade(&shared)));
        let [writers, claiming] = [writer_options, writer_options].map(|tuning| Link::new(&hosts, tuning));
        let pulse = Link::new(&hosts, |options| options);
        hosts.look_after();
        let troubles = [&writers, &claiming, &pulse].map(Link::trouble);
        machines.look_after(lookouts.clone());
        let writer = writer::start(writers, Arc::clone(&shared), Arc::clone(&machines));
        let claims = claims::start(claiming);
        let looks = Default::default();
        let pulse = tokio::sync::Mutex::new(pulse);
        let store = Self {
            hosts,
            machines,
            readers,
            lookouts,
            editors,
            ear,
            outbox,
            writer,
            claims,
            pulse,
            troubles,
            shared,
            looks,
        };
        store.announce_to(Arc::new(crate::hand_off::NoLanes));
        Ok(store)
    }
}

/// How all connections to the server of an address are.
pub(super) fn connect_options(url: &str) -> Result<PgConnectOptions, OpenError> {
    let mut options = PgConnectOptions::from_str(url).map_err(OpenError::Url)?;
    let is_here = matches!(options.get_host(), "localhost" | "127.0.0.1" | "::1" | "[::1]")
        || options.get_socket().is_some()
        || options.get_host().starts_with('/');
    // Across a network the server has to prove who it is, unless told otherwise.
    if !is_here && !url.contains("sslmode=") {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    Ok(options
        .application_name("posthorn")
        .statement_cache_capacity(256)
        .options([
            ("synchronous_commit", "on"),
            ("statement_timeout", "9s"),
            ("idle_in_transaction_session_timeout", "9s"),
            ("jit", "off"),
        ])
        .log_statements(tracing::log::LevelFilter::Trace))
}

/// The writer's statements join a few rows with tables that may be large when
/// the plan is used and empty when it is made: a plan that reads a whole table
/// must not be chosen, and one plan is good for all.
fn writer_options(options: PgConnectOptions) -> PgConnectOptions {
    options.options([
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ])
}

async fn check_schema(connection: &mut PgConnection) -> Result<(), OpenError> {
    let applied: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
        .fetch_all(connection)
        .await?;
    if MIGRATIONS.iter().any(|known| !applied.contains(&known.version)) {
        return Err(OpenError::NotMigrated);
    }
    if applied.iter().any(|version| !MIGRATIONS.version_exists(*version)) {
        return Err(OpenError::NewerSchema);
    }
    Ok(())
}

/// Opens the data keys, and makes the first one.
async fn open_vault(
    connection: &mut PgConnection,
    master: &MasterKey,
    env: &Env,
) -> Result<Vault, OpenError> {
    let key = Vault::new_data_key(master, env.entropy.as_ref());
    sqlx::query(
        "WITH alone AS (SELECT pg_advisory_xact_lock(hashtext('posthorn data keys'))) \
         INSERT INTO data_keys (id, wrapped, created_at) SELECT $1, $2, $3 FROM alone \
         WHERE NOT EXISTS (SELECT 1 FROM data_keys)",
    )
    .bind(key.id)
    .bind(&key.wrapped)
    .bind(env.now().as_micros())
    .execute(&mut *connection)
    .await?;
    let rows = sqlx::query("SELECT id, wrapped FROM data_keys ORDER BY number").fetch_all(connection).await?;
    let mut keys = Vec::new();
    for row in rows {
        keys.push(WrappedKey { id: row.try_get(0)?, wrapped: row.try_get(1)? });
    }
    Ok(Vault::open(master, &keys)?)
}
