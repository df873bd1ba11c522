//! The description of the API, made from the code: each operation beside its
//! handler, its [`parameters`] once for all, and the rest by rules ([`complete`]).

mod complete;
pub(crate) mod parameters;

use std::collections::HashMap;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::web::Bytes;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::{
    api_keys, audit_log, catalogue, deliveries, endpoints, erasures, event_types, events, meta, oauth,
    operational_endpoints, portal_sessions, project, quarantine, replays, retry_policies, tenants,
};

/// What a reader should know before the first call, in Markdown.
const ABOUT: &str = include_str!("openapi/about.md");

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Posthorn",
        description = ABOUT,
        contact(name = "Posthorn"),
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        events::list::handle,
        events::publish::handle,
        events::publish_batch::handle,
        events::get::handle,
        events::list_deliveries::handle,
        deliveries::list::handle,
        deliveries::get::handle,
        deliveries::list_attempts::handle,
        deliveries::read_payload::handle,
        deliveries::replay::handle,
        deliveries::cancel::handle,
        replays::list::handle,
        replays::create::handle,
        replays::get::handle,
        replays::set_state::pause,
        replays::set_state::resume,
        replays::set_state::cancel,
        endpoints::list::handle,
        endpoints::create::handle,
        endpoints::get::handle,
        endpoints::update::handle,
        endpoints::delete::handle,
        endpoints::read_secret::handle,
        endpoints::rotate_secret::handle,
        endpoints::health::handle,
        endpoints::pause::pause,
        endpoints::pause::resume,
        endpoints::reset::handle,
        endpoints::check_filter::handle,
        endpoints::test::handle,
        tenants::list::handle,
        tenants::create::handle,
        tenants::get::handle,
        tenants::replace::handle,
        tenants::update::handle,
        tenants::delete::handle,
        tenants::pause::pause,
        tenants::pause::resume,
        event_types::list::handle,
        event_types::create::handle,
        event_types::get::handle,
        event_types::update::handle,
        event_types::delete::handle,
        event_types::list_versions::handle,
        event_types::create_version::handle,
        event_types::check::handle,
        event_types::get_version::handle,
        event_types::update_version::handle,
        event_types::dependents::handle,
        event_types::preview::handle,
        catalogue::apply::handle,
        catalogue::openapi::handle,
        quarantine::list::handle,
        quarantine::get::handle,
        quarantine::release::handle,
        quarantine::drop::handle,
        retry_policies::list::handle,
        retry_policies::create::handle,
        retry_policies::get::handle,
        retry_policies::update::handle,
        retry_policies::delete::handle,
        project::get::handle,
        project::update::handle,
        project::pause::pause,
        project::pause::resume,
        oauth::token,
        erasures::create::handle,
        erasures::list::handle,
        erasures::get::handle,
        audit_log::list::handle,
        api_keys::list::handle,
        api_keys::create::handle,
        api_keys::get::handle,
        api_keys::revoke::handle,
        api_keys::rotate::handle,
        portal_sessions::list::handle,
        portal_sessions::create::handle,
        portal_sessions::get::handle,
        portal_sessions::end::handle,
        portal_sessions::end_all::handle,
        portal_sessions::exchange::handle,
        operational_endpoints::list,
        operational_endpoints::create,
        operational_endpoints::get,
        operational_endpoints::update,
        operational_endpoints::delete,
        operational_endpoints::read_secret,
        meta::handle,
    ),
    components(schemas(api_types::Problem, api_types::words::Order)),
    modifiers(&Everywhere),
    servers((url = "/", description = "This deployment")),
    tags(
        (name = "Events", description = "Publish events, and read what was published."),
        (name = "Deliveries", description = "The log: one event on its way to one endpoint, with every attempt."),
        (name = "Replays", description = "Send many past deliveries again."),
        (name = "Endpoints", description = "The URLs that tenants registered."),
        (name = "Tenants", description = "The customers of your product."),
        (name = "Event types", description = "The catalogue: schemas in versions."),
        (name = "Quarantine", description = "Events whose data does not fit their schema."),
        (name = "Retry policies", description = "When failed deliveries are tried again."),
        (name = "Project", description = "Settings of the project that the key belongs to."),
        (name = "API keys", description = "Who may do what."),
        (name = "Portal sessions", description = "What your product opens for its customers."),
        (name = "Erasures", description = "Remove what is kept of a tenant or a subject, for ever."),
        (name = "Audit log", description = "Who changed what, and who read what is confidential."),
        (name = "Operational endpoints", description = "Webhooks about the platform itself, for operators."),
        (name = "Deployment", description = "What receivers and firewalls want to know."),
    ),
    security(("api_key" = [])),
)]
struct Document;

/// What holds for every operation.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key: phk_…; or the token of a portal session: pht_…"))
            .build();
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("api_key", SecurityScheme::Http(bearer));
    }
}

/// The OpenAPI document, as JSON text.
pub fn document() -> String {
    let mut document = serde_json::to_value(Document::openapi()).expect("the document has a JSON form");
    complete::complete(&mut document);
    serde_json::to_string_pretty(&document).expect("the document has a JSON form")
}

/// The parameters that the query of a route may have, by its description.
pub(crate) fn parameters(method: &Method, route: &str) -> &'static [String] {
    static KNOWN: LazyLock<HashMap<(&'static str, String), Vec<String>>> = LazyLock::new(known_parameters);
    // HEAD is GET without a body.
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let known = METHODS.into_iter().find(|known| *known == method);
    known.and_then(|method| KNOWN.get(&(method, route.to_owned()))).map_or(&[], Vec::as_slice)
}

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

fn known_parameters() -> HashMap<(&'static str, String), Vec<String>> {
    let mut known = HashMap::new();
    for (path, item) in Document::openapi().paths.paths {
        let operations = [&item.get, &item.post, &item.put, &item.patch, &item.delete];
        for (method, operation) in METHODS.into_iter().zip(operations) {
            let parameters = operation.iter().flat_map(|operation| operation.parameters.iter().flatten());
            let in_query = parameters.filter_map(|parameter| match parameter {
                RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => {
                    Some(parameter.name.clone())
                }
                RefOr::T(_) | RefOr::Ref(_) => None,
            });
            known.insert((method, path.clone()), in_query.collect());
        }
    }
    known
}

/// `GET /openapi.json`
pub(crate) async fn serve() -> HttpResponse {
    // Made once, and in memory once for all who read it.
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().into());
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT.clone())
}
