//! `posthorn bench`: the load and the report are those of the crate `bench`.

use ::bench::Load;
use clap::Args;
use secrecy::ExposeSecret as _;

use super::print;
use crate::cli::{ListenArgs, StoreArgs};
use crate::settings::{Database, Settings};

/// What to measure, and where.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    load: Load,
}

/// Measures, and prints a report.
pub(super) async fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let database = Settings::load(&args.store, &ListenArgs::default(), &[])?.database()?;
    let url = match &database {
        Database::Postgres(url) => Some(url.expose_secret()),
        Database::Sqlite(_) => None,
    };
    print(&::bench::run(&args.load, url).await?)
}
