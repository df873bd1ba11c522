//! What the server and its database have used.
//!
//! The database's part is known where `with-postgres` started it: it says
//! which process is the server's first, and all others are its children.

use std::process::Command;

use anyhow::{Context as _, ensure};

/// Linux counts in hundredths of a second for user space (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// A PostgreSQL server on this machine whose use can be read.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    first_process: u32,
    url: String,
}

/// Processor seconds and statements so far, or between two moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) server_seconds: f64,
    pub(crate) database: Option<DatabaseUsage>,
}

/// The database's part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DatabaseUsage {
    pub(crate) seconds: f64,
    /// Statements, each of which is a way to the database and back.
    pub(crate) statements: f64,
}

impl Database {
    /// The one that the environment names.
    pub(crate) fn from_environment(url: &str) -> Option<Self> {
        let first_process = std::env::var("POSTHORN_BENCH_DATABASE_PROCESS").ok()?.parse().ok()?;
        Some(Self { first_process, url: url.to_owned() })
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Kills one of its processes the hard way, after which the first one ends
    /// all the others and recovers.
    pub(crate) fn crash(&self) -> anyhow::Result<()> {
        let some = "SELECT pid FROM pg_stat_activity WHERE application_name = 'posthorn' LIMIT 1";
        let output = Command::new("psql").args(["-XqAt", "-d", &self.url, "-c", some]).output();
        let process = String::from_utf8(output.context("cannot run psql")?.stdout)?;
        let killed = Command::new("kill").args(["-KILL", process.trim()]).status()?;
        ensure!(killed.success(), "process {} was not killed", process.trim());
        Ok(())
    }

    fn usage(&self) -> anyhow::Result<DatabaseUsage> {
        let sql = "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements";
        let output = Command::new("psql").args(["-XqAt", "-d", &self.url, "-c", sql]).output();
        let output = output.context("cannot run psql")?;
        let statements = String::from_utf8(output.stdout)?.trim().parse().unwrap_or(0.0);
        let mut seconds = 0.0;
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // A process may end while we look.
            let Ok(stat) = Stat::read(process) else { continue };
            if process == self.first_process {
                // With all of its children that have ended.
                seconds += stat.own_seconds + stat.children_seconds;
            } else if stat.parent == self.first_process {
                seconds += stat.own_seconds;
            }
        }
        Ok(DatabaseUsage { seconds, statements })
    }
}

impl Usage {
    /// What was used so far.
    pub(crate) fn now(servers: &[u32], database: Option<&Database>) -> anyhow::Result<Self> {
        let mut server_seconds = 0.0;
        for server in servers {
            server_seconds += Stat::read(*server)?.own_seconds;
        }
        Ok(Self { server_seconds, database: database.map(Database::usage).transpose()? })
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        let database = self.database.zip(earlier.database).map(|(now, then)| DatabaseUsage {
            seconds: now.seconds - then.seconds,
            statements: now.statements - then.statements,
        });
        Self { server_seconds: self.server_seconds - earlier.server_seconds, database }
    }

    /// Server and database together.
    pub(crate) fn seconds(self) -> f64 {
        self.server_seconds + self.database.map_or(0.0, |database| database.seconds)
    }
}

/// Part of `/proc/PID/stat`.
struct Stat {
    parent: u32,
    own_seconds: f64,
    children_seconds: f64,
}

impl Stat {
    fn read(process: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name, in parentheses, may hold spaces; fields count on after it.
        let after = stat.rsplit_once(')').context("/proc has another form")?.1;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let field = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
        let seconds = |first: usize| Some((field(first)? + field(first + 1)?) / TICKS_PER_SECOND);
        let read = || {
            Some(Self { parent: field(1)? as u32, own_seconds: seconds(11)?, children_seconds: seconds(13)? })
        };
        read().context("/proc has another form")
    }
}
