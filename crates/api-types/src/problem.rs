//! Errors, as RFC 9457 (Problem Details for HTTP APIs) has them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words;

model::words!(
    /// The kinds of problems. A kind never changes its meaning.
    Code {
        /// The request is not well-formed: `detail` says what to correct.
        MalformedRequest = "malformed_request",
        /// Authentication is needed: send a valid API key.
        Unauthenticated = "unauthenticated",
        /// This key may not do that: `detail` names the scope that it lacks.
        Forbidden = "forbidden",
        /// There is no such thing, or this key may not see it.
        NotFound = "not_found",
        /// This URL does not take this method: `Allow` names those that it takes.
        MethodNotAllowed = "method_not_allowed",
        /// The request took too long to arrive: send it again.
        Timeout = "timeout",
        /// The request does not fit the present state.
        Conflict = "conflict",
        /// The state that `If-Match` names is no longer the present one: read again, and repeat the change.
        PreconditionFailed = "precondition_failed",
        /// The request is too large.
        PayloadTooLarge = "payload_too_large",
        /// The body must be JSON: send `Content-Type: application/json`.
        UnsupportedMediaType = "unsupported_media_type",
        /// Something in the request is not valid: `errors` says where and what.
        InvalidRequest = "invalid_request",
        /// This idempotency key was used for another request: use a new one.
        IdempotencyMismatch = "idempotency_mismatch",
        /// Requests come too often: send it again after `Retry-After`.
        RateLimited = "rate_limited",
        /// Something went wrong in Posthorn: send it again, and quote the `request_id` when you ask.
        Internal = "internal",
        /// Posthorn cannot do that now: send it again after `Retry-After`.
        Unavailable = "unavailable",
    }
);

impl Code {
    /// The HTTP status of such problems.
    pub fn status(self) -> u16 {
        match self {
            Self::MalformedRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::Conflict => 409,
            Self::PreconditionFailed => 412,
            Self::PayloadTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::InvalidRequest | Self::IdempotencyMismatch => 422,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// The kind, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::MalformedRequest => "Malformed request",
            Self::Unauthenticated => "Authentication required",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::Timeout => "Request timeout",
            Self::Conflict => "Conflict",
            Self::PreconditionFailed => "Precondition failed",
            Self::PayloadTooLarge => "Payload too large",
            Self::UnsupportedMediaType => "Unsupported media type",
            Self::InvalidRequest => "Invalid request",
            Self::IdempotencyMismatch => "Idempotency key reused",
            Self::RateLimited => "Too many requests",
            Self::Internal => "Internal error",
            Self::Unavailable => "Service unavailable",
        }
    }
}

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
    #[schema(value_type = words::ProblemCode)]
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
