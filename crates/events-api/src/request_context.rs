//! Around every request: its id, its log line, its metrics.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use tokio::time::Instant;

use crate::api::Api;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    static CURRENT: String;
}

/// The id of the request that is being answered.
pub(crate) fn id() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
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
            api.surroundings.entropy.fill(&mut bytes);
            format!("req-{:016x}", u64::from_be_bytes(bytes))
        },
        str::to_owned,
    )
}

/// Middleware: gives the request an id, and tells of it.
pub(crate) async fn wrap<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let api = request.app_data::<web::Data<Api>>().cloned().expect("every app has the API's data");
    let id = choose_id(&request, &api);
    let started = Instant::now();
    let route = request.match_pattern();
    let method = request.method().clone();
    let mut response = CURRENT.scope(id.clone(), next.call(request)).await?;
    let status = response.status().as_u16();
    let took = started.elapsed();
    api.metrics.request(route.as_deref().unwrap_or("unknown"), status, took);
    tracing::debug!(
        request.id = %id,
        http.method = %method,
        http.route = route.as_deref(),
        http.status = status,
        duration_ms = took.as_secs_f64() * 1_000.0,
        "answered a request"
    );
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Ok(response)
}
