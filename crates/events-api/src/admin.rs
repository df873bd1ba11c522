//! The second listener, for operators: metrics and health.

use actix_web::{HttpResponse, web};
use prometheus::{Encoder, Registry, TextEncoder};

use crate::health;
use crate::routes::{at, no_such_url};

/// All URLs of the operators' listener.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(at("/metrics").get(metrics))
        .service(at("/healthz").get(health::live))
        .service(at("/readyz").get(health::ready))
        .default_service(web::to(no_such_url));
}

async fn metrics(registry: web::Data<Registry>) -> HttpResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut text) {
        Ok(()) => HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}
