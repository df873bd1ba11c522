//! One attempt: sign, send, judge.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use delivery_log::configuration::LiveEndpoint;
use delivery_log::deliveries::Finished;
use delivery_log::hand_off::ReadyDelivery;
use model::attempt::{Attempt, ErrorClass};
use model::clock::Timestamp;
use model::endpoint::Endpoint;
use model::failure::{Outcome, judge, parse_retry_after};
use model::health::Ended;
use model::retry::RetryPolicy;
use model::scenario::{HEAD_START, Scenario};

use super::request::Request;
use crate::context::Context;
use crate::transport::{Call, Sent};

/// An attempt that was made.
pub(crate) struct Made {
    /// What is to be written.
    pub(crate) finished: Finished,
    /// What its lane learns from it.
    pub(crate) ended: Ended,
}

/// The policy of an endpoint; the standard one if its own has just gone.
fn policy_of(context: &Context, live: &LiveEndpoint) -> Arc<RetryPolicy> {
    let Endpoint { project, calls, .. } = &live.endpoint;
    let policy = context.store.configuration().retry_policy(*project, &calls.retry_policy);
    policy.unwrap_or_else(|| Arc::new(RetryPolicy::standard()))
}

/// Makes one attempt: signs, sends, judges.
pub(crate) async fn attempt(context: &Context, ready: &ReadyDelivery, live: &LiveEndpoint) -> Made {
    let policy = policy_of(context, live);
    if Scenario::is_sent_last(&ready.event) {
        tokio::time::sleep(HEAD_START).await;
    }
    let entropy = context.env.entropy.as_ref();
    let started_at = context.env.now();
    let body = Bytes::from(ready.form.render(&ready.event, &ready.data));
    let request = Request::new(context, ready, live, started_at, &body);
    let timeout = live.endpoint.timeout.unwrap_or(policy.timeout);
    let call = Call { endpoint: &live.endpoint, headers: request.headers, body, timeout };
    let sent = context.transport.post(call, &context.cut).await;
    let ended_at = context.env.now();
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
    let verdict = judge(&policy, ready.spent, &outcome, entropy);
    let finished = Finished {
        project: ready.event.project,
        endpoint: ready.endpoint,
        epoch: ready.epoch,
        attempt: Attempt {
            id: context.env.new_id_at(started_at),
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
    };
    let ended = ended(&finished, ready, &policy, context.env.now());
    log(ready, &finished);
    Made { finished, ended }
}

/// What the lane learns from an attempt.
fn ended(finished: &Finished, ready: &ReadyDelivery, policy: &RetryPolicy, at: Timestamp) -> Ended {
    let http_status = finished.attempt.http_status();
    Ended {
        delivery: ready.id,
        event: ready.event.id,
        trigger: ready.trigger,
        error_class: finished.attempt.error_class,
        http_status,
        rejected: policy.is_permanent(http_status),
        hold_until: finished.verdict.hold_until,
        // The lane knows.
        under_way: 0,
        at,
    }
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
