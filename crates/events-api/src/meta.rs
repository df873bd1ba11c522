//! `GET /v1/meta`

use actix_web::{HttpResponse, web};
use api_types::Meta;

use crate::api::Api;
use crate::auth::Credentials;
use crate::outgoing;
use crate::problem::Problem;

/// What receivers and their firewalls want to know of this deployment.
#[utoipa::path(get, path = "/v1/meta", tag = "Deployment", operation_id = "meta.get",
    responses((status = 200, description = "What there is to know.", body = Meta)))]
pub(crate) async fn handle(api: web::Data<Api>, credentials: Credentials) -> Result<HttpResponse, Problem> {
    // Any key will do.
    credentials.authenticate().await?;
    Ok(outgoing::plain(&Meta {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        egress_addresses: api.settings.egress_addresses.iter().map(ToString::to_string).collect(),
    }))
}
