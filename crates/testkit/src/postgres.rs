//! A PostgreSQL server of one's own, from the installed binaries.
//!
//! It runs in a temporary directory on a free port, as the user `postgres`
//! where the tests run as root (a server refuses to be root). A shell watches
//! over it: when this process ends, however it ends, the shell stops the
//! server and removes the directory.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::{clock, until};

/// Starts the server, says where it is, and waits for the end of its input.
const WATCH: &str = r#"
set -eu
dir=$(mktemp -d "${TMPDIR:-/tmp}/posthorn-postgres-XXXXXX")
trap 'pg_ctl -D "$dir/data" -m immediate -w stop >"$dir/stop" 2>&1 || true; rm -rf "$dir"' EXIT
MAKE
cat >>"$dir/data/postgresql.conf"
pg_ctl -D "$dir/data" -l "$dir/log" -w -t 60 start >"$dir/start" || { cat "$dir/log" >&2; exit 1; }
echo "$dir"
"#;

/// A running server. Everyone on this machine may connect as `postgres`.
#[derive(Debug)]
pub struct Postgres {
    watcher: Child,
    directory: PathBuf,
    port: u16,
}

/// Makes the files of a new server.
const NEW: &str = r#"initdb -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb""#;

/// Makes an authority of its own, and a certificate for `localhost`.
const CERTIFICATES: &str = r#"
cd "$dir/data"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=Test-Authority \
    -keyout ca.key -out ca.crt 2>"$dir/openssl"
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
    -keyout server.key -out server.csr 2>"$dir/openssl"
printf 'subjectAltName=DNS:localhost\n' >names
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names \
    -out server.crt 2>"$dir/openssl"
chmod 600 server.key
cd /
"#;

impl Postgres {
    /// Starts a server with these settings beside the usual ones.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_on(NEW, settings, free_port())
    }

    /// Starts a server that speaks TLS as `localhost`. Its authority is
    /// `ca.crt` in its data directory.
    pub fn start_with_tls() -> Self {
        Self::start_on(&format!("{NEW}\n{CERTIFICATES}"), &[("fsync", "off"), ("ssl", "on")], free_port())
    }

    /// Starts a server that only repeats what this one writes, with its
    /// settings. Who is to wait for it is a setting of this one:
    /// `synchronous_standby_names`.
    pub fn standby(&self) -> Self {
        Self::start_on(&self.copy(), &[], free_port())
    }

    /// The same in the place of a server that is gone, whose port this was.
    pub fn standby_at(&self, port: u16) -> Self {
        Self::start_on(&self.copy(), &[], port)
    }

    /// The same on a machine whose clock is ahead.
    pub fn standby_with_its_clock_ahead(&self, ahead: Duration) -> Self {
        let clock = format!(
            "export LD_PRELOAD='{}' FAKETIME='+{}s' DONT_FAKE_MONOTONIC=1",
            clock::library().display(),
            ahead.as_secs()
        );
        Self::start_on(&format!("{}\n{clock}", self.copy()), &[], free_port())
    }

    /// Starts a server that keeps its log for [`Self::restore`].
    pub fn start_with_archive() -> Self {
        let keep = "mkdir -p ../archive && test ! -f ../archive/%f && cp %p ../archive/%f";
        Self::start(&[("fsync", "off"), ("archive_mode", "on"), ("archive_command", keep)])
    }

    /// Makes a base backup of this server, to go back from.
    pub fn back_up(&self) {
        let status = as_owner("pg_basebackup")
            .arg("-D")
            .arg(self.directory.join("base"))
            .args(["-c", "fast", "-X", "stream", "-h", "127.0.0.1", "-U", "postgres", "-p"])
            .arg(self.port.to_string())
            .status()
            .unwrap();
        assert!(status.success(), "pg_basebackup");
    }

    /// Starts a server from the backup and the log of this one, as it was at a
    /// moment.
    pub fn restore(&self, moment: &str) -> Self {
        let here = self.directory.display();
        let files = format!(r#"cp -a "{here}/base" "$dir/data" && touch "$dir/data/recovery.signal""#);
        let from = format!("cp {here}/archive/%f %p");
        let settings = [
            ("archive_mode", "off"),
            ("restore_command", from.as_str()),
            ("recovery_target_time", moment),
            ("recovery_target_action", "promote"),
        ];
        Self::start_on(&files, &settings, free_port())
    }

    /// Copies the files of this server for one that repeats what it writes.
    fn copy(&self) -> String {
        format!(
            r#"pg_basebackup -D "$dir/data" -R -c fast -h 127.0.0.1 -p {} -U postgres >"$dir/initdb""#,
            self.port
        )
    }

    fn start_on(make: &str, settings: &[(&str, &str)], port: u16) -> Self {
        // The configuration ends with a line that the shell waits for, so that
        // its input can stay open until this process ends.
        let script =
            WATCH.replace("MAKE", make).replace("cat >>", "sed '/^# end$/q' >>") + "cat >/dev/null\n";
        let mut watcher = as_owner("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut configuration = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 200\n"
        );
        for (name, value) in settings {
            configuration.push_str(&format!("{name} = '{value}'\n"));
        }
        configuration.push_str("# end\n");
        watcher.stdin.as_mut().unwrap().write_all(configuration.as_bytes()).unwrap();
        let mut directory = String::new();
        BufReader::new(watcher.stdout.take().unwrap()).read_line(&mut directory).unwrap();
        assert!(!directory.is_empty(), "no PostgreSQL server could be started; scripts/test installs it");
        Self { watcher, directory: directory.trim().into(), port }
    }

    /// The server that all tests of a process share. It does not wait for the
    /// disk, because only a power cut would lose what it has written.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<Postgres> = OnceLock::new();
        SERVER.get_or_init(|| Self::start(&[("fsync", "off")]))
    }

    /// A new empty database. Gives its address.
    pub fn new_database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("posthorn_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The address of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of its first process, whose children all others are.
    pub fn first_process(&self) -> u32 {
        let file = std::fs::read_to_string(self.directory.join("data/postmaster.pid")).unwrap();
        file.lines().next().unwrap().trim().parse().unwrap()
    }

    /// Where its data and its log are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a statement, and gives what `psql` prints.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let output = tool("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database)])
            .args(["-c", statement])
            .output()
            .unwrap();
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Changes a setting. When this returns, the server has told its processes.
    pub fn set(&self, name: &str, value: &str) {
        self.sql("postgres", &format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.sql("postgres", "SELECT pg_reload_conf()");
        // A new connection has the settings of the server's first process.
        let told = (0..1_000).any(|_| self.sql("postgres", &format!("SHOW {name}")) == value);
        assert!(told, "{name} was not changed");
    }

    /// Stops the server as if it had crashed, and starts it again.
    pub fn crash_and_restart(&self) {
        self.control(&["restart", "-m", "immediate"]);
    }

    /// Stops the server as if it had crashed.
    pub fn crash(&self) {
        self.control(&["stop", "-m", "immediate"]);
    }

    /// Starts the server again.
    pub fn resume(&self) {
        self.control(&["start"]);
    }

    /// Waits until its one standby has repeated everything.
    pub async fn wait_for_standby(&self) {
        let repeated = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()";
        until("the standby has everything", || async {
            (self.sql("postgres", repeated) == "1").then_some(())
        })
        .await;
    }

    /// Makes a standby the server that writes. Returns when it does.
    pub fn promote(&self) {
        self.control(&["promote"]);
    }

    fn control(&self, arguments: &[&str]) {
        let mut pg_ctl = as_owner("pg_ctl");
        pg_ctl.arg("-D").arg(self.directory.join("data")).arg("-l").arg(self.directory.join("log"));
        let status = pg_ctl.args(["-w", "-t", "60", "-s"]).args(arguments).status().unwrap();
        assert!(status.success(), "pg_ctl {arguments:?}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The end of its input is the end of the server.
        drop(self.watcher.stdin.take());
        self.watcher.wait().unwrap();
    }
}

/// Where PostgreSQL's programs are: Debian keeps those of the server out of
/// the path.
fn path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect())
            .unwrap_or_default();
        versions.sort();
        let found = versions.into_iter().rev().map(|path| path.display().to_string());
        let rest = std::env::var("PATH").unwrap_or_default();
        found.chain([rest]).collect::<Vec<_>>().join(":")
    })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn tool(program: &str) -> Command {
    let mut command = Command::new("env");
    command.arg(format!("PATH={}", path())).arg(program).current_dir("/");
    command
}

/// A program as the user that owns the server.
fn as_owner(program: &str) -> Command {
    let mut command = tool(program);
    if number(&["-u"]) == Some(0) {
        let (Some(user), Some(group)) = (number(&["-u", "postgres"]), number(&["-g", "postgres"])) else {
            panic!("there is no user postgres; scripts/test installs PostgreSQL");
        };
        command.uid(user).gid(group);
    }
    command
}

fn number(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
