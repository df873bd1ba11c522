//! One attempt: sign, send, judge, record.
//!
//! The fifth stop of an event, after the lanes and before the transport.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use serde_json::json;

use delivery_log::configuration::LiveEndpoint;
use delivery_log::deliveries::{Finished, Recorded};
use delivery_log::hand_off::ReadyDelivery;
use model::attempt::{Attempt, ErrorClass, HeaderList, Trigger};
use model::calls::SignatureHeaders;
use model::catalogue::VersionStatus;
use model::clock::Timestamp;
use model::delivery::{DeliveryStatus, Failure};
use model::endpoint::Endpoint;
use model::endpoint::deciding;
use model::failure::{Outcome, judge, parse_retry_after};
use model::health::Ended;
use model::ids::AttemptId;
use model::operations::Operation;
use model::retry::RetryPolicy;
use model::scenario::{HEAD_START, OLD, Scenario};

use crate::context::Context;
use crate::transport::{Call, Sent};
use crate::{findings, operations};

/// What every receiver sees of us.
const AGENT: &str = concat!("Posthorn/", env!("CARGO_PKG_VERSION"));
/// Stands in the log for a value that is nobody's business.
const MASKED: &str = "***";
/// How long to wait before an attempt is offered to the log again.
const RECORD_AGAIN: Duration = Duration::from_millis(500);

/// Makes one attempt, and sees to it that it is in the log.
pub(crate) async fn deliver(context: Arc<Context>, ready: ReadyDelivery, endpoint: Arc<LiveEndpoint>) {
    let policy = policy_of(&context, &endpoint);
    let finished = attempt(&context, &ready, &endpoint, &policy).await;
    let attempt = &finished.attempt;
    let ended = Ended {
        delivery: ready.id,
        event: ready.event.id,
        trigger: ready.trigger,
        error_class: attempt.error_class,
        http_status: attempt.http_status(),
        rejected: policy.is_permanent(attempt.http_status()),
        hold_until: finished.verdict.hold_until,
        // The lane knows.
        under_way: 0,
        at: context.surroundings.now(),
    };
    let took = attempt.phases.total;
    let learned = context.lanes().ended(&ready, &ended, took, context.surroundings.entropy.as_ref());
    context.start_ready();
    log(&ready, &finished);
    let finished = Arc::new(Finished { health: learned.health, ..finished });
    if record(&context, &ready, Arc::clone(&finished)).await == Some(Recorded::Advanced)
        && let DeliveryStatus::Failed(failure) = finished.verdict.status
        && ready.trigger != Trigger::Test
    {
        tell_of_failure(&context, &ready, &endpoint, &finished, failure).await;
    }
    findings::act(&context, &endpoint, learned.findings).await;
}

async fn tell_of_failure(
    context: &Context,
    ready: &ReadyDelivery,
    endpoint: &LiveEndpoint,
    finished: &Finished,
    failure: Failure,
) {
    let details = json!({
        "delivery": ready.id.to_string(),
        "event": ready.event.id.to_string(),
        "type": ready.event.event_type.as_str(),
        "failure": failure.as_str(),
        "attempts": finished.attempt.number,
        "error_class": finished.attempt.error_class.as_str(),
        "http_status": finished.attempt.http_status(),
    });
    operations::tell(context, endpoint, Operation::DeliveryFailed, details).await;
}

/// The policy of an endpoint; the standard one if its own has just gone.
fn policy_of(context: &Context, live: &LiveEndpoint) -> Arc<RetryPolicy> {
    let Endpoint { project, calls, .. } = &live.endpoint;
    let policy = context.store.configuration().retry_policy(*project, &calls.retry_policy);
    policy.unwrap_or_else(|| Arc::new(RetryPolicy::standard()))
}

async fn attempt(
    context: &Context,
    ready: &ReadyDelivery,
    live: &LiveEndpoint,
    policy: &RetryPolicy,
) -> Finished {
    if Scenario::is_sent_last(&ready.event) {
        tokio::time::sleep(HEAD_START).await;
    }
    let entropy = context.surroundings.entropy.as_ref();
    let started_at = context.surroundings.now();
    let body = Bytes::from(ready.form.render(&ready.event, &ready.data));
    let request = Request::new(context, ready, live, started_at, &body);
    let timeout = live.endpoint.timeout.unwrap_or(policy.timeout);
    let call = Call { endpoint: &live.endpoint, headers: request.headers, body, timeout };
    let sent = context.transport.post(call, &context.cut).await;
    let ended_at = context.surroundings.now();
    let outcome = Outcome {
        error_class: sent.error_class,
        http_status: sent.answer.as_ref().map(|answer| answer.status),
        retry_after: retry_after(&sent, ended_at),
        ended_at,
        trigger: ready.trigger,
        ordered: ready.ordered,
        twice: Scenario::of(&ready.event) == Some(Scenario::Duplicate),
    };
    context.metrics.attempt(sent.error_class, sent.phases.total);
    let verdict = judge(policy, ready.spent, &outcome, entropy);
    Finished {
        project: ready.event.project,
        endpoint: ready.endpoint,
        epoch: ready.epoch,
        attempt: Attempt {
            id: AttemptId::next(&context.surroundings.ids, started_at, entropy),
            delivery: ready.id,
            number: ready.attempts + 1,
            trigger: ready.trigger,
            started_at,
            phases: sent.phases,
            remote_ip: sent.remote_ip,
            http_version: sent.http_version,
            request_headers: request.logged,
            answer: sent.answer,
            error_class: sent.error_class,
            error_detail: sent.error_detail,
            next_attempt_at: verdict.next_attempt_at,
            next_reason: verdict.reason,
        },
        verdict,
        health: None,
    }
}

/// The headers of a request, and as they stand in the log.
struct Request {
    headers: HeaderMap,
    logged: HeaderList,
}

impl Request {
    fn new(
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
    let mut deciding = deciding(&live.endpoint.subscriptions, &event.event_type);
    deciding.find(|one| entry.pin(one.version(), one.since()).is_some())?;
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
    context.surroundings.entropy.fill(&mut span);
    // A span id of zeros is not valid.
    format!("00-{:032x}-{:016x}-01", ready.event.id.0.as_u128(), u64::from_be_bytes(span).max(1))
}

fn retry_after(sent: &Sent, now: Timestamp) -> Option<Duration> {
    match sent.error_class {
        ErrorClass::None => None,
        _ => parse_retry_after(sent.retry_after.as_ref()?, now),
    }
}

fn log(ready: &ReadyDelivery, finished: &Finished) {
    let attempt = &finished.attempt;
    tracing::debug!(
        event.id = %ready.event.id,
        delivery.id = %ready.id,
        endpoint.id = %ready.endpoint,
        attempt.number = attempt.number,
        attempt.error_class = %attempt.error_class,
        http.status = attempt.http_status(),
        duration_ms = attempt.phases.total.as_secs_f64() * 1_000.0,
        "made an attempt"
    );
}

/// Offers the attempt to the log until it is taken; gives what became of it.
///
/// While the database is away, attempts gather here; their number is bounded
/// by the slots, because a lane does not start more than it may leave unrecorded.
async fn record(context: &Arc<Context>, ready: &ReadyDelivery, finished: Arc<Finished>) -> Option<Recorded> {
    let due = finished.verdict.next_attempt_at;
    context.metrics.unrecorded.inc();
    let taken = loop {
        match context.store.finish(Arc::clone(&finished)).await {
            Ok(recorded) => {
                match recorded {
                    Recorded::Advanced => context.metrics.ended(finished.verdict.status),
                    Recorded::Late => context.metrics.late.inc(),
                }
                break Some(recorded);
            }
            Err(error) if error.is_transient() => tokio::time::sleep(RECORD_AGAIN).await,
            Err(error) => {
                // The delivery stays claimed until its lane is given back, soon, and is sent again.
                if let Some(lane) = context.lanes().lane_of(ready.endpoint, ready.epoch) {
                    lane.doubt();
                }
                tracing::error!(%error, delivery.id = %finished.attempt.delivery, "an attempt cannot be logged");
                break None;
            }
        }
    };
    context.metrics.unrecorded.dec();
    let throttled = context.lanes().recorded(ready, due);
    if throttled || due.is_some() {
        context.start_ready();
    }
    taken
}
