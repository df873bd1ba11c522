//! The program: settings, wiring, shutdown, and the command line.

mod cli;
mod commands;
mod descriptors;
mod logging;
mod master_key;
mod server_args;
mod settings;
mod standbys;
mod store;
mod system;
mod wiring;

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;
use model::causes::with_causes;

/// Every event makes many small allocations: docs/performance.md has the gain.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Exit codes: 0 done, 1 failed, 2 wrong usage (which `clap` takes care of).
fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    if let cli::Command::Reason = cli.command {
        // With a limit of memory, which the threads below would take.
        return commands::reason::run().map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS);
    }
    // Half of the processors: the API's threads and the database's want the rest.
    let threads = std::thread::available_parallelism().map_or(1, |all| all.get().div_ceil(2));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("posthorn: {}", with_causes(error.as_ref()));
    ExitCode::FAILURE
}
