//! Answers.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ETAG, LOCATION};
use delivery_log::idempotency::KeptAnswer;
use model::clock::Timestamp;
use serde::Serialize;

/// The strong `ETag` of a thing that last changed then.
pub(crate) fn etag(updated_at: Timestamp) -> String {
    format!("\"{:x}\"", updated_at.as_micros())
}

/// The JSON of an answer.
pub(crate) fn to_json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("every answer has a JSON form")
}

/// 200 with a thing that last changed then.
pub(crate) fn one(body: &impl Serialize, updated_at: Timestamp) -> HttpResponse {
    HttpResponse::Ok().insert_header((ETAG, etag(updated_at))).insert_header(private()).json(body)
}

/// 200 with something that has no state of its own.
pub(crate) fn plain(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header(private()).json(body)
}

/// 204.
pub(crate) fn nothing() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

/// An answer that was made before it was known whether it is the first.
pub(crate) fn kept(answer: KeptAnswer, repeated: bool, etag_of: Option<Timestamp>) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = HttpResponse::build(status);
    response.insert_header(private()).content_type("application/json");
    if let Some(location) = answer.location {
        response.insert_header((LOCATION, location));
    }
    if let Some(updated_at) = etag_of {
        response.insert_header((ETAG, etag(updated_at)));
    }
    if repeated {
        response.insert_header(("idempotency-replayed", "true"));
    }
    response.body(answer.body)
}

/// What a key may see is for its holder alone.
pub(crate) fn private() -> (actix_web::http::header::HeaderName, &'static str) {
    (CACHE_CONTROL, "private, no-cache")
}
