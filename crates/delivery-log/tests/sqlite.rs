//! The embedded store passes the suite, and keeps what only it promises.

mod fixture;

use std::sync::Arc;

use async_trait::async_trait;
use delivery_log::conformance::Backend;
use delivery_log::conformance::entry;
use delivery_log::conformance_suite;
use delivery_log::sqlite::{OpenError, Options, Ownership, SqliteStore};
use delivery_log::{Env, SharedStore};
use model::clock::{ManualClock, Timestamp};
use model::entropy::SeededEntropy;
use model::vault::MasterKey;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder") }
    }

    fn options(&self, seed: u64) -> Options {
        Options {
            path: self.folder.path().join("posthorn.db"),
            master_key: MasterKey::generate(&SeededEntropy::new(seed)),
            public_url: "https://posthorn.example".to_owned(),
            ownership: Ownership::Server,
        }
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn open(&self, env: Env) -> SharedStore {
        Arc::new(SqliteStore::open(self.options(1), env).await.expect("opens"))
    }

    async fn reopen_after_crash(&self, store: SharedStore, env: Env) -> SharedStore {
        // Closing gives nothing back: lanes stay owned, as after a crash.
        store.close().await;
        self.open(env).await
    }
}

conformance_suite!(Sqlite::new());

fn env() -> Env {
    let clock = ManualClock::new(Timestamp::from_secs(1_795_262_400));
    Env::new(Arc::new(clock), Arc::new(SeededEntropy::new(2)))
}

/// What a server of the first version left, with the master key that it had.
#[tokio::test]
async fn a_filled_store_of_the_first_version_is_migrated() {
    let sqlite = Sqlite::new();
    let path = sqlite.folder.path().join("posthorn.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.expect("opens");
    sqlx::raw_sql(include_str!("fixtures/sqlite-0001.sql"))
        .execute(&mut connection)
        .await
        .expect("is filled");
    connection.close().await.expect("closes");
    let options = Options { master_key: fixture::master_key(), ..sqlite.options(1) };
    let store = SqliteStore::open(options, env()).await.expect("is migrated");
    fixture::check(Arc::new(store)).await;
}

#[tokio::test]
async fn a_store_that_a_server_owns_is_refused_to_a_second_one() {
    let sqlite = Sqlite::new();
    let first = sqlite.open(env()).await;
    let second = SqliteStore::open(sqlite.options(1), env()).await;
    assert!(matches!(second, Err(OpenError::InUse(_))), "{second:?}");
    let beside = Options { ownership: Ownership::Beside, ..sqlite.options(1) };
    assert!(SqliteStore::open(beside, env()).await.is_ok());
    first.close().await;
    assert!(SqliteStore::open(sqlite.options(1), env()).await.is_ok());
}

#[tokio::test]
async fn a_wrong_master_key_is_refused() {
    let sqlite = Sqlite::new();
    sqlite.open(env()).await.close().await;
    let wrong = SqliteStore::open(sqlite.options(99), env()).await;
    assert!(matches!(wrong, Err(OpenError::MasterKey(_))), "{wrong:?}");
}

#[tokio::test]
async fn a_change_made_beside_the_server_is_seen_by_it() {
    let sqlite = Sqlite::new();
    let server = sqlite.open(env()).await;
    let beside = Options { ownership: Ownership::Beside, ..sqlite.options(1) };
    let beside: SharedStore = Arc::new(SqliteStore::open(beside, env()).await.expect("opens"));
    let name = model::names::ProjectName::parse("shop").expect("a name");
    let project = beside.ensure_project(&name, entry()).await.expect("a project");
    assert!(server.configuration().project(project.id).is_none());
    server.refresh().await.expect("refreshes");
    assert!(server.configuration().project(project.id).is_some());
}
