//! One HTTP request, within one deadline.
//!
//! One client for all, so that connections are reused. The deadline covers
//! everything from the name to the last byte of the answer, and an answer is
//! read only so far: no receiver can hold a slot for longer, or memory for
//! more.

mod fault;
pub(crate) mod phases;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use reqwest::redirect;
use tokio::time::Instant;
use url::Url;

use model::address::TargetPolicy;
use model::attempt::{Answer, ErrorClass, HeaderList, KEPT_BODY, Phases};

use crate::address_guard::GuardedResolver;
use fault::Fault;
use phases::{PhaseLayer, Probe};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// At most so much of an answer's body is read.
const READ_BODY: usize = 64 * 1024;
/// How many idle connections to one host are kept.
const IDLE_PER_HOST: usize = 64;
/// For how long.
const IDLE_FOR: Duration = Duration::from_secs(60);
/// At most so many headers of an answer are kept.
const KEPT_HEADERS: usize = 64;
/// At most so much of a header's value is kept, in bytes.
const KEPT_HEADER: usize = 1_024;

/// Sends requests.
pub(crate) struct Transport {
    client: reqwest::Client,
    targets: Arc<TargetPolicy>,
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
    pub(crate) fn new(targets: TargetPolicy) -> Result<Self, reqwest::Error> {
        let targets = Arc::new(targets);
        let client = reqwest::Client::builder()
            .tls_backend_rustls()
            .no_proxy()
            .redirect(redirect::Policy::none())
            // Repeats are the schedule's business, and each is logged.
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .pool_idle_timeout(IDLE_FOR)
            .dns_resolver(Arc::new(GuardedResolver::new(Arc::clone(&targets))))
            .connector_layer(PhaseLayer)
            .build()?;
        Ok(Self { client, targets })
    }

    /// Posts `body` and reads the answer, all within `timeout`.
    pub(crate) async fn post(&self, url: &Url, headers: HeaderMap, body: Bytes, timeout: Duration) -> Sent {
        let started = Instant::now();
        let probe = Arc::new(Probe::for_url(url));
        let mut exchange = Exchange { started, ..Exchange::default() };
        let ended = match self.targets.check_url(url) {
            Err(blocked) => Err(Fault::blocked(&blocked)),
            Ok(()) => {
                let work = self.exchange(url, headers, body, &mut exchange);
                let work = phases::with_probe(Arc::clone(&probe), work);
                match tokio::time::timeout_at(started + timeout, work).await {
                    Ok(ended) => ended,
                    Err(_) => Err(Fault::deadline(timeout)),
                }
            }
        };
        exchange.into_sent(ended, &probe)
    }

    async fn exchange(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        exchange: &mut Exchange,
    ) -> Result<(), Fault> {
        let request = self.client.request(Method::POST, url.clone()).headers(headers).body(body);
        let mut response = request.send().await.map_err(Fault::sending)?;
        exchange.first_byte = Some(exchange.started.elapsed());
        exchange.remote_ip = response.remote_addr().map(|address| address.ip());
        exchange.http_version = Some(version_name(response.version()));
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
