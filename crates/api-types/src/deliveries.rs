//! Deliveries and attempts.

use std::collections::BTreeMap;

use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words;

/// One event on its way to one endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// Its id.
    pub id: String,
    /// The tenant.
    pub tenant: String,
    /// Where to.
    pub endpoint: String,
    /// The event.
    pub event: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The event's subject.
    pub subject: String,
    /// When the event happened.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
    /// `full`, `thin` or `data`, as it was when the event was published.
    #[schema(value_type = words::PayloadMode)]
    pub payload: String,
    /// `queued`, `retrying`, `held`, `delivered`, `failed` or `canceled`.
    #[schema(value_type = words::DeliveryStatus)]
    pub status: String,
    /// Why it was given up: `exhausted`, `permanent` or `expired`.
    #[schema(value_type = Option<words::DeliveryFailure>)]
    pub failure: Option<String>,
    /// What holds it: `paused` (or disabled), `breaker` (the endpoint failed too
    /// often and is probed), `rate_limit` (the receiver asked for time, or the
    /// endpoint's own limit spaces its calls) or `order` (an earlier event of
    /// its key is on its way).
    #[schema(value_type = Option<words::HeldBy>)]
    pub held_by: Option<String>,
    /// Until when; null until someone lifts it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub held_until: Option<Timestamp>,
    /// How the endpoint's last call failed, while it holds this one; also where
    /// this one was never sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_failed: Option<EndpointFailed>,
    /// How many attempts were made.
    pub attempts: u32,
    /// When the next one is due, not before the hold ends; null where nobody
    /// knows yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// How the last attempt ended.
    #[schema(value_type = Option<words::ErrorClass>)]
    pub error_class: Option<String>,
    /// What the last attempt was answered.
    pub http_status: Option<u16>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// How the last call of an endpoint failed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EndpointFailed {
    /// How it failed, as in attempts.
    #[schema(value_type = words::ErrorClass)]
    pub error_class: String,
    /// What it was answered, if it was.
    pub http_status: Option<u16>,
}

/// Whether to send again what was delivered.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// Sends again what was delivered.
    #[serde(default)]
    pub force: bool,
}

/// One HTTP request made for a delivery.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Its id.
    pub id: String,
    /// The delivery.
    pub delivery: String,
    /// 1, 2, … within the delivery.
    pub number: u32,
    /// `automatic`, `replay`, `manual`, `test` or `probe`.
    #[schema(value_type = words::AttemptTrigger)]
    pub trigger: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// How long its parts took.
    pub milliseconds: Milliseconds,
    /// Who was called.
    pub remote_ip: Option<String>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub http_version: Option<String>,
    /// What was sent, with secrets masked.
    pub request_headers: BTreeMap<String, String>,
    /// The status of the answer.
    pub http_status: Option<u16>,
    /// The headers of the answer.
    pub response_headers: BTreeMap<String, String>,
    /// The first 16 KiB of the answer's body, decoded if it came compressed.
    pub response_body: Option<String>,
    /// How it stands there: `text`, or `base64` where it is none (RFC 4648).
    #[serde(default)]
    #[schema(value_type = Option<words::ResponseBodyEncoding>)]
    pub response_body_encoding: Option<String>,
    /// Whether the answer was longer.
    pub response_truncated: bool,
    /// `none`, or how it failed.
    #[schema(value_type = words::ErrorClass)]
    pub error_class: String,
    /// What exactly went wrong; also what was odd about a success, and whether
    /// the call was made twice because a first one cannot have been heard.
    pub error_detail: Option<String>,
    /// When the next attempt is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// Why then, or why there is none.
    #[schema(value_type = words::NextAttemptReason)]
    pub next_attempt_reason: String,
}

/// How long the parts of an attempt took; null where a connection was reused.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Milliseconds {
    /// Looking up the host's name.
    pub dns: Option<f64>,
    /// TCP and TLS.
    pub connect: Option<f64>,
    /// From the start to the first byte of the answer.
    pub first_byte: Option<f64>,
    /// The whole attempt.
    pub total: f64,
}
