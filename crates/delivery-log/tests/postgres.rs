//! PostgreSQL passes the suite, and keeps what only it promises.

use std::sync::Arc;

use async_trait::async_trait;
use delivery_log::conformance::Backend;
use delivery_log::conformance_suite;
use delivery_log::postgres::{OpenError, Options, PostgresStore, migrate};
use delivery_log::{SharedStore, Surroundings};
use model::clock::{ManualClock, Timestamp};
use model::entropy::SeededEntropy;
use model::vault::MasterKey;
use testkit::Postgres;

struct Database {
    url: String,
}

impl Database {
    fn new() -> Self {
        Self { url: Postgres::shared().new_database() }
    }

    fn name(&self) -> &str {
        self.url.rsplit('/').next().expect("a name")
    }

    fn options(&self, seed: u64) -> Options {
        Options {
            url: self.url.as_str().into(),
            master_key: MasterKey::generate(&SeededEntropy::new(seed)),
            public_url: "https://posthorn.example".to_owned(),
        }
    }

    fn sql(&self, statement: &str) -> String {
        Postgres::shared().sql(self.name(), statement)
    }
}

#[async_trait]
impl Backend for Database {
    async fn open(&self, surroundings: Surroundings) -> SharedStore {
        migrate(self.options(1), surroundings.clone()).await.expect("migrates");
        Arc::new(PostgresStore::open(self.options(1), surroundings).await.expect("opens"))
    }

    async fn reopen_after_crash(&self, store: SharedStore, surroundings: Surroundings) -> SharedStore {
        // Closing gives nothing back: lanes stay owned, as after a crash.
        store.close().await;
        self.sql("UPDATE processes SET beat_at = beat_at - interval '1 hour'");
        let store = self.open(surroundings).await;
        store.take_over_dead().await.expect("takes over");
        store
    }
}

conformance_suite!(Database::new());

fn surroundings() -> Surroundings {
    let clock = ManualClock::new(Timestamp::from_secs(1_795_262_400));
    Surroundings::new(Arc::new(clock), Arc::new(SeededEntropy::new(2)))
}

#[tokio::test]
async fn a_database_that_is_not_migrated_is_refused() {
    let database = Database::new();
    let opened = PostgresStore::open(database.options(1), surroundings()).await;
    assert!(matches!(opened, Err(OpenError::NotMigrated)), "{opened:?}");
}
