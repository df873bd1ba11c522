//! Replays of many deliveries.

use std::collections::BTreeMap;

use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words;

/// Which deliveries, or events, a replay is about. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayFilter {
    /// The endpoint whose deliveries are sent again; needed by `failed` and `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// With an event of this type, or of all below a name: `order.*`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// With an event that has this label: `region:eu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// With an event about this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whose last attempt ended like this; not with `missing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::ErrorClass>)]
    pub error_class: Option<String>,
    /// Whose last attempt was answered like this; not with `missing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 100, maximum = 999)]
    pub http_status: Option<u16>,
    /// With an event not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub occurred_after: Option<Timestamp>,
    /// With an event before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub occurred_before: Option<Timestamp>,
    /// With an event published not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub published_after: Option<Timestamp>,
}

/// A wish to send many past deliveries of an endpoint again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayWish {
    /// `failed` (what failed), `missing` (events that the endpoint would get
    /// now and never got) or `all` (whatever became of it).
    #[schema(value_type = words::ReplayMode)]
    pub mode: String,
    /// What it is about.
    #[serde(default)]
    pub filter: ReplayFilter,
    /// The endpoint that gets what it is missing; with `missing` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_endpoint: Option<String>,
    /// How many deliveries become due in a second, 1 to 1,000; 50 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub rate_per_second: Option<u32>,
    /// How many are sent at most, up to 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub max: Option<u32>,
    /// Counts and sends nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Why, for those who look at it later.
    #[serde(default)]
    pub reason: String,
}

/// What a replay would do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReplayPlan {
    /// How many deliveries it would send.
    pub matched: u32,
}

/// A replay.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// Its id: `rpl_…`.
    pub id: String,
    /// The endpoint that gets the deliveries.
    pub endpoint: String,
    /// `failed`, `missing` or `all`.
    #[schema(value_type = words::ReplayMode)]
    pub mode: String,
    /// What it is about.
    pub filter: ReplayFilter,
    /// How many deliveries become due in a second.
    #[schema(minimum = 1, maximum = 1000)]
    pub rate_per_second: u32,
    /// How many are sent at most.
    #[schema(minimum = 1, maximum = 100_000)]
    pub max: u32,
    /// Why somebody wanted it.
    pub reason: String,
    /// `running`, `paused`, `completed`, `canceled` or `failed`.
    #[schema(value_type = words::ReplayState)]
    pub state: String,
    /// Why it paused or failed by itself.
    pub detail: Option<String>,
    /// How many deliveries it is about. Always the sum of `delivered`, `failed`,
    /// `waiting`, `skipped`, `withdrawn` and `remaining`.
    pub matched: u32,
    /// How many were sent.
    pub sent: u32,
    /// How many of those were delivered.
    pub delivered: u32,
    /// How many of those failed.
    pub failed: u32,
    /// How many of those are on their way.
    pub waiting: u32,
    /// For what those wait: `queued` for their turn, `retrying` for the next
    /// try, or for the end of what holds the endpoint (`breaker`, `paused`,
    /// `rate_limit`), each with how many do.
    #[serde(default)]
    pub waiting_for: BTreeMap<String, u32>,
    /// How many were passed over: they had been sent, delivered or purged
    /// meanwhile.
    pub skipped: u32,
    /// How many were withdrawn: canceled, with the replay or by themselves.
    pub withdrawn: u32,
    /// How many are still to be sent.
    pub remaining: u32,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}
