//! Whether the process lives, and whether it can work.

use actix_web::{HttpResponse, web};

use crate::api::Api;
use crate::problem::{Code, Problem};

/// `GET /healthz`: the process answers.
pub(crate) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
}

/// `GET /readyz`: the database answers, its schema is this program's, and all
/// parts of this process can work: what it accepts, it also delivers.
pub(crate) async fn ready(api: web::Data<Api>) -> Result<HttpResponse, Problem> {
    if let Err(why) = api.settings.others_ready.check() {
        return Err(Problem::new(Code::Unavailable, why));
    }
    match api.store.check_ready().await {
        Ok(()) => Ok(HttpResponse::Ok().json(serde_json::json!({ "status": "ready" }))),
        Err(error) => Err(Problem::new(Code::Unavailable, error.to_string())),
    }
}
