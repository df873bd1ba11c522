//! The program, as a process of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::api::Api;
use crate::postgres::Postgres;

/// How to start the program.
#[derive(Debug, Clone)]
pub struct Start {
    /// The program.
    pub program: PathBuf,
    /// Further settings, as environment variables.
    pub settings: Vec<(&'static str, String)>,
    /// The greatest size of a file that it may write, in KiB: a disk that is full.
    pub file_limit_kib: Option<u64>,
    /// How many files and sockets it may have open.
    pub open_files: Option<u64>,
    /// Which part of the work it does.
    pub role: &'static str,
    /// Which kind of store it has, unless the settings name one.
    pub store: Store,
}

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// A file in the program's own folder.
    Embedded,
    /// An empty database on a server that the tests share.
    Postgres,
}

impl Store {
    /// The one that `POSTHORN_TEST_STORE` names; the embedded one if it names none.
    fn chosen() -> Self {
        match std::env::var("POSTHORN_TEST_STORE").as_deref() {
            Ok("postgres") => Self::Postgres,
            Ok("sqlite") | Err(_) => Self::Embedded,
            Ok(other) => panic!("POSTHORN_TEST_STORE is sqlite or postgres, not {other}"),
        }
    }
}

/// A master key for tests alone.
const MASTER_KEY: &str = "cG9zdGhvcm4tdGVzdHMtcG9zdGhvcm4tdGVzdHMhISE=";

impl Start {
    /// The program at `path`, which may call receivers on this machine.
    pub fn new(path: &str) -> Self {
        let settings = vec![
            ("POSTHORN_LISTEN", "127.0.0.1:0".to_owned()),
            ("POSTHORN_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
            ("POSTHORN_ALLOW_TARGETS", "127.0.0.1/32".to_owned()),
            ("POSTHORN_ALLOW_HTTP", "true".to_owned()),
            ("POSTHORN_LOG", "warn".to_owned()),
        ];
        Self {
            program: path.into(),
            settings,
            file_limit_kib: None,
            open_files: None,
            role: "all",
            store: Store::chosen(),
        }
    }

    /// On this PostgreSQL database, doing this part of the work.
    pub fn on(self, database_url: &str, role: &'static str) -> Self {
        let start = self.with("POSTHORN_DATABASE_URL", database_url).with("POSTHORN_MASTER_KEY", MASTER_KEY);
        Self { role, ..start }
    }

    /// With one setting more, or another value for it.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.settings.retain(|(other, _)| *other != name);
        self.settings.push((name, value.into()));
        self
    }
}

/// A running server with its own folder.
#[derive(Debug)]
pub struct Program {
    start: Start,
    folder: TempDir,
    process: Child,
    url: String,
    admin_url: String,
    key: String,
}

impl Program {
    /// Starts a server on an empty folder, with a project and a key that may
    /// do everything.
    pub async fn start(start: Start) -> Self {
        match start.store {
            Store::Embedded => Self::start_with_new_key(start).await,
            Store::Postgres => Self::start_first(start.on(&Postgres::shared().new_database(), "all")).await,
        }
    }

    /// Starts the first process on an empty PostgreSQL database, with a project
    /// and a key that may do everything.
    pub async fn start_first(start: Start) -> Self {
        migrate(&start).await;
        Self::start_with_new_key(start).await
    }

    async fn start_with_new_key(start: Start) -> Self {
        let mut program = Self::start_beside(start, "").await;
        program.key = program.create_key(&["--project", "test", "--scopes", "*"]).await;
        program
    }

    /// Starts one of several processes on a database that is up to date. Its
    /// clients have `key`.
    pub async fn start_beside(start: Start, key: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let (process, url, admin_url) = serve(&start, folder.path()).await;
        Self { start, folder, process, url, admin_url, key: key.to_owned() }
    }

    /// Runs a statement on the program's database, with the shell of its vendor.
    pub async fn sql(&self, statement: &str) -> String {
        let url = self.start.settings.iter().find(|(name, _)| *name == "POSTHORN_DATABASE_URL");
        let mut shell = match url {
            Some((_, url)) => {
                let mut psql = Command::new("psql");
                psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", statement, url]);
                psql
            }
            None => {
                let mut sqlite = Command::new("sqlite3");
                sqlite
                    .arg("-cmd")
                    .arg(".timeout 5000")
                    .arg(self.folder.path().join("posthorn-data/posthorn.db"));
                sqlite.arg(statement);
                sqlite
            }
        };
        let output = shell.output().await.expect("the shell is installed; scripts/test does that");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A client with the key that may do everything.
    pub fn api(&self) -> Api {
        self.api_with(&self.key)
    }

    /// A client with another key.
    pub fn api_with(&self, key: &str) -> Api {
        Api::new(&self.url, key)
    }

    /// Where operators look.
    pub fn admin(&self) -> Api {
        Api::new(&self.admin_url, "")
    }

    /// The settings that it was started with, as environment variables.
    pub fn settings(&self) -> &[(&'static str, String)] {
        &self.start.settings
    }

    /// The folder of the data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs another command beside the server, and gives what it printed.
    pub async fn run(&self, arguments: &[&str]) -> std::process::Output {
        command(&self.start, self.folder.path()).args(arguments).output().await.unwrap()
    }

    /// Runs a command that talks to the server with the key that may do
    /// everything, and gives what it printed.
    pub async fn run_with_client(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = command(&self.start, self.folder.path());
        command.args(arguments).env("POSTHORN_URL", &self.url).env("POSTHORN_API_KEY", &self.key);
        command.output().await.unwrap()
    }

    /// Makes a key on the command line.
    pub async fn create_key(&self, arguments: &[&str]) -> String {
        let output = self.run(&[&["keys", "create"], arguments].concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Kills the server with SIGKILL, wherever it is, and starts it again.
    pub async fn crash_and_restart(&mut self) {
        self.process.kill().await.unwrap();
        self.restart().await;
    }

    /// Kills the server with SIGKILL.
    pub async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Sends the server a signal by its name.
    pub async fn signal(&self, name: &str) {
        signal(&self.process, name).await;
    }

    /// Asks the server to end, waits until it has, and gives its exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        self.signal("TERM").await;
        let ended = tokio::time::timeout(crate::PATIENCE, self.process.wait()).await;
        ended.expect("the server ends when it is asked to").unwrap().code()
    }

    /// Changes how the server is started the next time.
    pub fn change(&mut self, change: impl FnOnce(&mut Start)) {
        change(&mut self.start);
    }

    /// Starts the server again on the same folder.
    pub async fn restart(&mut self) {
        let (process, url, admin_url) = serve(&self.start, self.folder.path()).await;
        (self.process, self.url, self.admin_url) = (process, url, admin_url);
    }
}

fn command(start: &Start, folder: &Path) -> Command {
    let mut limits = String::new();
    if let Some(kib) = start.file_limit_kib {
        // Ignored, the signal becomes an error of the write.
        limits += &format!("trap '' XFSZ; ulimit -f {kib}; ");
    }
    if let Some(files) = start.open_files {
        limits += &format!("ulimit -n {files}; ");
    }
    let mut command = match limits.as_str() {
        "" => Command::new(&start.program),
        limits => {
            let mut shell = Command::new("bash");
            shell.arg("-c").arg(format!("{limits}exec \"$0\" \"$@\"")).arg(&start.program);
            shell
        }
    };
    command
        .current_dir(folder)
        .envs(start.settings.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true);
    command
}

async fn serve(start: &Start, folder: &Path) -> (Child, String, String) {
    let mut process =
        command(start, folder).args(["serve", "--role", start.role]).stdout(Stdio::piped()).spawn().unwrap();
    let output = process.stdout.take().unwrap();
    let line = BufReader::new(output).lines().next_line().await.unwrap();
    let line = line.expect("the server says where it listens");
    let mut urls = line.split("http://").skip(1).map(|part| {
        let end = part.find([' ', ')']).unwrap_or(part.len());
        format!("http://{}", &part[..end])
    });
    let first = urls.next().unwrap();
    // One that only delivers has the operators' listener alone.
    let admin_url = urls.next().unwrap_or_else(|| first.clone());
    (process, first, admin_url)
}

/// Sends a process a signal by its name.
pub async fn signal(process: &Child, name: &str) {
    let id = process.id().unwrap().to_string();
    let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().await.unwrap();
    assert!(sent.success());
}

/// Runs a command in a folder of its own to its end.
pub async fn run(start: &Start, arguments: &[&str]) -> std::process::Output {
    let folder = TempDir::new().unwrap();
    command(start, folder.path()).args(arguments).output().await.unwrap()
}

/// Brings a database up to date.
pub async fn migrate(start: &Start) {
    let output = run(start, &["migrate"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
