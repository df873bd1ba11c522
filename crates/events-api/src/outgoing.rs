//! Answers.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ETAG, HeaderName, HeaderValue, LOCATION};
use delivery_log::idempotency::KeptAnswer;
use model::clock::Timestamp;
use serde::Serialize;

use crate::incoming::fingerprint;

/// Says that a request was made before, and answered with this.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The strong `ETag` of an answer about a thing that last changed then. Part of
/// what an answer shows is derived when it is read, and depends on who reads: so
/// it has a second half, which says nothing about the state of the thing.
fn etag(updated_at: Timestamp, body: &str) -> String {
    let shown = fingerprint(&[body]);
    format!(
        "\"{}-{:08x}\"",
        state_tag(updated_at),
        u32::from_be_bytes([shown[0], shown[1], shown[2], shown[3]])
    )
}

/// The first half of an `ETag`: the state that a change is made to.
pub(crate) fn state_tag(updated_at: Timestamp) -> String {
    format!("{:x}", updated_at.as_micros())
}

/// The JSON of an answer.
pub(crate) fn to_json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("every answer has a JSON form")
}

/// 200 with a thing that last changed then.
pub(crate) fn one(body: &impl Serialize, updated_at: Timestamp) -> HttpResponse {
    let body = to_json(body);
    HttpResponse::Ok()
        .insert_header((ETAG, etag(updated_at, &body)))
        .insert_header(private())
        .content_type("application/json")
        .body(body)
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
        response.insert_header((ETAG, etag(updated_at, &answer.body)));
    }
    if repeated {
        response.insert_header((REPLAYED, "true"));
    }
    response.body(answer.body)
}

/// An answer to a repeated request.
pub(crate) fn repeated(mut answer: HttpResponse) -> HttpResponse {
    answer.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    answer
}

/// An answer that says where the thing is read.
pub(crate) fn located(mut answer: HttpResponse, location: &str) -> HttpResponse {
    if let Ok(value) = HeaderValue::from_str(location) {
        answer.headers_mut().insert(LOCATION, value);
    }
    answer
}

/// An answer with a secret: nobody keeps it.
pub(crate) fn shown_once(mut answer: HttpResponse) -> HttpResponse {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// What a key may see is for its holder alone.
pub(crate) fn private() -> (actix_web::http::header::HeaderName, &'static str) {
    (CACHE_CONTROL, "private, no-cache")
}
