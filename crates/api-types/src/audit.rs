//! The audit log.

use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::words;

/// What somebody did, or read.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its id.
    pub id: String,
    /// Its place in the log of the project, from 1 on without a gap.
    pub number: u64,
    /// When it was written, with what it tells of.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who did it: the id of an API key or of a portal session, `command_line`, or
    /// `posthorn` by itself. Null where it was erased, like all that follows.
    pub actor: Option<String>,
    /// From which address.
    pub address: Option<String>,
    /// The `x-request-id` of the request.
    pub request_id: Option<String>,
    /// What was done.
    #[schema(value_type = Option<words::AuditAction>)]
    pub action: Option<String>,
    /// To which thing: its id, or its name where it has none.
    pub target: Option<String>,
    /// The tenant that it is about.
    pub tenant: Option<String>,
    /// The thing before, as the API showed it: without secrets.
    #[schema(value_type = Option<Value>)]
    pub before: Option<Value>,
    /// The thing after.
    #[schema(value_type = Option<Value>)]
    pub after: Option<Value>,
    /// Why, where that was asked.
    pub reason: Option<String>,
    /// The erasure that removed what it said.
    pub erased_by: Option<String>,
}
