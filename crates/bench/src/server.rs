//! The server under test, as a process of its own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use api_types::{EndpointRequest, EndpointWithSecret, Tenant, TenantRequest};
use reqwest::Method;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::catalogue;
use crate::load::{Load, Wanted};
use crate::usage::{Database, Usage};
use client::Client;

/// For databases that are thrown away.
const MASTER_KEY: &str = "cG9zdGhvcm4tYmVuY2gtcG9zdGhvcm4tYmVuY2ghISE=";

/// Where a tenant's events go.
pub(crate) struct Target {
    pub(crate) tenant: String,
    /// Whether its receiver ever answers.
    pub(crate) answers: bool,
}

/// A running server with a database of its own, which is removed at the end.
pub(crate) struct Server {
    /// One, or one that answers and some that deliver.
    processes: Vec<Process>,
    address: SocketAddr,
    key: String,
    folder: tempfile::TempDir,
    database: Option<Database>,
}

/// One process of a server.
struct Process {
    child: Child,
    admin: SocketAddr,
}

impl Process {
    /// Starts it, and gives the addresses that it tells: the last one is for operators.
    async fn start(mut command: Command) -> anyhow::Result<(Self, Vec<SocketAddr>)> {
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let output = child.stdout.take().context("the server has no output")?;
        let line = BufReader::new(output).lines().next_line().await?;
        let line = line.context("the server ended at once")?;
        let addresses = line.split("http://").skip(1).map(|part| {
            let end = part.find([' ', ')']).unwrap_or(part.len());
            part[..end].parse::<SocketAddr>()
        });
        let addresses: Vec<SocketAddr> = addresses.collect::<Result<_, _>>()?;
        let Some(admin) = addresses.last().copied() else {
            bail!("the server does not say where it listens: {line}")
        };
        Ok((Self { child, admin }, addresses))
    }

    fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("the server has ended")
    }
}

impl Server {
    /// Starts a server on an embedded store, or on the empty PostgreSQL
    /// database at `url`.
    pub(crate) async fn start(url: Option<&str>, dispatchers: Option<u32>) -> anyhow::Result<Self> {
        ensure!(
            url.is_some() || dispatchers.is_none(),
            "--dispatchers needs a PostgreSQL database: one process at a time owns an embedded store"
        );
        let folder = tempfile::Builder::new().prefix("posthorn-bench-").tempdir()?;
        let program = std::env::current_exe()?;
        if url.is_some() {
            let migrated = Self::command(&program, &folder, url).arg("migrate").output().await?;
            let error = String::from_utf8_lossy(&migrated.stderr).into_owned();
            ensure!(migrated.status.success(), "the database could not be brought up to date: {error}");
        }
        let serve = |role: &str| {
            let mut command = Self::command(&program, &folder, url);
            command.args(["serve", "--role", role]);
            Process::start(command)
        };
        let (first, addresses) = serve(if dispatchers.is_some() { "api" } else { "all" }).await?;
        let mut processes = vec![first];
        for _ in 0..dispatchers.unwrap_or(0) {
            processes.push(serve("dispatcher").await?.0);
        }
        let create = ["keys", "create", "--project", "bench", "--scopes", "*"];
        let key = Self::command(&program, &folder, url).args(create).output().await?;
        ensure!(key.status.success(), "no key was made");
        let key = String::from_utf8(key.stdout)?.trim().to_owned();
        let database = url.and_then(Database::from_environment);
        Ok(Self { processes, address: addresses[0], key, folder, database })
    }

    /// Starts the yardstick, which posts to the receiver.
    pub(crate) async fn start_yardstick(receiver: SocketAddr) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("posthorn-bench-").tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.current_dir(folder.path()).args(["yardstick", "--to", &receiver.to_string()]);
        let (process, addresses) = Process::start(command).await?;
        let address = addresses[0];
        Ok(Self { processes: vec![process], address, key: "none".to_owned(), folder, database: None })
    }

    /// Tenants whose receivers answer.
    pub(crate) fn targets(&self, load: &Load) -> Vec<Target> {
        (0..load.endpoints)
            .map(|number| Target { tenant: format!("tenant-{number}"), answers: true })
            .collect()
    }

    fn command(program: &std::path::Path, folder: &tempfile::TempDir, url: Option<&str>) -> Command {
        let mut command = Command::new(program);
        let embedded = || format!("sqlite://{}/posthorn.db", folder.path().display());
        if url.is_some() {
            command.env("POSTHORN_MASTER_KEY", MASTER_KEY);
        }
        command
            .current_dir(folder.path())
            .env("POSTHORN_DATABASE_URL", url.map_or_else(embedded, str::to_owned))
            .env("POSTHORN_LISTEN", "127.0.0.1:0")
            .env("POSTHORN_ADMIN_LISTEN", "127.0.0.1:0")
            .env("POSTHORN_ALLOW_TARGETS", "127.0.0.1/32")
            .env("POSTHORN_ALLOW_HTTP", "true")
            // Idle endpoints, and fan-outs, are measured by the hundred.
            .env("POSTHORN_MAX_ENDPOINTS_PER_TENANT", "10000")
            // Endpoints by the thousand are made as fast as can be.
            .env("POSTHORN_KEY_CHANGES_PER_SECOND", "0");
        command
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The request line and headers of a publish, without its length.
    pub(crate) fn request_head(&self) -> String {
        format!(
            "POST /v1/events HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n",
            self.address, self.key
        )
    }

    /// Makes a tenant for each target, with its endpoints.
    pub(crate) async fn set_up(
        &self,
        load: &Load,
        receiver: SocketAddr,
        bad: Option<SocketAddr>,
    ) -> anyhow::Result<Vec<Target>> {
        let client = self.client()?;
        if load.catalogue.is_some() {
            let took = catalogue::apply(&client).await?;
            eprintln!("the catalogue was applied in {:.2} s", took.as_secs_f64());
        }
        let subscription = match load.catalogue {
            Some(Wanted::Pinned) => "bench.event@1",
            Some(Wanted::Newest) | None => "*",
        };
        let mut targets = Vec::new();
        for number in 0..load.endpoints {
            let tenant = format!("tenant-{number}");
            add_tenant(&client, &tenant).await?;
            for branch in 0..load.fan_out {
                let url = format!("http://{receiver}/hook/{branch}");
                add_endpoint(&client, &tenant, url, "enabled", subscription).await?;
            }
            targets.push(Target { tenant, answers: true });
            // One in five is bad.
            if let Some(bad) = bad.filter(|_| number % 4 == 3) {
                let tenant = "bad".to_owned();
                if number == 3 {
                    add_tenant(&client, &tenant).await?;
                    add_endpoint(&client, &tenant, format!("http://{bad}/hook"), "enabled", "*").await?;
                }
                targets.push(Target { tenant, answers: false });
            }
        }
        for number in 0..load.idle_endpoints {
            let tenant = format!("idle-{}", number / 100);
            if number % 100 == 0 {
                add_tenant(&client, &tenant).await?;
            }
            add_endpoint(&client, &tenant, format!("http://{receiver}/idle/{number}"), "enabled", "*")
                .await?;
        }
        Ok(targets)
    }

    /// A target whose endpoint is paused.
    pub(crate) async fn add_held(&self, receiver: SocketAddr) -> anyhow::Result<Target> {
        let (client, tenant) = (self.client()?, "held".to_owned());
        add_tenant(&client, &tenant).await?;
        add_endpoint(&client, &tenant, format!("http://{receiver}/hook"), "paused", "*").await?;
        Ok(Target { tenant, answers: false })
    }

    fn client(&self) -> anyhow::Result<Client> {
        Client::new(&format!("http://{}", self.address), &self.key)
    }

    /// Keeps an old snapshot open in the database until the answer is dropped.
    pub(crate) fn pin_snapshot(&self) -> anyhow::Result<Child> {
        let database = self.database.as_ref().context("a snapshot is pinned beside with-postgres alone")?;
        let pin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM configuration; SELECT pg_sleep(3600)";
        let psql =
            Command::new("psql").args(["-Xq", "-d", database.url(), "-c", pin]).kill_on_drop(true).spawn();
        psql.context("cannot run psql")
    }

    /// Crashes the database: it ends all its processes and recovers by itself.
    pub(crate) fn crash_database(&self) -> anyhow::Result<()> {
        self.database.as_ref().context("a database is crashed beside with-postgres alone")?.crash()
    }

    /// What the server and its database have used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let ids: Vec<u32> = self.processes.iter().map(Process::id).collect::<anyhow::Result<_>>()?;
        Usage::now(&ids, self.database.as_ref())
    }

    /// Memory that the server's processes hold now, in KiB.
    pub(crate) fn memory_kib(&self) -> anyhow::Result<u64> {
        let mut all = 0;
        for process in &self.processes {
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()?))?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:"));
            let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            all += number.context("/proc has another form")?;
        }
        Ok(all)
    }

    /// Waits until nothing is under way and everything that ended is in the log.
    pub(crate) async fn wait_until_recorded(&self) -> anyhow::Result<()> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        for _ in 0..2_000 {
            let mut unrecorded = 0;
            for process in &self.processes {
                let text = http.get(format!("http://{}/metrics", process.admin)).send().await?.text().await?;
                let line = text.lines().find_map(|line| line.strip_prefix("posthorn_attempts_unrecorded "));
                unrecorded += line.and_then(|line| line.parse::<u64>().ok()).unwrap_or(0);
            }
            if unrecorded == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("attempts were not recorded in time")
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            process.child.kill().await?;
        }
        self.folder.close()?;
        Ok(())
    }
}

async fn add_tenant(client: &Client, tenant: &str) -> anyhow::Result<()> {
    let path = format!("/v1/tenants/{tenant}");
    let _: Tenant = client.send_json(Method::PUT, &path, &TenantRequest::default()).await?;
    Ok(())
}

async fn add_endpoint(
    client: &Client,
    tenant: &str,
    url: String,
    status: &str,
    subscription: &str,
) -> anyhow::Result<()> {
    let (status, event_types) = (Some(status.to_owned()), Some(vec![subscription.to_owned()]));
    let endpoint = EndpointRequest { url, status, event_types, ..EndpointRequest::default() };
    let path = format!("/v1/tenants/{tenant}/endpoints");
    let _: EndpointWithSecret = client.send_json(Method::POST, &path, &endpoint).await?;
    Ok(())
}
