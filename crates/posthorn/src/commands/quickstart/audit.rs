//! What arrives, checked against what was published.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, StatusCode};
use model::clock::Clock as _;
use model::signature::{self, VerifyingSecret};
use serde_json::Value;

use super::setup::TENANT;
use crate::system::SystemClock;
use client::receiver::Answer;

/// Every fifth event is refused at first, to see it tried again.
const REFUSED: u32 = 5;

/// Checks what arrives.
#[derive(Default)]
pub(super) struct Audit(Mutex<State>);

#[derive(Default)]
struct State {
    secret: Option<VerifyingSecret>,
    events: HashMap<String, Seen>,
    retried: usize,
    forged: usize,
    last_delivery: String,
}

#[derive(Default)]
struct Seen {
    published: bool,
    delivered: bool,
    body: Vec<u8>,
    changed: bool,
}

/// How it went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Summary {
    pub(super) published: usize,
    pub(super) delivered: usize,
    retried: usize,
    verified: usize,
    forged: usize,
}

impl Audit {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn use_secret(&self, secret: &str) -> anyhow::Result<()> {
        self.lock().secret = Some(VerifyingSecret::parse(secret).map_err(anyhow::Error::msg)?);
        Ok(())
    }

    pub(super) fn published(&self, event: &str) {
        self.lock().events.entry(event.to_owned()).or_default().published = true;
    }

    pub(super) fn last_delivery(&self) -> String {
        self.lock().last_delivery.clone()
    }

    /// What the receiver answers.
    pub(super) fn answer(self: &Arc<Self>) -> Answer {
        let audit = Arc::clone(self);
        Arc::new(move |headers, body| audit.receive(headers, body).into())
    }

    fn receive(&self, headers: &HeaderMap, body: &[u8]) -> StatusCode {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (id, attempt) = (header("webhook-id"), header("posthorn-attempt"));
        let (timestamp, signatures) = (header("webhook-timestamp"), header("webhook-signature"));
        let mut state = self.lock();
        let Some(secret) = &state.secret else { return StatusCode::SERVICE_UNAVAILABLE };
        if signature::verify(secret, id, timestamp, signatures, body, Some(SystemClock.now())).is_err() {
            state.forged += 1;
            println!("✗ {id}  a signature does not fit: answered 401");
            return StatusCode::UNAUTHORIZED;
        }
        state.last_delivery = header("posthorn-delivery").to_owned();
        let event: Value = serde_json::from_slice(body).unwrap_or_default();
        let what = |name: &str| event[name].as_str().unwrap_or_default();
        let told = format!("{} {:<6} → {TENANT}", what("type"), what("subject"));
        let retried = attempt != "1";
        let refuse = !retried && is_refused(what("subject"));
        let seen = state.events.entry(id.to_owned()).or_default();
        seen.changed |= !seen.body.is_empty() && seen.body != body;
        seen.body = body.to_vec();
        if refuse {
            println!("↻ {told}  answered 503 on purpose, to be retried in about 5 s");
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        seen.delivered = true;
        state.retried += usize::from(retried);
        let why = match header("posthorn-retry-reason") {
            "" => String::new(),
            reason => format!(", attempt {attempt} ({reason} before)"),
        };
        println!("✓ {told}  answered 204, signature verified{why}");
        StatusCode::NO_CONTENT
    }

    /// How it went so far.
    pub(super) fn summary(&self) -> Summary {
        let state = self.lock();
        let published = state.events.values().filter(|seen| seen.published);
        Summary {
            published: published.clone().count(),
            delivered: published.clone().filter(|seen| seen.delivered).count(),
            retried: state.retried,
            verified: published.filter(|seen| seen.delivered && !seen.changed).count(),
            forged: state.forged,
        }
    }
}

/// Whether an event is refused at first: ord_5, ord_10, …
fn is_refused(subject: &str) -> bool {
    let number = subject.strip_prefix("ord_").and_then(|number| number.parse::<u32>().ok());
    number.is_some_and(|number| number > 0 && number % REFUSED == 0)
}

impl Summary {
    /// Whether everything that was published has been delivered.
    pub(super) fn is_complete(self) -> bool {
        self.published > 0 && self.delivered == self.published
    }

    /// Whether everything was delivered as it was signed.
    pub(super) fn all_verified(self) -> bool {
        self.verified == self.published && self.forged == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} events published, {} delivered, {} of them after a retry, {} verified",
            self.published, self.delivered, self.retried, self.verified
        )
    }
}
