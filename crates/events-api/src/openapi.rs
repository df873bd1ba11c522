//! The description of the API, made from the code.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::{
    api_keys, catalogue, deliveries, endpoints, event_types, events, meta, operational_endpoints, project,
    quarantine, replays, retry_policies, tenants,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Posthorn",
        description = "Outbound webhook delivery: publish events once; they arrive signed, at least once, \
            at every endpoint that wants them. Problems are RFC 9457 documents with stable codes.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        project::get::handle,
        project::update::handle,
        project::pause::pause,
        project::pause::resume,
        meta::handle,
        operational_endpoints::list,
        operational_endpoints::create,
        operational_endpoints::get,
        operational_endpoints::update,
        operational_endpoints::delete,
        operational_endpoints::read_secret,
        retry_policies::list::handle,
        retry_policies::create::handle,
        retry_policies::get::handle,
        retry_policies::update::handle,
        retry_policies::delete::handle,
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
        tenants::list::handle,
        tenants::create::handle,
        tenants::get::handle,
        tenants::replace::handle,
        tenants::update::handle,
        tenants::delete::handle,
        tenants::pause::pause,
        tenants::pause::resume,
        endpoints::list::handle,
        endpoints::create::handle,
        endpoints::get::handle,
        endpoints::update::handle,
        endpoints::delete::handle,
        endpoints::read_secret::handle,
        endpoints::rotate_secret::handle,
        endpoints::health::handle,
        endpoints::reset::handle,
        endpoints::check_filter::handle,
        endpoints::test::handle,
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
        api_keys::list::handle,
        api_keys::create::handle,
        api_keys::get::handle,
        api_keys::revoke::handle,
        api_keys::rotate::handle,
    ),
    components(schemas(api_types::Problem)),
    modifiers(&Everywhere),
    security(("api_key" = [])),
)]
struct Document;

/// What holds for every operation.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key: phk_…")).build();
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("api_key", SecurityScheme::Http(bearer));
    }
}

/// The OpenAPI document, as JSON text.
pub fn document() -> String {
    Document::openapi().to_pretty_json().expect("the document has a JSON form")
}

/// `GET /openapi.json`
pub(crate) async fn serve() -> HttpResponse {
    // Made once, and in memory once for all who read it.
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| document().into());
    HttpResponse::Ok().content_type("application/json").body(DOCUMENT.clone())
}
