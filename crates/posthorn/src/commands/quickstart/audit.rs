//! What arrives, checked against what was published.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, StatusCode};
use model::clock::Clock as _;
use model::signature::{self, VerifyingSecret};

use crate::receiver::Answer;
use crate::system::SystemClock;

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
        Arc::new(move |headers, body| audit.receive(headers, body))
    }

    fn receive(&self, headers: &HeaderMap, body: &[u8]) -> StatusCode {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (id, attempt) = (header("webhook-id"), header("posthorn-attempt"));
        let (timestamp, signatures) = (header("webhook-timestamp"), header("webhook-signature"));
        let mut state = self.lock();
        let Some(secret) = &state.secret else { return StatusCode::SERVICE_UNAVAILABLE };
        if signature::verify(secret, id, timestamp, signatures, body, Some(SystemClock.now())).is_err() {
            state.forged += 1;
            println!("✗ {id}  a signature does not fit");
            return StatusCode::UNAUTHORIZED;
        }
        state.last_delivery = header("posthorn-delivery").to_owned();
        let refuse = attempt == "1" && is_refused(body);
        let retried = attempt != "1";
        let seen = state.events.entry(id.to_owned()).or_default();
        seen.changed |= !seen.body.is_empty() && seen.body != body;
        seen.body = body.to_vec();
        if refuse {
            println!("↻ {id}  attempt {attempt}  refused with 503, to be tried again");
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        seen.delivered = true;
        state.retried += usize::from(retried);
        println!("✓ {id}  attempt {attempt}  signature verified, {} bytes", body.len());
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
fn is_refused(body: &[u8]) -> bool {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let number =
        body["subject"].as_str().and_then(|subject| subject.strip_prefix("ord_")?.parse::<u32>().ok());
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
