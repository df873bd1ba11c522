//! One HTTP request, within one deadline.
//!
//! One client for all, so that connections are reused. The deadline covers
//! everything from the name to the last byte of the answer, and an answer is
//! read only so far: no receiver can hold a slot for longer, or memory for
//! more.

mod address_guard;
mod clients;
mod connector;
mod fault;
mod phases;
mod repeat;
mod status_line;
mod tokens;
mod wire;

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use model::address::{BlockedTarget, TargetPolicy};
use model::attempt::{Answer, ErrorClass, HeaderList, KEPT_BODY, Phases};
use model::coding::Coding;
use model::endpoint::Endpoint;

use crate::settings::Settings;
use address_guard::Guard;
use clients::Clients;
pub use clients::NoTls;
use fault::Fault;
use phases::Probe;
use repeat::Watch;
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
    /// The answer's `Retry-After`, as it came.
    pub(crate) retry_after: Option<String>,
}

impl Transport {
    pub(crate) fn new(settings: &Settings) -> Result<Self, NoTls> {
        let targets = Arc::new(settings.targets.clone());
        let guard = Arc::new(Guard::new(Arc::clone(&targets), &settings.name_servers));
        let proxy: Option<&SecretString> = settings.egress_proxy.as_ref();
        let clients = Clients::new(guard, proxy, settings.max_connections)?;
        Ok(Self { clients, tokens: Tokens::default(), targets })
    }

    /// Posts a body and reads the answer, all within the call's timeout, and
    /// until `cut`.
    pub(crate) async fn post(&self, call: Call<'_>, cut: &CancellationToken) -> Sent {
        let started = Instant::now();
        let timeout = call.timeout;
        let probe = Arc::new(Probe::default());
        let mut exchange = Exchange::beginning(started);
        let ended = {
            // In its place once and for all: whatever is put around it would move it.
            let work = pin!(self.exchange(call, &mut exchange));
            let work = phases::with_probe(Arc::clone(&probe), work);
            tokio::select! {
                ended = timeout_at(started + timeout, work) => {
                    ended.unwrap_or_else(|_| Err(Fault::deadline(timeout, probe.stage())))
                }
                () = cut.cancelled() => Err(Fault::interrupted()),
            }
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
            // Most calls need none, and shall not carry the room that it takes.
            let token = Box::pin(self.tokens.get(self.clients.plain(), endpoint, oauth)).await?;
            headers.insert(AUTHORIZATION, token);
        }
        let client = self.clients.of(endpoint).await?;
        let mut request = Request::post(endpoint.url.as_str())
            .body(Full::new(body))
            .map_err(|_| Fault::blocked(&BlockedTarget::NotAUrl))?;
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        *request.headers_mut() = headers;
        let sent = client.send(request, &mut exchange.watch).await;
        let response = sent.map_err(|error| Fault::sending(&error))?;
        let wire = response.extensions().get::<WireInfo>().cloned();
        if let Some(wire) = &wire {
            wire.answered();
            if wire.is_old() {
                exchange.watch.poison();
            }
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            // Whatever the token was worth, the next attempt gets a new one.
            self.tokens.forget(endpoint).await;
        }
        exchange.read(response, wire).await;
        Ok(())
    }
}

/// What is known so far, also when the deadline cuts in.
struct Exchange {
    started: Instant,
    watch: Watch,
    first_byte: Option<Duration>,
    remote_ip: Option<IpAddr>,
    http_version: Option<&'static str>,
    answer: Option<Coming>,
    /// What was odd about the answer, though its status is known.
    oddity: Option<String>,
}

/// An answer, as far as it has come.
struct Coming {
    status: u16,
    headers: HeaderList,
    /// How its body is coded, if it is.
    coding: Option<String>,
    retry_after: Option<String>,
    /// The body as it came, at most [`READ_BODY`] of it.
    body: Vec<u8>,
    is_whole: bool,
}

impl Exchange {
    fn beginning(started: Instant) -> Self {
        Self {
            started,
            watch: Watch::default(),
            first_byte: None,
            remote_ip: None,
            http_version: None,
            answer: None,
            oddity: None,
        }
    }

    /// Reads an answer, as far as it is wanted.
    async fn read(&mut self, response: Response<Incoming>, wire: Option<WireInfo>) {
        self.first_byte = Some(self.started.elapsed());
        self.http_version = Some(version_name(response.version()));
        self.remote_ip = wire.as_ref().and_then(|wire| wire.remote);
        let (head, mut incoming) = response.into_parts();
        let coming = self.answer.insert(Coming {
            status: head.status.as_u16(),
            headers: kept_headers(&head.headers),
            coding: coding(&head.headers),
            retry_after: text_of(&head.headers, &RETRY_AFTER),
            body: Vec::new(),
            is_whole: false,
        });
        drop(head);
        while let Some(frame) = incoming.frame().await {
            let chunk = match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(chunk)) if !chunk.is_empty() => chunk,
                Ok(_) => continue,
                Err(error) => {
                    self.oddity = Some(fault::body_words(&error));
                    return;
                }
            };
            if let Some(wire) = &wire {
                wire.earn();
            }
            let room = READ_BODY - coming.body.len();
            coming.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                // The rest is left unread, and the connection is dropped with it.
                return;
            }
        }
        coming.is_whole = true;
    }

    /// What is logged, when it has ended in whatever way. The status decides,
    /// if it is known: what follows it is odd at most.
    fn into_sent(self, ended: Result<(), Fault>, probe: &Probe) -> Sent {
        let phases = Phases {
            dns: probe.dns(),
            connect: probe.connect(),
            first_byte: self.first_byte,
            total: self.started.elapsed(),
        };
        let (mut http_version, mut remote_ip) = (self.http_version, self.remote_ip);
        let mut oddity = self.oddity;
        let mut retry_after = None;
        let answer = match self.answer {
            Some(mut coming) => {
                retry_after = coming.retry_after.take();
                let (answer, unreadable) = coming.kept();
                oddity = oddity.or(unreadable);
                Some(answer)
            }
            None => self.watch.wire().and_then(|wire| {
                let status = wire.status()?;
                (http_version, remote_ip) = (Some("HTTP/1.1"), wire.remote);
                Some(Answer { status, headers: Vec::new(), body: Vec::new(), truncated: true })
            }),
        };
        let (error_class, why) = match (&answer, ended) {
            (Some(answer), ended) => {
                (ErrorClass::of_status(answer.status), oddity.or(ended.err().map(|fault| fault.detail)))
            }
            (None, Err(fault)) => (fault.class, Some(fault.detail)),
            (None, Ok(())) => (ErrorClass::Reset, None),
        };
        let repeat = self.watch.repeat.map(|repeat| repeat.words().to_owned());
        let details: Vec<String> = repeat.into_iter().chain(why).collect();
        Sent {
            phases,
            remote_ip,
            http_version,
            answer,
            error_class,
            error_detail: (!details.is_empty()).then(|| details.join("; ")),
            retry_after,
        }
    }
}

impl Coming {
    /// What is kept of it, and what keeps it from being read.
    fn kept(self) -> (Answer, Option<String>) {
        let Self { status, headers, coding, mut body, is_whole, .. } = self;
        let mut unreadable = None;
        if let Some(coding) = coding.filter(|_| !body.is_empty()) {
            match decoded(&coding, &body, is_whole) {
                Ok(decoded) => body = decoded,
                Err(why) => unreadable = Some(why),
            }
        }
        let truncated = !is_whole || body.len() > KEPT_BODY;
        body.truncate(KEPT_BODY);
        (Answer { status, headers, body, truncated }, unreadable)
    }
}

/// A body that was compressed, as far as it is kept.
fn decoded(coding: &str, body: &[u8], is_whole: bool) -> Result<Vec<u8>, String> {
    let known = Coding::named(coding).ok_or_else(|| format!("the answer's body is coded as {coding:?}"))?;
    // One byte more than is kept tells that there is more.
    let decoded = known.decode(body, KEPT_BODY + 1);
    if decoded.is_broken && (is_whole || decoded.bytes.is_empty()) {
        return Err(format!("the answer's body is said to be coded as {coding:?} and is not"));
    }
    Ok(decoded.bytes)
}

/// How a body is coded, if it is (RFC 9110, section 8.4).
fn coding(headers: &HeaderMap) -> Option<String> {
    let name = text_of(headers, &CONTENT_ENCODING)?;
    (!name.eq_ignore_ascii_case("identity")).then(|| name.chars().take(40).collect())
}

/// The value of a header, read from the answer itself: of its headers only
/// some are kept.
fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned())
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
