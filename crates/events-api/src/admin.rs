//! The second listener, for operators: metrics and health.

use actix_web::{HttpResponse, web};
use prometheus::{Encoder, Registry, TextEncoder};

use crate::health;

/// All URLs of the operators' listener.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/metrics", web::get().to(metrics))
        .route("/healthz", web::get().to(health::live))
        .route("/readyz", web::get().to(health::ready));
}

async fn metrics(registry: web::Data<Registry>) -> HttpResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut text) {
        Ok(()) => HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(text),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}
