//! Events.

use std::collections::BTreeMap;

use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{Problem, Warning, words};

/// An event to be published.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// The customer that it is for.
    pub tenant: String,
    /// What happened, such as `order.paid`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The id of the object that it happened to.
    pub subject: String,
    /// Any JSON object, kept and delivered byte for byte.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
    /// The version of the schema of `data`; the newest if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub schema_version: Option<u32>,
    /// The object's revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// When it happened; now if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub occurred_at: Option<Timestamp>,
    /// Events with the same key belong in one order; the subject if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<String>,
    /// For filters and lists.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Makes a repeated request the same request; or the header `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// The event is on durable storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishAnswer {
    /// Its id, which receivers get as `webhook-id`.
    pub id: String,
    /// `accepted`, or `quarantined` while it waits because its data does not fit its schema.
    #[schema(value_type = words::PublishStatus)]
    pub status: String,
    /// Its number among the tenant's events; none in quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// What the publisher should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// Events to be published, each on its own.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// Up to 1,000.
    #[schema(value_type = Vec<PublishRequest>, min_items = 1, max_items = 1000)]
    pub events: Vec<Box<RawValue>>,
}

/// What became of the events of a batch, in their order.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BatchAnswer {
    /// One for each event.
    pub results: Vec<BatchItem>,
}

/// What became of one event of a batch.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BatchItem {
    /// 202, or the status of the problem.
    pub status: u16,
    /// Its id, if it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its number among the tenant's events, if it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Whether it waits because its data does not fit its schema.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
    /// Whether it had been published before under the same key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotency_replayed: bool,
    /// What the publisher should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// An event as it is read.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// The customer that it is for.
    pub tenant: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The id of the object that it happened to.
    pub subject: String,
    /// The version of the schema of `data`.
    #[schema(minimum = 1)]
    pub schema_version: u32,
    /// The object's revision.
    pub revision: Option<u64>,
    /// Its number among the tenant's events.
    pub sequence: u64,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
    /// Events with the same key belong in one order.
    pub ordering_key: String,
    /// For filters and lists.
    pub labels: BTreeMap<String, String>,
    /// Whether it was sent by the test route.
    pub test: bool,
    /// The tenant's endpoints that did not get it, and why.
    pub unmatched: Vec<Unmatched>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The publisher's bytes, for a reader with `payloads:read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Box<RawValue>>,
}

/// An endpoint that did not get an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unmatched {
    /// The endpoint.
    pub endpoint: String,
    /// `event_type`, `schema_version`, `version_retired`, `downgrade_failed`, `filter` or `disabled`.
    #[schema(value_type = words::NoMatchReason)]
    pub reason: String,
}
