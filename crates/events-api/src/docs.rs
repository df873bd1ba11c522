//! `GET /docs/`: the description of the API for people, on pages of our own
//! name. Swagger UI draws it; everything comes from this server.

use std::sync::{Arc, LazyLock};

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa_swagger_ui::Config;

use crate::problem::Problem;
use crate::routes::{at, no_such_url};

/// The URLs of the pages.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service(web::redirect("/docs", "/docs/"));
    for (path, kind, text) in [
        ("/docs/", "text/html; charset=utf-8", include_str!("docs/index.html")),
        ("/docs/posthorn.css", "text/css; charset=utf-8", include_str!("docs/posthorn.css")),
        ("/docs/posthorn.js", "text/javascript; charset=utf-8", include_str!("docs/posthorn.js")),
    ] {
        config.service(at(path).get(move || async move { HttpResponse::Ok().content_type(kind).body(text) }));
    }
    config.service(at("/docs/{file}").get(of_swagger_ui));
}

/// A file of Swagger UI.
async fn of_swagger_ui(request: HttpRequest, file: web::Path<String>) -> Result<HttpResponse, Problem> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(Arc::default);
    // Its own page has another name and calls another server.
    let is_ours = matches!(file.as_str(), "swagger-ui.css" | "swagger-ui-bundle.js");
    let found =
        is_ours.then(|| utoipa_swagger_ui::serve(&file, Arc::clone(&CONFIG)).ok().flatten()).flatten();
    match found {
        Some(found) => Ok(HttpResponse::Ok().content_type(found.content_type).body(found.bytes.into_owned())),
        None => no_such_url(request).await,
    }
}
