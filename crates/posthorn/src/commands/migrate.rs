//! `posthorn migrate`

use clap::Args;

use super::print;
use crate::cli::StoreArgs;
use crate::settings::Settings;
use crate::{store, system};

/// Which database.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// Brings the database up to date.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    store::migrate(settings, &system::env()).await?;
    print(&format!("the database {} is up to date", settings.database()?))
}
