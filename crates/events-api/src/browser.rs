//! What browsers are told about every answer: that it is what it says it is,
//! and nothing for other sites to look into.

use actix_web::http::header::{
    CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Answers of the API are not pages.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";
/// The page that describes the API brings all that it needs.
const DOCS: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Adds what browsers need to an answer of a route.
pub(crate) fn protect(headers: &mut HeaderMap, route: Option<&str>) {
    let is_page = route.is_some_and(|route| route.starts_with("/docs"));
    let policy = if is_page { DOCS } else { NOTHING };
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
        (CONTENT_SECURITY_POLICY, policy),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
