//! `posthorn secrets`: straight on the database.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use delivery_log::SharedStore;
use model::audit::{Action, Actor, Entry};
use model::vault::MasterKey;

use super::print;
use crate::cli::StoreArgs;
use crate::settings::{Database, Settings, secret_file};
use crate::{master_key, store, system};

/// Where the key stands that is to be the master key.
const NEW_KEY: &str = "POSTHORN_NEW_MASTER_KEY";

/// What to do with the keys that secrets are sealed with.
#[derive(Debug, Args)]
pub(crate) struct SecretsArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(subcommand)]
    pub(crate) command: SecretsCommand,
}

/// What to do with the keys that secrets are sealed with.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Change the master key; running servers go on
    ///
    /// Where the key is in the file beside an embedded database, a new one is made and
    /// takes its place. Otherwise the new key is read from POSTHORN_NEW_MASTER_KEY or
    /// the file that POSTHORN_NEW_MASTER_KEY_FILE names: give it to all processes
    /// before they start the next time.
    RotateMaster,
}

/// Changes the master key.
pub(super) async fn run(settings: &Settings, command: SecretsCommand) -> anyhow::Result<()> {
    let SecretsCommand::RotateMaster = command;
    match settings.database()? {
        Database::Sqlite(path) if master_key::is_in_file(settings) => {
            let env = system::env();
            let change = master_key::Change::begin(&path)?;
            // Ends one that was cut off before.
            let store = store::open_beside(settings, &env).await?;
            let (own, _) = master_key::beside(settings, &path, env.entropy.as_ref()).await?;
            let next = change.write_next(env.entropy.as_ref())?;
            let keys = rotate(&store, &own, &next).await?;
            let file = change.end(&next)?;
            note(&store).await?;
            store.close().await;
            print(&format!(
                "{keys} data keys are wrapped with the new master key in {}; keep a copy of it somewhere else",
                file.display()
            ))
        }
        _ => {
            let next = std::env::var(NEW_KEY).ok().filter(|text| !text.is_empty());
            let next = next.map_or_else(|| secret_file(NEW_KEY), |text| Ok(Some(text)))?;
            let next = next.with_context(|| {
                format!("set {NEW_KEY} or {NEW_KEY}_FILE to the new key; `openssl rand -base64 32` makes one")
            })?;
            let next = MasterKey::parse(&next).context(NEW_KEY)?;
            let store = store::open_beside(settings, &system::env()).await?;
            let own = master_key::given(settings).await?;
            let keys = rotate(&store, &own, &next).await?;
            note(&store).await?;
            store.close().await;
            print(&format!(
                "{keys} data keys are wrapped with the new master key; give it to all processes before they start again"
            ))
        }
    }
}

async fn rotate(store: &SharedStore, own: &MasterKey, next: &MasterKey) -> anyhow::Result<usize> {
    let rotated = store.rotate_master_key(own, next).await?;
    rotated.context("the master key was changed by somebody else at this moment")
}

/// Tells the audit log of each project.
async fn note(store: &SharedStore) -> anyhow::Result<()> {
    store.refresh().await?;
    for project in store.configuration().all_projects() {
        let entry = Entry::by(Actor::CommandLine, Action::MasterKeyRotated, "master key");
        store.record(project.id, entry).await?;
    }
    Ok(())
}
