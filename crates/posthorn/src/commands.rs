//! What each command does, one file each.

pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod catalogue;
pub(crate) mod keys;
pub(crate) mod migrate;
pub(crate) mod publish;
pub(crate) mod quickstart;
pub(crate) mod reason;
pub(crate) mod receive;
pub(crate) mod secrets;
pub(crate) mod serve;
pub(crate) mod verify;

use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::{Cli, Command, ListenArgs, StoreArgs};
use crate::logging;
use crate::settings::{DEFAULTS, Settings};

/// Runs a command to its end.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let load = |store: &StoreArgs, listen: &ListenArgs| -> anyhow::Result<Settings> {
        let settings = Settings::load(store, listen, &[])?;
        logging::start(&settings)?;
        Ok(settings)
    };
    match cli.command {
        Command::Quickstart(args) => return quickstart::run(&args).await,
        Command::Serve(args) => serve::run(&load(&args.store, &args.listen)?, &args).await?,
        Command::Migrate(args) => migrate::run(&load(&args.store, &ListenArgs::default())?).await?,
        Command::Keys(args) => keys::run(&load(&args.store, &ListenArgs::default())?, args.command).await?,
        Command::Secrets(args) => {
            secrets::run(&load(&args.store, &ListenArgs::default())?, args.command).await?;
        }
        Command::Audit(args) => {
            return audit::run(&load(&args.store, &ListenArgs::default())?, args.command).await;
        }
        Command::Catalogue(command) => return catalogue::run(&command).await,
        Command::Publish(args) => publish::run(&args).await?,
        Command::Receive(args) => receive::run(args).await?,
        Command::Verify(args) => verify::run(&args)?,
        Command::Bench(args) => bench::run(&args).await?,
        Command::Yardstick(args) => ::bench::serve_yardstick(&args).await?,
        Command::Reason => reason::run()?,
        Command::Openapi => print(&events_api::openapi_document())?,
        Command::Defaults => print(DEFAULTS.trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a result. A reader that has gone away is no error of ours.
fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
