//! Erasures.

use model::clock::Timestamp;
use model::erasure::Erased;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words;

/// What is to be erased.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasureRequest {
    /// The tenant, by its id: the one that is there, and all that went by this id and
    /// were deleted.
    pub tenant: String,
    /// The only subject whose events are erased. If it is not given, the tenant is
    /// deleted, and everything of it is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Why; kept with the receipt.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// An erasure: its receipt.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Erasure {
    /// Its id.
    pub id: String,
    /// The tenant.
    pub tenant: String,
    /// The only subject that is erased; null for all of the tenant.
    pub subject: Option<String>,
    /// Why.
    pub reason: String,
    /// How far it is.
    #[schema(value_type = words::ErasureState)]
    pub state: String,
    /// How many of each were removed.
    #[schema(value_type = ErasedCounts)]
    pub erased: Erased,
    /// What an erasure does not reach, and until when that is kept.
    pub remains: Vec<String>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When everything was gone. What came later is not erased.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub completed_at: Option<Timestamp>,
}

/// How many of each an erasure has removed.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "it describes the counts of the model")]
pub struct ErasedCounts {
    /// Events, with their data.
    events: u64,
    /// Deliveries, of which those that waited were canceled.
    deliveries: u64,
    /// Attempts, with the answers of receivers.
    attempts: u64,
    /// Events in quarantine.
    quarantined: u64,
    /// Replays.
    replays: u64,
    /// Idempotency keys.
    idempotency_keys: u64,
    /// Endpoints.
    endpoints: u64,
    /// API keys that were bound to the tenant.
    api_keys: u64,
    /// Portal sessions.
    portal_sessions: u64,
    /// Entries of the audit log, whose places in it stay.
    audit_entries: u64,
}
