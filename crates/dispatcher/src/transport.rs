//! One HTTP request, within one deadline.
//!
//! One client for all, so that connections are reused. The deadline covers
//! everything from the name to the last byte of the answer, and an answer is
//! read only so far: no receiver can hold a slot for longer, or memory for
//! more.

mod clients;
mod fault;
pub(crate) mod phases;
mod tokens;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode, Version};
use tokio::time::Instant;
use url::{Host, Url};

use model::address::TargetPolicy;
use model::attempt::{Answer, ErrorClass, HeaderList, KEPT_BODY, Phases};
use model::endpoint::Endpoint;

use crate::address_guard::GuardedResolver;
use crate::settings::Settings;
use clients::Clients;
pub(crate) use fault::Fault;
use phases::Probe;
use tokens::Tokens;

/// At most so much of an answer's body is read.
const READ_BODY: usize = 64 * 1024;
/// At most so many headers of an answer are kept.
const KEPT_HEADERS: usize = 64;
/// At most so much of a header's value is kept, in bytes.
const KEPT_HEADER: usize = 1_024;

/// Sends requests.
pub(crate) struct Transport {
    clients: Clients,
    tokens: Tokens,
    resolver: Arc<GuardedResolver>,
    targets: Arc<TargetPolicy>,
    /// Whether calls go through a proxy, which connects for us.
    by_proxy: bool,
}

/// A request to be made.
pub(crate) struct Call<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) timeout: Duration,
}

/// How a request went.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) phases: Phases,
    pub(crate) remote_ip: Option<IpAddr>,
    pub(crate) http_version: Option<&'static str>,
    pub(crate) answer: Option<Answer>,
    pub(crate) error_class: ErrorClass,
    pub(crate) error_detail: Option<String>,
}

impl Transport {
    pub(crate) fn new(settings: &Settings) -> Result<Self, reqwest::Error> {
        let targets = Arc::new(settings.targets.clone());
        let proxy = settings.egress_proxy.as_ref();
        let resolver = GuardedResolver::new(Arc::clone(&targets), &settings.name_servers, proxy);
        let resolver = Arc::new(resolver);
        let clients = Clients::new(Arc::clone(&resolver), proxy)?;
        Ok(Self { clients, tokens: Tokens::default(), resolver, targets, by_proxy: proxy.is_some() })
    }

    /// Posts a body and reads the answer, all within the call's timeout.
    pub(crate) async fn post(&self, call: Call<'_>) -> Sent {
        let started = Instant::now();
        let deadline = started + call.timeout;
        let timeout = call.timeout;
        let url = &call.endpoint.url;
        let probe = Arc::new(Probe::for_url(url));
        let mut exchange = Exchange { started, ..Exchange::default() };
        let work = self.exchange(call, &mut exchange);
        let work = phases::with_probe(Arc::clone(&probe), work);
        let ended = match tokio::time::timeout_at(deadline, work).await {
            Ok(ended) => ended,
            Err(_) => Err(Fault::deadline(timeout)),
        };
        exchange.into_sent(ended, &probe)
    }

    async fn exchange(&self, call: Call<'_>, exchange: &mut Exchange) -> Result<(), Fault> {
        let Call { endpoint, mut headers, body, .. } = call;
        self.check(&endpoint.url).await?;
        if let Some(oauth) = &endpoint.calls.oauth {
            self.check(&oauth.token_url).await?;
            let token = self.tokens.get(self.clients.plain(), endpoint, oauth).await?;
            headers.insert(AUTHORIZATION, token);
        }
        let client = self.clients.of(endpoint).await?;
        let request = client.request(Method::POST, endpoint.url.clone()).headers(headers).body(body);
        let mut response = request.send().await.map_err(Fault::sending)?;
        exchange.first_byte = Some(exchange.started.elapsed());
        exchange.remote_ip = response.remote_addr().map(|address| address.ip());
        exchange.http_version = Some(version_name(response.version()));
        if response.status() == StatusCode::UNAUTHORIZED {
            // Whatever the token was worth, the next attempt gets a new one.
            self.tokens.forget(endpoint).await;
        }
        let answer = exchange.answer.insert(Answer {
            status: response.status().as_u16(),
            headers: kept_headers(response.headers()),
            body: Vec::new(),
            truncated: false,
        });
        let mut read = 0;
        while let Some(chunk) = response.chunk().await.map_err(Fault::reading)? {
            let room = KEPT_BODY - answer.body.len();
            answer.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            answer.truncated |= chunk.len() > room;
            read += chunk.len();
            if read > READ_BODY {
                // The rest is left unread, and the connection is dropped with it.
                break;
            }
        }
        Ok(())
    }

    /// Checks what can be known of a URL before a connection is made. A proxy
    /// looks names up for itself: then they are looked up and checked here first.
    async fn check(&self, url: &Url) -> Result<(), Fault> {
        self.targets.check_url(url).map_err(|blocked| Fault::blocked(&blocked))?;
        match url.host() {
            Some(Host::Domain(name)) if self.by_proxy => {
                self.resolver.check(name, url.port_or_known_default().unwrap_or(0)).await
            }
            _ => Ok(()),
        }
    }
}

/// What is known so far, also when the deadline cuts in.
struct Exchange {
    started: Instant,
    first_byte: Option<Duration>,
    remote_ip: Option<IpAddr>,
    http_version: Option<&'static str>,
    answer: Option<Answer>,
}

impl Default for Exchange {
    fn default() -> Self {
        Self { started: Instant::now(), first_byte: None, remote_ip: None, http_version: None, answer: None }
    }
}

impl Exchange {
    fn into_sent(self, ended: Result<(), Fault>, probe: &Probe) -> Sent {
        let phases = Phases {
            dns: probe.dns(),
            connect: probe.connect(),
            first_byte: self.first_byte,
            total: self.started.elapsed(),
        };
        let (error_class, error_detail) = match (ended, &self.answer) {
            (Err(fault), _) => (fault.class, Some(fault.detail)),
            (Ok(()), Some(answer)) => (ErrorClass::of_status(answer.status), None),
            (Ok(()), None) => (ErrorClass::Reset, None),
        };
        Sent {
            phases,
            remote_ip: self.remote_ip,
            http_version: self.http_version,
            answer: self.answer,
            error_class,
            error_detail,
        }
    }
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn kept_headers(headers: &HeaderMap) -> HeaderList {
    let kept = |value: &http::HeaderValue| {
        let bytes = value.as_bytes();
        String::from_utf8_lossy(&bytes[..bytes.len().min(KEPT_HEADER)]).into_owned()
    };
    headers
        .iter()
        .take(KEPT_HEADERS)
        .map(|(name, value)| (name.as_str().to_owned().into(), kept(value)))
        .collect()
}
