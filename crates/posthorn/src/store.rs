//! Opening the store that the settings name.

use std::sync::Arc;

use delivery_log::durability::Durability;
use delivery_log::postgres::{self, PostgresStore};
use delivery_log::sqlite::{self, Ownership, SqliteStore};
use delivery_log::{Env, SharedStore};

use crate::master_key;
use crate::settings::{Database, Settings};

/// Opens the store, as its server or beside one.
pub(crate) async fn open(
    settings: &Settings,
    public_url: String,
    env: &Env,
    ownership: Ownership,
) -> anyhow::Result<SharedStore> {
    Ok(match settings.database()? {
        Database::Sqlite(path) => {
            anyhow::ensure!(
                settings.durability == Durability::OneMachine,
                "durability = \"two-machines\" needs PostgreSQL with a synchronous standby: the embedded store is on one \
                 machine"
            );
            let (own, next) = master_key::beside(settings, &path, env.entropy.as_ref()).await?;
            let with = |master_key| {
                let options = sqlite::Options {
                    path: path.clone(),
                    master_key,
                    public_url: public_url.clone(),
                    ownership,
                };
                SqliteStore::open(options, env.clone())
            };
            match (with(own).await, next) {
                // The store was wrapped with the next key, and then this was interrupted.
                (Err(sqlite::OpenError::MasterKey(_)), Some(next)) => {
                    let store = with(next).await?;
                    master_key::end_change(&path)?;
                    Arc::new(store)
                }
                (opened, _) => Arc::new(opened?),
            }
        }
        Database::Postgres(url) => {
            // Who only looks or changes a setting acknowledges no events.
            let durability = match ownership {
                Ownership::Server => settings.durability,
                Ownership::Beside => Durability::OneMachine,
            };
            let master_key = master_key::given(settings).await?;
            let options = postgres::Options { url, master_key, public_url, durability };
            Arc::new(PostgresStore::open(options, env.clone()).await?)
        }
    })
}

/// Opens a store that is there, beside its server if it has one.
pub(crate) async fn open_beside(settings: &Settings, env: &Env) -> anyhow::Result<SharedStore> {
    if let Database::Sqlite(path) = settings.database()?
        && !path.exists()
    {
        anyhow::bail!(
            "there is no store at {}: start `posthorn serve` in this folder first, which makes it, or name another \
             one with --database-url or POSTHORN_DATABASE_URL",
            path.display()
        );
    }
    open(settings, String::new(), env, Ownership::Beside).await
}

/// Brings the database up to date.
pub(crate) async fn migrate(settings: &Settings, env: &Env) -> anyhow::Result<()> {
    if let Database::Postgres(url) = settings.database()? {
        let master_key = master_key::given(settings).await?;
        let durability = Durability::OneMachine;
        let options = postgres::Options { url, master_key, public_url: String::new(), durability };
        postgres::migrate(options, env.clone()).await?;
    }
    // The embedded store does it whenever it is opened.
    let store = open(settings, String::new(), env, Ownership::Beside).await?;
    store.check_ready().await?;
    store.close().await;
    Ok(())
}
