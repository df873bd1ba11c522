//! The command line: which commands there are. What each takes stands beside it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::audit::AuditArgs;
use crate::commands::bench::BenchArgs;
use crate::commands::catalogue::CatalogueCommand;
use crate::commands::keys::KeysArgs;
use crate::commands::migrate::MigrateArgs;
use crate::commands::publish::PublishArgs;
use crate::commands::quickstart::QuickstartArgs;
use crate::commands::receive::ReceiveArgs;
use crate::commands::secrets::SecretsArgs;
use crate::commands::serve::ServeArgs;
use crate::commands::verify::VerifyArgs;

/// Posthorn delivers webhooks: signed, at least once, to every endpoint that wants them.
#[derive(Debug, Parser)]
#[command(name = "posthorn", version, about = ABOUT, after_help = FIRST_STEPS, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const ABOUT: &str = "Posthorn delivers webhooks: signed, at least once, to every endpoint that wants them.";

const FIRST_STEPS: &str = "\
First steps:
  posthorn quickstart                     see everything work, here and now
  export POSTHORN_ALLOW_TARGETS=127.0.0.1 POSTHORN_ALLOW_HTTP=true
                                          let endpoints be on this machine, to try it
  posthorn serve                          run it; the data is kept in ./posthorn-data
  export POSTHORN_API_KEY=$(posthorn keys create --project shop --scopes '*')
                                          in another terminal, in the same folder: a key
  posthorn receive --tenant acme          a receiver of your own, which shows what arrives
  posthorn publish --tenant acme --type order.paid --subject ord_1

Settings: flags, then POSTHORN_… in the environment, then ./posthorn.toml.
Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// Where the data is, and the other settings. Flags go before POSTHORN_*
/// variables, and those before posthorn.toml.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StoreArgs {
    /// A settings file instead of ./posthorn.toml
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    pub(crate) config: Option<PathBuf>,
    /// Where the data is kept, such as sqlite://posthorn-data/posthorn.db
    #[arg(long, value_name = "URL", help_heading = "Settings")]
    pub(crate) database_url: Option<String>,
}

/// Where a server listens.
#[derive(Debug, Default, Args)]
pub(crate) struct ListenArgs {
    /// Where the API listens [default: 127.0.0.1:8400]
    #[arg(long, value_name = "ADDRESS", help_heading = "Settings")]
    pub(crate) listen: Option<String>,
    /// Where metrics and health are served to operators [default: 127.0.0.1:8401]
    #[arg(long, value_name = "ADDRESS", help_heading = "Settings")]
    pub(crate) admin_listen: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// See it work: start everything here, publish events, deliver and check them
    Quickstart(QuickstartArgs),
    /// Run the platform
    Serve(ServeArgs),
    /// Bring the database up to date
    Migrate(MigrateArgs),
    /// Make, list and revoke API keys, straight on the database
    Keys(KeysArgs),
    /// Change the keys that secrets are sealed with, straight on the database
    Secrets(SecretsArgs),
    /// Check the audit logs, straight on the database
    Audit(AuditArgs),
    /// Keep the event types of a running server as a folder of JSON Schemas
    #[command(subcommand)]
    Catalogue(CatalogueCommand),
    /// Publish an event to a running server
    Publish(PublishArgs),
    /// Receive webhooks here, check their signatures, and show what comes
    Receive(ReceiveArgs),
    /// Check the signature of a saved request
    Verify(VerifyArgs),
    /// Measure: load generator and receiver, with a server of its own
    Bench(BenchArgs),
    /// Accept events and post them on, and nothing else, for bench
    #[command(hide = true)]
    Yardstick(bench::YardstickArgs),
    /// Answer one question about schemas, for the server
    #[command(hide = true)]
    Reason,
    /// Print the OpenAPI document
    #[command(hide = true)]
    Openapi,
    /// Print the settings with their defaults
    #[command(hide = true)]
    Defaults,
}
