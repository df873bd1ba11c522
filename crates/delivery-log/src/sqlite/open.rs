//! Opening the file: one owner, the right SQLite, the right schema, the right
//! master key, and nothing left in a dead process's hands.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Row, SqliteConnection, SqlitePool};

use model::vault::{MasterKey, Vault, VaultError, WrappedKey};

use super::identity::Identity;
use super::{Extra, OLDEST_SQLITE, Shared, SqliteStore, lanes, writer};
use crate::Env;
use crate::migrations::{migrator, steps};

/// The schema, step by step.
pub(crate) static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    migrator(steps!(
        "sqlite": "0001_foundation",
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

/// How long a statement waits for another process's transaction.
pub(super) const BUSY: Duration = Duration::from_secs(2);
/// How often, and how far apart, something that another process is about to
/// finish is tried.
const ATTEMPTS: u32 = 20;
/// See [`ATTEMPTS`].
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);
/// How many readers work at the same time.
const READERS: u32 = 4;

/// Whether this process is the server of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// It is, and no other may be: it takes over what the last one left.
    Server,
    /// It only administers, beside a server that may be running.
    Beside,
}

/// How to open a store.
#[derive(Debug)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// The key that the data keys are wrapped with.
    pub master_key: MasterKey,
    /// Where the deployment is reached, for thin payloads.
    pub public_url: String,
    /// Whether this process is the server.
    pub ownership: Ownership,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server runs on the same file.
    #[error(
        "another Posthorn server is using {0}; stop it first, or give this one its own POSTHORN_DATABASE_URL"
    )]
    InUse(PathBuf),
    /// The file or its folder cannot be used.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The linked SQLite is too old.
    #[error("SQLite {found} is linked; {}.{}.{} or newer is needed", OLDEST_SQLITE.0, OLDEST_SQLITE.1, OLDEST_SQLITE.2)]
    OldSqlite {
        /// Its version.
        found: String,
    },
    /// The master key does not fit.
    #[error("{0}; set POSTHORN_MASTER_KEY to the key that this database was made with")]
    MasterKey(#[from] VaultError),
    /// The schema is from a newer program, or was changed by hand.
    #[error("the database schema does not fit this program: {0}")]
    Schema(#[from] MigrateError),
    /// Anything else.
    #[error("cannot open the database {path}: {source}")]
    Database {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
}

impl SqliteStore {
    /// Opens the store, and makes it if it is not there.
    pub async fn open(options: Options, env: Env) -> Result<Self, OpenError> {
        let lock = match options.ownership {
            Ownership::Server => lock_patiently(&options.path).await?,
            Ownership::Beside => lock(&options.path)?,
        };
        let path = options.path.clone();
        Self::open_locked(options, env, lock).await.map_err(|error| match error {
            Trouble::Open(error) => error,
            Trouble::Database(source) => OpenError::Database { path, source },
        })
    }

    async fn open_locked(options: Options, env: Env, lock: Lock) -> Result<Self, Trouble> {
        let setup = SqlitePoolOptions::new().max_connections(1);
        let setup = setup.connect_with(connect_options(&options.path)).await?;
        check_version(&setup).await?;
        // Under a running server the schema stays as that server knows it.
        match lock.is_ours {
            true => MIGRATIONS.run(&setup).await.map_err(OpenError::Schema)?,
            false => wait_for_schema(&setup).await?,
        }
        if options.ownership == Ownership::Beside && lock.is_ours {
            // A server may start beside. The file stays open: closing it would
            // take the locks of SQLite with it, which belong to the process.
            lock.file.unlock().map_err(|source| OpenError::File { path: options.path.clone(), source })?;
        }
        let mut connection = setup.acquire().await?.detach();
        let vault = open_vault(&mut connection, &options.master_key, &env).await?;
        let extra = Extra { next_event: AtomicI64::new(next_event(&mut connection).await?) };
        let shared = Arc::new(Shared::new(env, vault, options.public_url, extra));
        if options.ownership == Ownership::Server {
            sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
            let interrupted = lanes::take_over_all(&mut connection, &shared).await?;
            sqlx::query("COMMIT").execute(&mut connection).await?;
            if interrupted > 0 {
                tracing::info!(interrupted, "deliveries that the last process had claimed are due again");
            }
        }
        shared.refresh_through(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(connect_options(&options.path).read_only(true));
        let identity = Identity::of(&options.path, &lock.file).ok_or_else(|| OpenError::File {
            path: options.path.clone(),
            source: std::io::Error::other("it was replaced while it was opened"),
        })?;
        let writer = writer::start(connection, lock.file, identity, Arc::clone(&shared));
        Ok(Self { readers, writer, shared })
    }
}

enum Trouble {
    Open(OpenError),
    Database(sqlx::Error),
}

impl From<OpenError> for Trouble {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

fn connect_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit has reached the disk when it returns, also through a power cut.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .foreign_keys(true)
        .statement_cache_capacity(512)
        .pragma("cache_size", "-6144")
        // 16 MiB between checkpoints: hot pages are written back less often.
        .pragma("wal_autocheckpoint", "4000")
        .pragma("temp_store", "memory")
        // What is deleted is overwritten: an erasure leaves no byte in the file.
        .pragma("secure_delete", "ON")
        .log_statements(tracing::log::LevelFilter::Trace)
}

/// The database's file, and whether this process is its server.
struct Lock {
    file: File,
    is_ours: bool,
}

/// Takes the lock that says: this process is the server. It is that of the
/// file itself, whatever name it has, and of another kind than SQLite's own
/// (flock(2), and not fcntl(2)). The system frees it when the process ends,
/// however it ends.
fn lock(path: &Path) -> Result<Lock, OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        make_private(folder, path);
    }
    let file = File::options().create(true).read(true).append(true).mode(0o600).open(path).map_err(failed)?;
    keep_from_others(path, 0o600);
    match file.try_lock() {
        Ok(()) => Ok(Lock { file, is_ours: true }),
        Err(TryLockError::WouldBlock) => Ok(Lock { file, is_ours: false }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Keeps others from a folder that was there, if there is nothing in it but the
/// database and what belongs to it: a folder for other things is somebody's.
fn make_private(folder: &Path, database: &Path) {
    let Some(name) = database.file_name().map(|name| name.to_string_lossy().into_owned()) else { return };
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let is_ours = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| {
            let entry = entry.file_name().to_string_lossy().into_owned();
            entry.starts_with(&name) || entry == MASTER_KEY
        })
    };
    if entries.take(MOST_OF_OURS + 1).all(is_ours) {
        keep_from_others(folder, 0o700);
    }
}

/// The name of the file with the master key, which is made beside the database.
const MASTER_KEY: &str = "master.key";
/// More files than belong to a database.
const MOST_OF_OURS: usize = 16;

/// Takes the rights of others away, where that is ours to do.
fn keep_from_others(path: &Path, mode: u32) {
    if let Err(error) = std::fs::set_permissions(path, Permissions::from_mode(mode)) {
        tracing::warn!(path = %path.display(), %error, "others may be able to read the database");
    }
}

/// Like [`lock`], for a server: an administrative command may hold the lock
/// for a moment, while it makes the schema.
async fn lock_patiently(path: &Path) -> Result<Lock, OpenError> {
    for _ in 0..ATTEMPTS {
        let lock = lock(path)?;
        if lock.is_ours {
            return Ok(lock);
        }
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
    Err(OpenError::InUse(path.to_owned()))
}

/// Beside a server that has only just started: waits until it has made the schema.
async fn wait_for_schema(database: &SqlitePool) -> Result<(), Trouble> {
    for _ in 0..ATTEMPTS {
        let keys = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM data_keys").fetch_one(database).await;
        if keys.is_ok_and(|keys| keys > 0) {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
    Ok(())
}

async fn check_version(database: &SqlitePool) -> Result<(), Trouble> {
    let found: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(database).await?;
    let mut numbers = found.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    if (next(), next(), next()) < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite { found }.into());
    }
    Ok(())
}

async fn next_event(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    let last: Option<i64> =
        sqlx::query_scalar("SELECT max(position) FROM events").fetch_one(connection).await?;
    Ok(last.unwrap_or(0) + 1)
}

/// Opens the data keys, and makes the first one.
async fn open_vault(
    connection: &mut SqliteConnection,
    master: &MasterKey,
    env: &Env,
) -> Result<Vault, Trouble> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let rows =
        sqlx::query("SELECT id, wrapped FROM data_keys ORDER BY number").fetch_all(&mut *connection).await?;
    let mut keys = Vec::new();
    for row in rows {
        keys.push(WrappedKey { id: row.try_get(0)?, wrapped: row.try_get(1)? });
    }
    if keys.is_empty() {
        let key = Vault::new_data_key(master, env.entropy.as_ref());
        sqlx::query("INSERT INTO data_keys (id, wrapped, created_at) VALUES (?, ?, ?)")
            .bind(key.id)
            .bind(&key.wrapped)
            .bind(env.now().as_micros())
            .execute(&mut *connection)
            .await?;
        keys.push(key);
    }
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(Vault::open(master, &keys).map_err(OpenError::MasterKey)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("is there").permissions().mode() & 0o777
    }

    #[test]
    fn the_database_is_its_owners_alone_also_in_a_folder_that_was_there() {
        let parent = tempfile::TempDir::new().expect("a folder");
        let made = |name: &str, other: Option<&str>| {
            let folder = parent.path().join(name);
            std::fs::create_dir(&folder).expect("is made");
            for file in ["posthorn.db", MASTER_KEY].into_iter().chain(other) {
                std::fs::write(folder.join(file), "").expect("is written");
                let open = Permissions::from_mode(0o644);
                std::fs::set_permissions(folder.join(file), open).expect("is set");
            }
            std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("is set");
            lock(&folder.join("posthorn.db")).expect("is locked");
            (mode(&folder), mode(&folder.join("posthorn.db")))
        };
        assert_eq!(made("own", None), (0o700, 0o600));
        assert_eq!(made("shared", Some("report.txt")), (0o755, 0o600), "somebody else's file is in it");
        lock(&parent.path().join("new/posthorn.db")).expect("is locked");
        assert_eq!(mode(&parent.path().join("new")), 0o700);
    }
}
