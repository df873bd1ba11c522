//! Errors, as RFC 9457 (Problem Details for HTTP APIs) has them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was refused, and what to do about it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind, for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
    /// The kind, for programs; it never changes.
    pub code: String,
    /// Names this request in Posthorn's logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What is wrong where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where in the body, as a JSON pointer (RFC 6901), or the query parameter.
    pub pointer: String,
    /// What, for programs.
    pub code: String,
    /// What, for people.
    pub detail: String,
}
