//! What to measure, as the command line says it.

use clap::{Args, ValueEnum};

/// Which version endpoints want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Wanted {
    /// What is published
    Newest,
    /// The first one: every event is downgraded
    Pinned,
}

/// What an endpoint may do instead of taking what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Misbehaviour {
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
pub struct Load {
    /// How many events to publish
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    pub events: u64,
    /// Events a second; as fast as answers come if not given
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// Connections that publish at the same time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub publishers: u32,
    /// Endpoints, each of a tenant of its own; events go to them in turn
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub endpoints: u32,
    /// Length of the data of each event, in bytes
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(20..=200_000))]
    pub data_bytes: u32,
    /// Publish invoices instead of a text
    #[arg(long)]
    pub invoices: bool,
    /// Publish invoices against a catalogue of 100 types with three versions each, to
    /// endpoints that want this version
    #[arg(long, value_name = "WANTED")]
    pub catalogue: Option<Wanted>,
    /// Send every fifth event to an endpoint that does this
    #[arg(long, value_name = "WHAT")]
    pub every_fifth: Option<Misbehaviour>,
    /// Endpoints of each tenant: every event goes to so many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub fan_out: u32,
    /// Have so many events wait for a paused endpoint before the count begins
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    pub held: u64,
    /// Have so many endpoints that get nothing, of one tenant for every hundred
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub idle_endpoints: u32,
    /// Have one process that answers and so many that deliver, instead of one for both (PostgreSQL)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub dispatchers: Option<u32>,
    /// Crash the database when a third of the events have arrived, and compare
    /// the rate before with the rate from 30 s after (beside with-postgres)
    #[arg(long)]
    pub crash_database: bool,
    /// Keep an old snapshot open in the database while the count runs (PostgreSQL, with psql)
    #[arg(long)]
    pub pinned_snapshot: bool,
    /// Do not let the receiver answer until all is published, to see the memory of a backlog
    #[arg(long)]
    pub hold_back: bool,
    /// Measure the yardstick alone: accepting, answering 202 and posting on, with nothing
    /// stored, signed or checked
    #[arg(long, conflicts_with_all = ["rate", "dispatchers", "crash_database", "pinned_snapshot", "hold_back", "every_fifth", "held", "idle_endpoints", "catalogue"])]
    pub yardstick: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
