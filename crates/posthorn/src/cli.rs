//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::access::Scopes;
use model::ids::KeyId;
use model::names::ProjectName;

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
    Migrate {
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Make, list and revoke API keys, straight on the database
    Keys(KeysArgs),
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
    Yardstick {
        /// Where to post
        #[arg(long)]
        to: SocketAddr,
    },
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

/// How to run the quickstart.
#[derive(Debug, Args)]
pub(crate) struct QuickstartArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    /// End when everything is delivered, with status 0 if all was verified
    #[arg(long)]
    pub(crate) exit: bool,
    /// How many events to publish
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) events: u32,
}

/// How to serve.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    /// Which part of the work this process does
    #[arg(long, value_enum, default_value_t = Role::All)]
    pub(crate) role: Role,
}

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// The API and the dispatcher
    All,
    /// The API alone; needs a database that several processes can share
    Api,
    /// The dispatcher alone; needs a database that several processes can share
    Dispatcher,
}

/// Which keys, and what to do with them.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key, and the project if there is none; prints the key alone
    Create(CreateKeyArgs),
    /// List the keys of all projects
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a key at once
    Revoke {
        /// Its id: key_…
        key: KeyId,
    },
}

/// A key to be made.
#[derive(Debug, Args)]
pub(crate) struct CreateKeyArgs {
    /// The project that it opens
    #[arg(long, value_parser = |text: &str| ProjectName::parse(text))]
    pub(crate) project: ProjectName,
    /// What it may do, separated by commas; * is everything
    #[arg(long)]
    pub(crate) scopes: Scopes,
    /// For people
    #[arg(long, default_value = "made on the command line")]
    pub(crate) name: String,
    /// The only tenant that it may see
    #[arg(long)]
    pub(crate) tenant: Option<String>,
}

/// What to do with the catalogue of event types.
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogueCommand {
    /// Show what a folder would change, and change it
    Apply(ApplyArgs),
    /// Show what a folder would change; status 1 if that would break a customer
    Check(CheckArgs),
    /// Write the catalogue to a folder
    Export(ExportArgs),
}

/// A folder to be applied.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The folder: NAME/1.json, NAME/2.json, …
    pub(crate) folder: PathBuf,
    /// Change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A folder to be checked.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The folder: NAME/1.json, NAME/2.json, …
    pub(crate) folder: PathBuf,
    /// Let a new version break with the one before without a downgrade
    #[arg(long)]
    pub(crate) allow_breaking: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where to write the catalogue.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The folder; files of the same names are replaced
    pub(crate) folder: PathBuf,
}

/// Where a running server is.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Where the server is reached
    #[arg(long, env = "POSTHORN_URL", default_value = "http://127.0.0.1:8400")]
    pub(crate) url: String,
    /// The key to use; or a file that holds it, in POSTHORN_API_KEY_FILE
    #[arg(long, env = "POSTHORN_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
}

/// An event to publish.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The customer that it is for
    #[arg(long)]
    pub(crate) tenant: String,
    /// What happened, such as order.paid
    #[arg(long = "type")]
    pub(crate) event_type: String,
    /// The id of the object that it happened to
    #[arg(long)]
    pub(crate) subject: String,
    /// A JSON object; - reads it from standard input
    #[arg(long, default_value = "{}")]
    pub(crate) data: String,
    /// Makes a repeated publish the same publish
    #[arg(long)]
    pub(crate) idempotency_key: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How to receive.
#[derive(Debug, Args)]
pub(crate) struct ReceiveArgs {
    /// Register this receiver as an endpoint of this tenant, which is made if it is not there, and remove it at the
    /// end; without it, register its address yourself
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000")]
    pub(crate) listen: SocketAddr,
    /// The endpoint's secret, whsec_… (or public key, whpk_…), if you registered it yourself; not needed with --tenant
    #[arg(long, env = "POSTHORN_SIGNING_SECRET", hide_env_values = true)]
    pub(crate) secret: Option<String>,
    /// The statuses to answer, one after the other; the last one stays: 503,503,204
    #[arg(long, value_delimiter = ',', default_value = "204", value_parser = clap::value_parser!(u16).range(200..=599))]
    pub(crate) answer: Vec<u16>,
    /// Send Retry-After with answers other than 2xx
    #[arg(long, value_name = "SECONDS")]
    pub(crate) retry_after: Option<u32>,
    /// Answer after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) delay: u64,
    /// Print a line of JSON for each request
    #[arg(long)]
    pub(crate) json: bool,
}

/// A saved request.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The endpoint's secret: whsec_…
    #[arg(long, env = "POSTHORN_SIGNING_SECRET", hide_env_values = true)]
    pub(crate) secret: String,
    /// The header webhook-id
    #[arg(long)]
    pub(crate) id: String,
    /// The header webhook-timestamp
    #[arg(long)]
    pub(crate) timestamp: String,
    /// The header webhook-signature
    #[arg(long)]
    pub(crate) signature: String,
    /// A file with the exact bytes of the body; - is standard input
    #[arg(long)]
    pub(crate) body: PathBuf,
}

/// Which version endpoints want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Wanted {
    /// What is published
    Newest,
    /// The first one: every event is downgraded
    Pinned,
}

/// What an endpoint may do instead of taking what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Misbehaviour {
    /// Accepts and never answers
    Hang,
    /// Sends a byte of its answer every second
    Drip,
    /// Resets the connection
    Reset,
    /// Answers 500
    Fail,
    /// Answers 302
    Redirect,
    /// Answers 429
    Refuse,
}

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// How many events to publish
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    pub(crate) events: u64,
    /// Events a second; as fast as answers come if not given
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: Option<u32>,
    /// Connections that publish at the same time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) publishers: u32,
    /// Endpoints, each of a tenant of its own; events go to them in turn
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) endpoints: u32,
    /// Length of the data of each event, in bytes
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(20..=200_000))]
    pub(crate) data_bytes: u32,
    /// Publish invoices instead of a text
    #[arg(long)]
    pub(crate) invoices: bool,
    /// Publish invoices against a catalogue of 100 types with three versions each, to
    /// endpoints that want this version
    #[arg(long, value_name = "WANTED")]
    pub(crate) catalogue: Option<Wanted>,
    /// Send every fifth event to an endpoint that does this
    #[arg(long, value_name = "WHAT")]
    pub(crate) every_fifth: Option<Misbehaviour>,
    /// Endpoints of each tenant: every event goes to so many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) fan_out: u32,
    /// Have so many events wait for a paused endpoint before the count begins
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    pub(crate) held: u64,
    /// Have so many endpoints that get nothing, of one tenant for every hundred
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) idle_endpoints: u32,
    /// Have one process that answers and so many that deliver, instead of one for both (PostgreSQL)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) dispatchers: Option<u32>,
    /// Crash the database when a third of the events have arrived, and compare
    /// the rate before with the rate from 30 s after (beside with-postgres)
    #[arg(long)]
    pub(crate) crash_database: bool,
    /// Keep an old snapshot open in the database while the count runs (PostgreSQL, with psql)
    #[arg(long)]
    pub(crate) pinned_snapshot: bool,
    /// Do not let the receiver answer until all is published, to see the memory of a backlog
    #[arg(long)]
    pub(crate) hold_back: bool,
    /// Measure the yardstick alone: accepting, answering 202 and posting on, with nothing
    /// stored, signed or checked
    #[arg(long, conflicts_with_all = ["rate", "dispatchers", "crash_database", "pinned_snapshot", "hold_back", "every_fifth", "held", "idle_endpoints", "catalogue"])]
    pub(crate) yardstick: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
