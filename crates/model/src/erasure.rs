//! Erasures: the removal of what is kept of a tenant, or of one subject of a tenant.
//!
//! What is erased is gone from the store, not only hidden: events with their data,
//! deliveries, attempts with the answers of receivers, endpoints, keys, sessions,
//! what waits in quarantine, replays, and what the audit log says of it. The erasure
//! itself is kept, as a receipt.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{ErasureId, ProjectId, TenantId};
use crate::names::{Subject, TenantHandle};

crate::words!(
    /// How far an erasure is.
    ErasureState {
        /// It goes on by itself, also after a restart.
        Running = "running" = 0,
        /// Everything is gone.
        Completed = "completed" = 1,
    }
);

/// How many of each were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Erased {
    /// Events, with their data.
    pub events: u64,
    /// Deliveries, of which those that waited were canceled.
    pub deliveries: u64,
    /// Attempts, with the answers of receivers.
    pub attempts: u64,
    /// Events in quarantine.
    pub quarantined: u64,
    /// Replays that named the subject, or all of the tenant.
    pub replays: u64,
    /// Idempotency keys.
    pub idempotency_keys: u64,
    /// Endpoints.
    pub endpoints: u64,
    /// API keys that were bound to the tenant.
    pub api_keys: u64,
    /// Portal sessions.
    pub portal_sessions: u64,
    /// Entries of the audit log, whose places in it stay.
    pub audit_entries: u64,
}

/// An erasure.
#[derive(Debug, Clone, PartialEq)]
pub struct Erasure {
    /// Its id.
    pub id: ErasureId,
    /// The project.
    pub project: ProjectId,
    /// The tenant, as callers knew it.
    pub handle: TenantHandle,
    /// All that went by this handle: one after the other was made and deleted.
    pub tenants: Vec<TenantId>,
    /// The only subject that is erased; all of the tenant if there is none.
    pub subject: Option<Subject>,
    /// Why.
    pub reason: String,
    /// How far it is.
    pub state: ErasureState,
    /// What was removed so far.
    pub erased: Erased,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it went on last; once it is completed, when that was.
    pub updated_at: Timestamp,
}
