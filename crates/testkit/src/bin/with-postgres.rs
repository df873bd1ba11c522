//! Runs a command beside a PostgreSQL server of its own.
//!
//! `with-postgres COMMAND …` starts a server as an operator would run it
//! (every commit waits for the disk, 512 MB of shared buffers, statistics of
//! statements), gives the command the address of an empty database in
//! `POSTHORN_DATABASE_URL` and the number of the server's first process in
//! `POSTHORN_BENCH_DATABASE_PROCESS`, and ends with the command's exit code.
//!
//! `with-postgres --standby COMMAND …` gives the server a standby on the same
//! disk and processors, for which every commit waits.

use std::process::{Command, ExitCode};

use testkit::Postgres;

/// What differs from PostgreSQL's defaults.
const SETTINGS: [(&str, &str); 4] = [
    ("shared_buffers", "512MB"),
    ("max_wal_size", "4GB"),
    ("shared_preload_libraries", "pg_stat_statements"),
    ("track_io_timing", "on"),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let mut program = arguments.next();
    let with_standby = program.as_deref().is_some_and(|first| first == "--standby");
    if with_standby {
        program = arguments.next();
    }
    let Some(program) = program else {
        eprintln!("usage: with-postgres [--standby] COMMAND …");
        return ExitCode::from(2);
    };
    let server = Postgres::start(&SETTINGS);
    let _standby = with_standby.then(|| {
        let standby = server.standby();
        server.set("synchronous_standby_names", "*");
        standby
    });
    let url = server.new_database();
    let database = url.rsplit('/').next().unwrap_or_default();
    server.sql(database, "CREATE EXTENSION pg_stat_statements");
    let status = Command::new(&program)
        .args(arguments)
        .env("POSTHORN_DATABASE_URL", &url)
        .env("POSTHORN_BENCH_DATABASE_PROCESS", server.first_process().to_string())
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("cannot run {}: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}
