//! One HTTP request, within one deadline.
//!
//! One client for all, so that connections are reused. The deadline covers
//! everything from the name to the last byte of the answer, and an answer is
//! read only so far: no receiver can hold a slot for longer, or memory for
//! more.

mod clients;
mod connector;
mod fault;
mod phases;
mod tokens;
mod wire;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::connect::capture_connection;
use secrecy::SecretString;
use tokio::time::Instant;

use model::address::{BlockedTarget, TargetPolicy};
use model::attempt::{Answer, ErrorClass, HeaderList, KEPT_BODY, Phases};
use model::endpoint::Endpoint;

use crate::address_guard::Guard;
use crate::settings::Settings;
use clients::Clients;
pub use clients::NoTls;
use fault::Fault;
use phases::Probe;
use tokens::Tokens;
use wire::WireInfo;

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
    targets: Arc<TargetPolicy>,
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
    pub(crate) fn new(settings: &Settings) -> Result<Self, NoTls> {
        let targets = Arc::new(settings.targets.clone());
        let guard = Arc::new(Guard::new(Arc::clone(&targets), &settings.name_servers));
        let proxy: Option<&SecretString> = settings.egress_proxy.as_ref();
        let clients = Clients::new(guard, proxy, settings.max_connections)?;
        Ok(Self { clients, tokens: Tokens::default(), targets })
    }

    /// Posts a body and reads the answer, all within the call's timeout.
    pub(crate) async fn post(&self, call: Call<'_>) -> Sent {
        let started = Instant::now();
        let deadline = started + call.timeout;
        let timeout = call.timeout;
        let probe = Arc::new(Probe::default());
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
        // What does not depend on the address: the rules may have changed since
        // the URL was registered. The connector checks the address.
        self.targets.check_url(&endpoint.url).map_err(|blocked| Fault::blocked(&blocked))?;
        if let Some(oauth) = &endpoint.calls.oauth {
            self.targets.check_url(&oauth.token_url).map_err(|blocked| Fault::blocked(&blocked))?;
            let token = self.tokens.get(self.clients.plain(), endpoint, oauth).await?;
            headers.insert(AUTHORIZATION, token);
        }
        let client = self.clients.of(endpoint).await?;
        let mut request = Request::post(endpoint.url.as_str())
            .body(Full::new(body))
            .map_err(|_| Fault::blocked(&BlockedTarget::NotAUrl))?;
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        *request.headers_mut() = headers;
        let connection = capture_connection(&mut request);
        let response = client.send(request).await.map_err(|error| Fault::sending(&error))?;
        exchange.first_byte = Some(exchange.started.elapsed());
        exchange.http_version = Some(version_name(response.version()));
        let wire = response.extensions().get::<WireInfo>().cloned();
        exchange.remote_ip = wire.as_ref().and_then(|wire| wire.remote);
        let (head, mut incoming) = response.into_parts();
        if let Some(wire) = &wire {
            wire.earn();
            if wire.is_old()
                && let Some(connected) = connection.connection_metadata().as_ref()
            {
                // No further call is made on it.
                connected.poison();
            }
        }
        if head.status == StatusCode::UNAUTHORIZED {
            // Whatever the token was worth, the next attempt gets a new one.
            self.tokens.forget(endpoint).await;
        }
        let answer = exchange.answer.insert(Answer {
            status: head.status.as_u16(),
            headers: kept_headers(&head.headers),
            body: Vec::new(),
            truncated: false,
        });
        let mut read = 0;
        while let Some(frame) = incoming.frame().await {
            let Ok(chunk) = frame.map_err(|error| Fault::reading(&error))?.into_data() else { continue };
            if chunk.is_empty() {
                continue;
            }
            if let Some(wire) = &wire {
                wire.earn();
            }
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

/// Credentials as they stand in `authorization` (RFC 7617).
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

fn kept_headers(headers: &HeaderMap) -> HeaderList {
    let kept = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        String::from_utf8_lossy(&bytes[..bytes.len().min(KEPT_HEADER)]).into_owned()
    };
    headers
        .iter()
        .take(KEPT_HEADERS)
        .map(|(name, value)| (name.as_str().to_owned().into(), kept(value)))
        .collect()
}
