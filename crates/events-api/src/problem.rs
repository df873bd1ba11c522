//! Problems, and nothing else, are what a refused request gets.
//!
//! Their codes are part of the contract: they never change their meaning.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use api_types::FieldError;
pub(crate) use api_types::ProblemCode as Code;
use delivery_log::{Edited, StoreError};
use model::access::Scope;
use model::words::NotOneOf;

use crate::request_context;

/// Why a request is refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    /// After how many seconds to try again, where that is known.
    retry_after: Option<u64>,
}

/// How long a caller should wait before trying again, in seconds.
const RETRY_AFTER_SECS: u64 = 1;

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}, or this key may not see it"))
    }

    pub(crate) fn missing_scope(scope: Scope) -> Self {
        Self::new(Code::Forbidden, format!("this key lacks the scope {}", scope.as_str()))
    }

    pub(crate) fn key_reused() -> Self {
        let detail = "the same idempotency key came with another request; use a new key for a new request";
        Self::new(Code::IdempotencyMismatch, detail)
    }

    pub(crate) fn changed_meanwhile() -> Self {
        Self::new(Code::PreconditionFailed, "it was changed since; read it again and repeat the change")
    }

    /// It comes too often, and can be sent again after a wait.
    pub(crate) fn too_often(detail: String, retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(Code::RateLimited, detail) }
    }

    /// What is wrong at one place.
    pub(crate) fn invalid(pointer: impl Into<String>, code: &str, detail: impl std::fmt::Display) -> Self {
        Faults::one(pointer, code, detail).into()
    }

    /// Whether a field does not exist that stands in the request.
    pub(crate) fn is_about_unknown_field(&self) -> bool {
        self.errors.iter().any(|error| error.code == "unknown_field")
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> u16 {
        self.code.status()
    }

    /// After how many seconds to try again, where that is known.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    /// The words beside the status.
    pub(crate) fn reason(&self) -> &'static str {
        self.status_code().canonical_reason().unwrap_or_default()
    }

    /// The problem as it is sent.
    pub(crate) fn body(&self) -> api_types::Problem {
        self.body_for(request_context::id())
    }

    /// The problem as it is sent to a request of this id.
    pub(crate) fn body_for(&self, request_id: Option<String>) -> api_types::Problem {
        api_types::Problem {
            kind: format!("urn:posthorn:problem:{}", self.code),
            title: self.code.title().to_owned(),
            status: self.code.status(),
            detail: self.detail.clone(),
            code: self.code.to_string(),
            request_id,
            errors: self.errors.clone(),
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).expect("problems have statuses of HTTP")
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        let header = match self.code {
            Code::Unauthenticated => Some((WWW_AUTHENTICATE, "Bearer realm=\"posthorn\"".to_owned())),
            Code::Unavailable | Code::RateLimited => {
                Some((RETRY_AFTER, self.retry_after.unwrap_or(RETRY_AFTER_SECS).to_string()))
            }
            _ => None,
        };
        if let Some(header) = header {
            answer.insert_header(header);
        }
        answer.content_type("application/problem+json");
        answer
            .insert_header((HeaderName::from_static("cache-control"), HeaderValue::from_static("no-store")));
        answer.body(serde_json::to_string(&self.body()).expect("a problem has a JSON form"))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_transient() {
            tracing::warn!(%error, "a request was refused because of the database");
            return Self::new(
                Code::Unavailable,
                format!("{error}; try again, with the same Idempotency-Key where one was sent"),
            );
        }
        tracing::error!(%error, "a request failed");
        Self::new(Code::Internal, "this is our fault and has been logged; quote the request_id when you ask")
    }
}

/// Goes on if a change was made.
///
/// # Errors
///
/// [`Problem::changed_meanwhile`].
pub(crate) fn made(edited: Edited) -> Result<(), Problem> {
    match edited {
        Edited::Done => Ok(()),
        Edited::Outdated => Err(Problem::changed_meanwhile()),
    }
}

/// All that is wrong with a request, gathered.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<FieldError>);

impl Faults {
    fn one(pointer: impl Into<String>, code: &str, detail: impl std::fmt::Display) -> Self {
        let mut faults = Self::default();
        faults.add(pointer, code, detail);
        faults
    }

    pub(crate) fn add(&mut self, pointer: impl Into<String>, code: &str, detail: impl std::fmt::Display) {
        self.0.push(FieldError {
            pointer: pointer.into(),
            code: code.to_owned(),
            detail: detail.to_string(),
        });
    }

    /// Takes a value, or notes at `pointer` why there is none.
    pub(crate) fn check<T, E: std::fmt::Display>(&mut self, pointer: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.add(pointer, "invalid_value", error)).ok()
    }

    /// Takes a word of the API that was given, or notes at `pointer` what it may be.
    pub(crate) fn word<T: std::str::FromStr<Err = NotOneOf>>(
        &mut self,
        pointer: &str,
        given: Option<String>,
    ) -> Option<T> {
        given.and_then(|word| self.check(pointer, word.parse()))
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is wrong, one by one.
    pub(crate) fn into_errors(self) -> Vec<FieldError> {
        self.0
    }

    /// All of it as a problem of another kind.
    pub(crate) fn with(self, code: Code, detail: impl Into<String>) -> Problem {
        Problem { errors: self.0, ..Problem::new(code, detail) }
    }

    /// Nothing wrong, or the problem.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into()) }
    }
}

impl From<Faults> for Problem {
    fn from(faults: Faults) -> Self {
        let detail = match faults.0.as_slice() {
            [one] if one.pointer.is_empty() => one.detail.clone(),
            [one] => format!("{}: {}", one.pointer, one.detail),
            many => format!("{} things are not valid; see errors", many.len()),
        };
        Self { errors: faults.0, ..Self::new(Code::InvalidRequest, detail) }
    }
}
