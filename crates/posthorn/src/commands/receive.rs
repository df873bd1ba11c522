//! `posthorn receive`: a receiver of one's own, to see what arrives.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use api_types::{Endpoint, EndpointRequest, EndpointWithSecret, Page, Tenant, TenantRequest};
use clap::Args;
use client::Client;
use client::receiver::{Receiver, Reply};
use http::{HeaderMap, StatusCode};
use model::causes::with_causes;
use model::clock::Clock as _;
use model::signature::{self, VerifyingSecret};
use reqwest::Method;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::print;
use super::serve::AskedToEnd;
use crate::server_args::ServerArgs;
use crate::system::SystemClock;

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

/// Marks the endpoints that lead to such receivers.
const DESCRIPTION: &str = "posthorn receive";
/// How much of a body is shown to people, in bytes.
const SHOWN: usize = 4_096;

/// Receives until it is asked to end.
pub(super) async fn run(args: ReceiveArgs) -> anyhow::Result<()> {
    let (mut asked_to_end, mut hung_up) = (AskedToEnd::listen()?, signal(SignalKind::hangup())?);
    let desk = Arc::new(Desk::new(&args)?);
    let at_desk = Arc::clone(&desk);
    let receiver =
        Receiver::start(args.listen, Arc::new(move |headers, body| at_desk.receive(headers, body)));
    let receiver = receiver
        .await
        .with_context(|| format!("cannot listen on {}; choose another address with --listen", args.listen))?;
    let url = format!("http://{}/", receiver.address);
    let registered = match &args.tenant {
        Some(tenant) => Some(Registered::new(&args, tenant, &url, &desk).await?),
        None => None,
    };
    let whose = args.tenant.as_deref().map(|tenant| format!(" for {tenant}")).unwrap_or_default();
    eprintln!("Receiving{whose} at {url}, until Ctrl-C.");
    tokio::select! {
        _ = asked_to_end.wait() => {}
        // The terminal was closed.
        _ = hung_up.recv() => {}
    }
    match registered {
        Some(registered) => registered.remove().await,
        None => Ok(()),
    }
}

/// An endpoint that leads here.
struct Registered {
    client: Client,
    path: String,
}

impl Registered {
    async fn new(args: &ReceiveArgs, tenant: &str, url: &str, desk: &Desk) -> anyhow::Result<Self> {
        let client = args.server.client()?;
        let found: Option<Tenant> = client.get(&format!("/v1/tenants/{tenant}")).await?;
        if found.is_none() {
            let new = TenantRequest { id: Some(tenant.to_owned()), ..TenantRequest::default() };
            let _: Tenant = client.send_json(Method::POST, "/v1/tenants", &new).await?;
        }
        let path = format!("/v1/tenants/{tenant}/endpoints");
        // One that was killed has left its endpoint behind.
        let present: Page<Endpoint> = client.get(&path).await?.context("the tenant is there")?;
        for old in present.data.iter().filter(|old| old.url == url && old.description == DESCRIPTION) {
            client.delete(&format!("{path}/{}", old.id)).await?;
        }
        let description = Some(DESCRIPTION.to_owned());
        let new = EndpointRequest { url: url.to_owned(), description, ..EndpointRequest::default() };
        let made: EndpointWithSecret = client.send_json(Method::POST, &path, &new).await?;
        desk.use_secret(&made.secret.context("the endpoint was just made")?)?;
        Ok(Self { client, path: format!("{path}/{}", made.endpoint.id) })
    }

    async fn remove(self) -> anyhow::Result<()> {
        self.client.delete(&self.path).await
    }
}

/// Where webhooks are looked at and answered.
struct Desk {
    secret: OnceLock<VerifyingSecret>,
    answers: Vec<StatusCode>,
    answered: AtomicUsize,
    retry_after: Option<u32>,
    delay: Duration,
    json: bool,
}

impl Desk {
    fn new(args: &ReceiveArgs) -> anyhow::Result<Self> {
        let desk = Self {
            secret: OnceLock::new(),
            answers: args
                .answer
                .iter()
                .map(|status| StatusCode::from_u16(*status))
                .collect::<Result<_, _>>()?,
            answered: AtomicUsize::new(0),
            retry_after: args.retry_after,
            delay: Duration::from_secs(args.delay),
            json: args.json,
        };
        // With a tenant, the server makes another one.
        if let Some(secret) = args.secret.as_ref().filter(|_| args.tenant.is_none()) {
            desk.use_secret(secret)?;
        }
        Ok(desk)
    }

    fn use_secret(&self, secret: &str) -> anyhow::Result<()> {
        let secret = VerifyingSecret::parse(secret).map_err(anyhow::Error::msg).context("--secret")?;
        // It is set once: by the caller, or by the server.
        let _ = self.secret.set(secret);
        Ok(())
    }

    fn receive(&self, headers: &HeaderMap, body: &[u8]) -> Reply {
        let turn = self.answered.fetch_add(1, Ordering::Relaxed);
        let status =
            self.answers.get(turn).or(self.answers.last()).copied().unwrap_or(StatusCode::NO_CONTENT);
        let checked = self.secret.get().map(|secret| {
            let header = |name| header(headers, name);
            let (id, time, signatures) =
                (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
            signature::verify(secret, id, time, signatures, body, Some(SystemClock.now()))
        });
        // What was not signed is shown, and never taken.
        let status =
            if checked.as_ref().is_some_and(Result::is_err) { StatusCode::UNAUTHORIZED } else { status };
        let shown = if self.json {
            in_json(headers, body, checked.as_ref().map(Result::is_ok), status)
        } else {
            let signature = match &checked {
                None => "not checked (no --secret)".to_owned(),
                Some(Ok(())) => "good".to_owned(),
                Some(Err(error)) => format!("bad: {error}"),
            };
            for_people(headers, body, &signature, status)
        };
        if let Err(error) = print(&shown) {
            eprintln!("posthorn: cannot show what arrived: {}", with_causes(error.as_ref()));
        }
        let retry_after = self.retry_after.filter(|_| !status.is_success());
        Reply { status, retry_after, delay: self.delay }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn for_people(headers: &HeaderMap, body: &[u8], signature: &str, status: StatusCode) -> String {
    let event: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let field = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]);
    let more = if body.len() > SHOWN { "…" } else { "" };
    format!(
        "{} {} {}  attempt {}, signature {signature}, answered {}\n  {text}{more}",
        field("type"),
        field("subject"),
        header(headers, "webhook-id"),
        header(headers, "posthorn-attempt"),
        status.as_u16(),
    )
}

fn in_json(headers: &HeaderMap, body: &[u8], verified: Option<bool>, status: StatusCode) -> String {
    let headers: serde_json::Map<String, serde_json::Value> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let body = String::from_utf8_lossy(body);
    json!({ "headers": headers, "body": body, "verified": verified, "answered": status.as_u16() }).to_string()
}
