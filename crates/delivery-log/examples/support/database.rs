//! An empty PostgreSQL database to measure on.

use std::sync::Arc;

use async_trait::async_trait;
use delivery_log::conformance::Backend;
use delivery_log::postgres::{Options, PostgresStore, migrate};
use delivery_log::{Env, SharedStore};
use model::entropy::SeededEntropy;
use model::vault::MasterKey;

/// The one at this address.
pub(crate) struct Database(pub(crate) String);

impl Database {
    fn options(&self) -> Options {
        Options {
            url: self.0.as_str().into(),
            master_key: MasterKey::generate(&SeededEntropy::new(1)),
            public_url: String::new(),
            durability: Default::default(),
        }
    }
}

#[async_trait]
impl Backend for Database {
    async fn open(&self, env: Env) -> SharedStore {
        migrate(self.options(), env.clone()).await.expect("migrates");
        Arc::new(PostgresStore::open(self.options(), env).await.expect("opens"))
    }

    async fn reopen_after_crash(&self, store: SharedStore, _: Env) -> SharedStore {
        store
    }
}
