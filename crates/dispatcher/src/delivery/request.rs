//! The request of an attempt: its headers, and as they stand in the log.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;

use delivery_log::configuration::LiveEndpoint;
use delivery_log::hand_off::ReadyDelivery;
use model::attempt::{ErrorClass, HeaderList, Trigger};
use model::calls::SignatureHeaders;
use model::catalogue::VersionStatus;
use model::clock::Timestamp;
use model::scenario::{OLD, Scenario};

use crate::context::Context;

/// What every receiver sees of us.
const AGENT: &str = concat!("Posthorn/", env!("CARGO_PKG_VERSION"));
/// Stands in the log for a value that is nobody's business.
const MASKED: &str = "***";

/// The headers of a request, and as they stand in the log.
pub(super) struct Request {
    pub(super) headers: HeaderMap,
    pub(super) logged: HeaderList,
}

impl Request {
    pub(super) fn new(
        context: &Context,
        ready: &ReadyDelivery,
        live: &LiveEndpoint,
        now: Timestamp,
        body: &[u8],
    ) -> Self {
        let id = ready.event.id.to_string();
        let scenario = Scenario::of(&ready.event);
        let stamp = if scenario == Some(Scenario::OldTimestamp) { now.minus(OLD) } else { now };
        let signature = match scenario {
            Some(Scenario::BadSignature) => live.sign(&id, stamp, b"another body"),
            _ => live.sign(&id, stamp, body),
        };
        let mut request = Self { headers: HeaderMap::with_capacity(16), logged: Vec::with_capacity(12) };
        let [name_of_id, name_of_time, name_of_signature] = match live.endpoint.calls.signature_headers {
            SignatureHeaders::Standard => ["webhook-id", "webhook-timestamp", "webhook-signature"],
            SignatureHeaders::Svix => ["svix-id", "svix-timestamp", "svix-signature"],
        };
        request.add("content-type", ready.form.content_type().to_owned());
        request.add("user-agent", AGENT.to_owned());
        request.add(name_of_signature, signature);
        request.add(name_of_time, stamp.as_secs().to_string());
        request.add(name_of_id, id);
        request.add("traceparent", traceparent(context, ready));
        request.add("posthorn-delivery", ready.id.to_string());
        request.add("posthorn-attempt", (ready.attempts + 1).to_string());
        if let Some(reason) = retry_reason(ready) {
            request.add("posthorn-retry-reason", reason.to_owned());
        }
        if let Some((deprecation, sunset)) = end_of_version(context, ready, live) {
            request.add("deprecation", deprecation);
            if let Some(sunset) = sunset {
                request.add("sunset", sunset);
            }
        }
        if live.endpoint.calls.oauth.is_some() {
            // The transport adds the token.
            request.logged.push(("authorization".into(), MASKED.to_owned()));
        }
        for custom in live.headers() {
            let name = HeaderName::from_bytes(custom.name.as_bytes());
            let value = HeaderValue::from_str(custom.value.expose_secret());
            // Both were checked when they were set.
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(true);
                request.headers.append(name, value);
                request.logged.push((custom.name.clone().into(), MASKED.to_owned()));
            }
        }
        request
    }

    fn add(&mut self, name: &'static str, value: String) {
        let sent = HeaderValue::from_str(&value).expect("our own headers are visible ASCII");
        self.headers.insert(HeaderName::from_static(name), sent);
        self.logged.push((name.into(), value));
    }
}

/// Since when the version that a pinned endpoint gets is deprecated
/// (RFC 9745), and when it goes (RFC 8594).
fn end_of_version(
    context: &Context,
    ready: &ReadyDelivery,
    live: &LiveEndpoint,
) -> Option<(String, Option<String>)> {
    let event = &ready.event;
    let entry = context.store.configuration().event_type(event.project, &event.event_type)?;
    let number = ready.form.version().unwrap_or(event.schema_version);
    let version = entry.version(number).filter(|version| version.status == VersionStatus::Deprecated)?;
    entry.pins(&live.endpoint.subscriptions).next()?;
    let since = version.deprecated_at.unwrap_or(version.updated_at);
    Some((format!("@{}", since.as_secs()), version.sunset_at.map(Timestamp::to_http_date)))
}

/// Why this is not the first attempt: how the one before ended, or who asked.
fn retry_reason(ready: &ReadyDelivery) -> Option<&'static str> {
    match ready.trigger {
        Trigger::Manual | Trigger::Replay => Some("replay"),
        Trigger::Test => Some("test"),
        Trigger::Automatic | Trigger::Probe => ready.last_error.map(ErrorClass::as_str),
    }
}

/// W3C Trace Context: one trace for all attempts of an event.
fn traceparent(context: &Context, ready: &ReadyDelivery) -> String {
    let mut span = [0; 8];
    context.env.entropy.fill(&mut span);
    // A span id of zeros is not valid.
    format!("00-{:032x}-{:016x}-01", ready.event.id.0.as_u128(), u64::from_be_bytes(span).max(1))
}
