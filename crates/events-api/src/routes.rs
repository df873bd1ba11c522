//! Every URL of the public listener.

use actix_web::{HttpRequest, HttpResponse, Resource, web};

use crate::problem::{Code, Problem};
use crate::{
    api_keys, audit_log, catalogue, deliveries, docs, endpoints, erasures, event_types, events, health, meta,
    oauth, openapi, operational_endpoints, portal_sessions, project, quarantine, replays, retry_policies,
    tenants,
};

/// Every URL of the public listener.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(at("/healthz").get(health::live))
        .service(at("/readyz").get(health::ready))
        .service(at("/openapi.json").get(openapi::serve))
        .configure(docs::routes)
        .service(
            web::scope("/v1")
                // First what is asked most: a URL is compared with one after the other.
                .service(at("/events").get(events::list::handle).post(events::publish::handle))
                .service(at("/events/batch").post(events::publish_batch::handle))
                .service(at("/events/{event}").get(events::get::handle))
                .service(at("/events/{event}/deliveries").get(events::list_deliveries::handle))
                .service(at("/project").get(project::get::handle).patch(project::update::handle))
                .service(at("/project/pause").post(project::pause::pause))
                .service(at("/project/resume").post(project::pause::resume))
                .service(
                    at("/operational-endpoints")
                        .get(operational_endpoints::list)
                        .post(operational_endpoints::create),
                )
                .service(
                    at("/operational-endpoints/{endpoint}")
                        .get(operational_endpoints::get)
                        .patch(operational_endpoints::update)
                        .delete(operational_endpoints::delete),
                )
                .service(
                    at("/operational-endpoints/{endpoint}/secret").get(operational_endpoints::read_secret),
                )
                .service(at("/meta").get(meta::handle))
                .service(
                    at("/retry-policies")
                        .get(retry_policies::list::handle)
                        .post(retry_policies::create::handle),
                )
                .service(
                    at("/retry-policies/{name}")
                        .get(retry_policies::get::handle)
                        .patch(retry_policies::update::handle)
                        .delete(retry_policies::delete::handle),
                )
                .service(at("/event-types").get(event_types::list::handle).post(event_types::create::handle))
                .service(
                    at("/event-types/{name}")
                        .get(event_types::get::handle)
                        .patch(event_types::update::handle)
                        .delete(event_types::delete::handle),
                )
                .service(
                    at("/event-types/{name}/versions")
                        .get(event_types::list_versions::handle)
                        .post(event_types::create_version::handle),
                )
                .service(at("/event-types/{name}/versions/check").post(event_types::check::handle))
                .service(
                    at("/event-types/{name}/versions/{version}")
                        .get(event_types::get_version::handle)
                        .patch(event_types::update_version::handle),
                )
                .service(
                    at("/event-types/{name}/versions/{version}/dependents")
                        .get(event_types::dependents::handle),
                )
                .service(
                    at("/event-types/{name}/versions/{version}/preview").get(event_types::preview::handle),
                )
                .service(at("/catalogue/apply").post(catalogue::apply::handle))
                .service(at("/catalogue/openapi.json").get(catalogue::openapi::handle))
                .service(at("/quarantine").get(quarantine::list::handle))
                .service(at("/quarantine/{id}").get(quarantine::get::handle))
                .service(at("/quarantine/{id}/release").post(quarantine::release::handle))
                .service(at("/quarantine/{id}/drop").post(quarantine::drop::handle))
                .service(at("/tenants").get(tenants::list::handle).post(tenants::create::handle))
                .service(
                    at("/tenants/{tenant}")
                        .get(tenants::get::handle)
                        .put(tenants::replace::handle)
                        .patch(tenants::update::handle)
                        .delete(tenants::delete::handle),
                )
                .service(at("/tenants/{tenant}/pause").post(tenants::pause::pause))
                .service(at("/tenants/{tenant}/resume").post(tenants::pause::resume))
                .service(
                    at("/tenants/{tenant}/endpoints")
                        .get(endpoints::list::handle)
                        .post(endpoints::create::handle),
                )
                .service(at("/tenants/{tenant}/endpoints/check-filter").post(endpoints::check_filter::handle))
                .service(
                    at("/tenants/{tenant}/endpoints/{endpoint}")
                        .get(endpoints::get::handle)
                        .patch(endpoints::update::handle)
                        .delete(endpoints::delete::handle),
                )
                .service(
                    at("/tenants/{tenant}/endpoints/{endpoint}/secret").get(endpoints::read_secret::handle),
                )
                .service(
                    at("/tenants/{tenant}/endpoints/{endpoint}/secret/rotate")
                        .post(endpoints::rotate_secret::handle),
                )
                .service(at("/tenants/{tenant}/endpoints/{endpoint}/health").get(endpoints::health::handle))
                .service(at("/tenants/{tenant}/endpoints/{endpoint}/pause").post(endpoints::pause::pause))
                .service(at("/tenants/{tenant}/endpoints/{endpoint}/resume").post(endpoints::pause::resume))
                .service(at("/tenants/{tenant}/endpoints/{endpoint}/reset").post(endpoints::reset::handle))
                .service(at("/tenants/{tenant}/endpoints/{endpoint}/test").post(endpoints::test::handle))
                .service(
                    at("/tenants/{tenant}/portal-sessions")
                        .get(portal_sessions::list::handle)
                        .post(portal_sessions::create::handle),
                )
                .service(
                    at("/tenants/{tenant}/portal-sessions/end-all").post(portal_sessions::end_all::handle),
                )
                .service(
                    at("/tenants/{tenant}/portal-sessions/{session}")
                        .get(portal_sessions::get::handle)
                        .delete(portal_sessions::end::handle),
                )
                .service(at("/portal-sessions/{session}/exchange").post(portal_sessions::exchange::handle))
                .service(at("/deliveries").get(deliveries::list::handle))
                .service(at("/deliveries/{delivery}").get(deliveries::get::handle))
                .service(at("/deliveries/{delivery}/attempts").get(deliveries::list_attempts::handle))
                .service(at("/deliveries/{delivery}/payload").get(deliveries::read_payload::handle))
                .service(at("/deliveries/{delivery}/replay").post(deliveries::replay::handle))
                .service(at("/deliveries/{delivery}/cancel").post(deliveries::cancel::handle))
                .service(at("/replays").get(replays::list::handle).post(replays::create::handle))
                .service(at("/replays/{replay}").get(replays::get::handle))
                .service(at("/replays/{replay}/pause").post(replays::set_state::pause))
                .service(at("/replays/{replay}/resume").post(replays::set_state::resume))
                .service(at("/replays/{replay}/cancel").post(replays::set_state::cancel))
                .service(at("/oauth/token").post(oauth::token))
                .service(at("/erasures").get(erasures::list::handle).post(erasures::create::handle))
                .service(at("/erasures/{erasure}").get(erasures::get::handle))
                .service(at("/audit-log").get(audit_log::list::handle))
                .service(at("/api-keys").get(api_keys::list::handle).post(api_keys::create::handle))
                .service(at("/api-keys/{key}").get(api_keys::get::handle).delete(api_keys::revoke::handle))
                .service(at("/api-keys/{key}/rotate").post(api_keys::rotate::handle)),
        )
        .default_service(web::to(no_such_url));
}

/// A URL, to which methods are added.
pub(crate) fn at(path: &str) -> Url {
    Url { resource: web::resource(path), allowed: Vec::new() }
}

pub(crate) struct Url {
    resource: Resource,
    allowed: Vec<&'static str>,
}

macro_rules! method {
    ($name:ident, $text:literal) => {
        fn $name<F, Args>(mut self, handler: F) -> Self
        where
            F: actix_web::Handler<Args>,
            Args: actix_web::FromRequest + 'static,
            F::Output: actix_web::Responder + 'static,
        {
            self.resource = self.resource.route(web::$name().to(handler));
            self.allowed.push($text);
            self
        }
    };
}

impl Url {
    /// GET, and HEAD: the same without a body.
    pub(crate) fn get<F, Args>(mut self, handler: F) -> Self
    where
        F: actix_web::Handler<Args>,
        Args: actix_web::FromRequest + 'static,
        F::Output: actix_web::Responder + 'static,
    {
        self.resource = self.resource.route(web::head().to(handler.clone())).route(web::get().to(handler));
        self.allowed.extend(["GET", "HEAD"]);
        self
    }

    method!(post, "POST");
    method!(put, "PUT");
    method!(patch, "PATCH");
    method!(delete, "DELETE");
}

impl actix_web::dev::HttpServiceFactory for Url {
    fn register(self, config: &mut actix_web::dev::AppService) {
        let allowed = self.allowed.join(", ");
        let refuse = move |request: HttpRequest| {
            let allowed = allowed.clone();
            async move { method_not_allowed(&request, &allowed) }
        };
        self.resource.default_service(web::to(refuse)).register(config);
    }
}

fn method_not_allowed(request: &HttpRequest, allowed: &str) -> HttpResponse {
    use actix_web::ResponseError as _;
    let detail = format!("{} takes {allowed}, not {}", request.path(), request.method());
    let mut response = Problem::new(Code::MethodNotAllowed, detail).error_response();
    if let Ok(value) = allowed.parse() {
        response.headers_mut().insert(actix_web::http::header::ALLOW, value);
    }
    response
}

pub(crate) async fn no_such_url(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let detail = format!(
        "there is nothing at {}; the API is described at /openapi.json and /docs of its listener",
        request.path()
    );
    Err(Problem::new(Code::NotFound, detail))
}
