//! Around every request: its id, its log line, its metrics.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage as _, HttpResponse, ResponseError as _, web};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::api::Api;
use crate::auth::client_address;
use crate::browser;
use crate::connections::{Answering, Connection};
use crate::limits::Standing;
use crate::memory::{Holder, SMALL, Share};
use crate::preconditions::is_known;
use crate::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The request that is being answered.
#[derive(Debug, Clone)]
struct Current {
    id: String,
    /// Where it comes from.
    address: Option<IpAddr>,
}

tokio::task_local! {
    static CURRENT: Current;
}

/// The id of the request that is being answered.
pub(crate) fn id() -> Option<String> {
    CURRENT.try_with(|current| current.id.clone()).ok()
}

/// Where the request comes from that is being answered.
pub(crate) fn address() -> Option<IpAddr> {
    CURRENT.try_with(|current| current.address).ok().flatten()
}

/// An id for an answer that was given before there was a request.
pub(crate) fn id_without_request() -> String {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    format!("req-early-{:x}", GIVEN.fetch_add(1, Ordering::Relaxed))
}

/// The caller's id, if it can be used, or a new one.
fn choose_id(request: &ServiceRequest, api: &Api) -> String {
    let usable = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
    };
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    given.filter(usable).map_or_else(
        || {
            let mut bytes = [0; 8];
            api.env.entropy.fill(&mut bytes);
            format!("req-{:016x}", u64::from_be_bytes(bytes))
        },
        str::to_owned,
    )
}

/// Middleware: gives the request an id, and tells of it.
pub(crate) async fn wrap<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<Held<EitherBody<EitherBody<B>>>>, Error> {
    // Until the last byte of the answer is taken.
    let has_body = has_body(request.headers());
    let answering = request.conn_data::<Arc<Connection>>().map(|connection| connection.begin(has_body));
    let api = request.app_data::<web::Data<Api>>().cloned().expect("every app has the API's data");
    let current = Current { id: choose_id(&request, &api), address: client_address(request.request(), &api) };
    let started = Instant::now();
    let route = request.match_pattern();
    let method = request.method().clone();
    let response = CURRENT.scope(current.clone(), next.call(request)).await?;
    let response = without_what_is_known(response);
    let status = response.status().as_u16();
    let took = started.elapsed();
    api.metrics.request(route.as_deref().unwrap_or("unknown"), status, took);
    tracing::debug!(
        request.id = %current.id,
        client.address = current.address.map(tracing::field::display),
        http.method = %method,
        http.route = route.as_deref(),
        http.status = status,
        duration_ms = took.as_secs_f64() * 1_000.0,
        "answered a request"
    );
    let standing = response.request().extensions_mut().remove::<Standing>();
    let id = HeaderValue::from_str(&current.id);
    let (mut response, share) = match share_of(&api, &response) {
        // What was done is told, whatever it takes.
        Err(_) if method != Method::GET && method != Method::HEAD => (response.map_into_left_body(), None),
        Ok(share) => (response.map_into_left_body(), share),
        Err(problem) => {
            let refused = CURRENT.sync_scope(current, || problem.error_response());
            (response.into_response(refused).map_into_right_body(), None)
        }
    };
    let headers = response.headers_mut();
    if let Ok(id) = id {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(standing) = standing {
        standing.tell(headers);
    }
    browser::protect(headers, route.as_deref());
    Ok(response.map_body(|_, body| Held { body, _answering: answering, _share: share }))
}

/// 304 in the place of an answer that the caller has already.
fn without_what_is_known<B: MessageBody>(response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B>> {
    let is_reading = matches!(*response.request().method(), Method::GET | Method::HEAD);
    let is_known =
        response.headers().get(ETAG).is_some_and(|tag| is_known(response.request().headers(), tag));
    if !(is_reading && is_known && response.status() == StatusCode::OK) {
        return response.map_into_left_body();
    }
    let mut not_modified = HttpResponse::NotModified();
    for name in [ETAG, CACHE_CONTROL] {
        if let Some(value) = response.headers().get(&name) {
            not_modified.insert_header((name, value.clone()));
        }
    }
    response.into_response(not_modified.finish()).map_into_right_body()
}

/// Whether a body follows the head (RFC 9112, section 6.3).
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
}

/// What the answer takes until the caller has taken it. What is known to all,
/// such as the description of the API, is in memory once.
fn share_of<B: MessageBody>(api: &Api, response: &ServiceResponse<B>) -> Result<Option<Share>, Problem> {
    let BodySize::Sized(length) = response.response().body().size() else { return Ok(None) };
    let holder = response.request().extensions().get::<Holder>().copied();
    match holder {
        Some(holder) if length as usize > SMALL => api.memory.take(holder, length as usize).map(Some),
        _ => Ok(None),
    }
}

pin_project! {
    /// The body of an answer, with what is held until it is taken.
    pub(crate) struct Held<B> {
        #[pin]
        body: B,
        _answering: Option<Answering>,
        _share: Option<Share>,
    }
}

impl<B: MessageBody> MessageBody for Held<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        self.project().body.poll_next(cx)
    }
}
