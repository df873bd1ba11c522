//! Endpoints.

use std::collections::BTreeMap;

use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{Attempt, Delivery, Metadata, ReplayWish, words};

/// An endpoint to be made, or what it is to become.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointRequest {
    /// Where it is called.
    pub url: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Names and patterns such as `invoice.paid`, `order.*`, `invoice.paid@1`; all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_types: Option<Vec<String>>,
    /// `full`, `thin` or `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::PayloadMode>)]
    pub payload: Option<String>,
    /// Sent with every call; values can be written and not read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// `whsec_…`, to bring a secret along; made if not given. Only when the endpoint is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// How long a call may take, 1 to 30; as the retry policy says if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 30)]
    pub timeout_seconds: Option<u64>,
    /// `standard`, `interactive`, `batch`, or one of the project's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<String>,
    /// Calls a second, at most; as fast as it takes them if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_per_second: Option<u32>,
    /// `none`, or `per_key`: those of one ordering key one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Ordering>)]
    pub ordering: Option<String>,
    /// Conditions on the events that the event types select.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// `standard`, or `cloudevents`: CloudEvents 1.0 in structured JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::PayloadFormat>)]
    pub format: Option<String>,
    /// The names of the signature's headers: `standard` or `svix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::SignatureHeaders>)]
    pub signature_headers: Option<String>,
    /// `hmac` (`v1`), or `ed25519` (`v1a`), which is checked with a public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Signature>)]
    pub signature: Option<String>,
    /// Where calls get a bearer token from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OauthRequest>,
    /// The certificate that calls show (mutual TLS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificateRequest>,
    /// `enabled`, `paused` or `disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::EndpointStatus>)]
    pub status: Option<String>,
    /// The caller's own notes.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Metadata,
}

/// OAuth 2 client credentials (RFC 6749, section 4.4).
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthRequest {
    /// The token endpoint.
    pub token_url: String,
    /// Who we are to it.
    pub client_id: String,
    /// Can be written and not read.
    pub client_secret: String,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// How we show who we are: `client_secret_basic`, in the header
    /// `authorization` (default), or `client_secret_post`, in the form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::OauthAuthMethod>)]
    pub auth_method: Option<String>,
}

/// Where calls get a bearer token from, without the secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Oauth {
    /// The token endpoint.
    pub token_url: String,
    /// Who we are to it.
    pub client_id: String,
    /// What is asked for.
    pub scope: String,
    /// `client_secret_basic` or `client_secret_post`.
    #[schema(value_type = words::OauthAuthMethod)]
    pub auth_method: String,
}

/// A client certificate with its key.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificateRequest {
    /// The certificate and those that signed it, as PEM.
    pub certificate: String,
    /// The key, as PEM (PKCS #8, PKCS #1 or SEC 1). Can be written and not read.
    pub private_key: String,
}

/// A URL that a tenant registered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// The tenant.
    pub tenant: String,
    /// Where it is called.
    pub url: String,
    /// For people.
    pub description: String,
    /// Names and patterns of the events it gets.
    pub event_types: Vec<String>,
    /// How much of them: `full`, `thin` or `data`.
    #[schema(value_type = words::PayloadMode)]
    pub payload: String,
    /// Sent with every call; the values are masked.
    pub headers: BTreeMap<String, String>,
    /// How long a call may take.
    #[schema(minimum = 1, maximum = 30)]
    pub timeout_seconds: u64,
    /// When failed deliveries are tried again.
    pub retry_policy: String,
    /// Calls a second, at most.
    pub rate_limit_per_second: Option<u32>,
    /// `none` or `per_key`.
    #[schema(value_type = words::Ordering)]
    pub ordering: String,
    /// Conditions on the events that it gets.
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Value>,
    /// `standard` or `cloudevents`.
    #[schema(value_type = words::PayloadFormat)]
    pub format: String,
    /// The names of the signature's headers: `standard` or `svix`.
    #[schema(value_type = words::SignatureHeaders)]
    pub signature_headers: String,
    /// `hmac` or `ed25519`.
    #[schema(value_type = words::Signature)]
    pub signature: String,
    /// Where calls get a bearer token from.
    pub oauth: Option<Oauth>,
    /// The certificate that calls show, as PEM.
    pub client_certificate: Option<String>,
    /// `enabled`, `paused` or `disabled`.
    #[schema(value_type = words::EndpointStatus)]
    pub status: String,
    /// Why Posthorn disabled it, if it did.
    pub disabled_reason: Option<String>,
    /// What it may have missed while it was disabled, until that is replayed.
    pub missed: Option<Missed>,
    /// What to know of the versions that it is pinned to: deprecated or retired ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// The caller's own notes.
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// What an endpoint may have missed while it was disabled.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Missed {
    /// Since when it was disabled.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// For `POST /v1/replays`, once the endpoint is enabled.
    pub replay: ReplayWish,
}

/// An endpoint that was just made, with its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EndpointWithSecret {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// `whsec_…`, with which receivers check signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// `whpk_…`, where signatures are made with a key of which receivers need
    /// the public half alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// With what receivers check the signatures of an endpoint's calls.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// `whsec_…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// `whpk_…`, where signatures are made with a key of which receivers need
    /// the public half alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The secret before it, while both sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret: Option<String>,
    /// The public key before it, while both sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_public_key: Option<String>,
    /// Until when the one before signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous_expires_at: Option<Timestamp>,
}

/// How to give an endpoint a new secret.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// `whsec_…`, to bring one along; made if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// For how many seconds the old one signs too; 86400 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<u64>,
}

/// A test call.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// The event type to send; `posthorn.test` if not given.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// What the receiver is tried with: `duplicate`, `out_of_order`, `delayed`, `bad_signature` or
    /// `old_timestamp`; a plain call if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::TestScenario>)]
    pub scenario: Option<String>,
}

/// What a test of a scenario sends, and what a good receiver does.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ScenarioAnswer {
    /// The scenario.
    #[schema(value_type = words::TestScenario)]
    pub scenario: String,
    /// What is sent.
    pub sends: String,
    /// What a good receiver does.
    pub expects: String,
    /// `passed`, `failed`, or `pending` while not all calls have ended: ask with
    /// `wait=10` to be told.
    #[schema(value_type = words::ScenarioResult)]
    pub result: String,
    /// Why it passed or failed.
    pub why: Option<String>,
    /// The deliveries, in the order in which they are sent.
    pub deliveries: Vec<Delivery>,
    /// Their attempts that ended within the `wait`.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

/// A test that was sent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TestAnswer {
    /// Its delivery.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// Its first attempt, if that ended within the `wait`.
    pub attempt: Option<Attempt>,
}

/// What came of a test.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum TestOutcome {
    /// Of a scenario.
    Scenario(Box<ScenarioAnswer>),
    /// Of a plain call.
    Call(Box<TestAnswer>),
}

/// What is known of an endpoint from its answers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EndpointHealth {
    /// `closed` (all goes), `open` (all is held) or `half_open` (single probes go).
    #[schema(value_type = words::BreakerState)]
    pub breaker: String,
    /// Why deliveries are held at the moment: `paused`, `breaker` or `rate_limit`.
    #[schema(value_type = Option<words::HeldBy>)]
    pub held_by: Option<String>,
    /// Until when, if that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub held_until: Option<Timestamp>,
    /// Since when every call has failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<Timestamp>,
    /// How many have failed since.
    pub failures: u32,
    /// How many attempts of late the next three figures are made of.
    pub attempts: usize,
    /// The share of them that succeeded, of 0 to 1.
    pub success_rate: Option<f64>,
    /// The median time of a call, in milliseconds.
    pub latency_p50_ms: Option<f64>,
    /// What 95 of 100 calls stayed below, in milliseconds.
    pub latency_p95_ms: Option<f64>,
    /// How many deliveries wait; counted up to 10,000.
    pub backlog: u64,
    /// Whether there are more than were counted.
    pub backlog_is_more: bool,
    /// The last failure.
    pub last_error: Option<LastError>,
}

/// A failure.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LastError {
    /// How it failed.
    #[schema(value_type = words::ErrorClass)]
    pub error_class: String,
    /// What was answered.
    pub http_status: Option<u16>,
    /// What exactly went wrong, for people.
    pub detail: Option<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// A filter to be tried.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterCheckRequest {
    /// The filter.
    #[schema(value_type = Object)]
    pub filter: Value,
    /// Names and patterns; all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_types: Option<Vec<String>>,
}

/// Which of a tenant's last events an endpoint with a filter would have got.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FilterCheck {
    /// The events looked at, newest first.
    pub events: Vec<FilteredEvent>,
    /// How many of them match.
    pub matched: usize,
}

/// An event, and whether it passes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FilteredEvent {
    /// Its id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// What it is about.
    pub subject: String,
    /// Whether the endpoint would have got it.
    pub matches: bool,
    /// Why not: `event_type`, `schema_version` or `filter`.
    #[schema(value_type = Option<words::NoMatchReason>)]
    pub reason: Option<String>,
}
