//! `GET /v1/event-types/{name}/versions/{version}/dependents`

use std::time::Duration;

use actix_web::{HttpResponse, web};
use api_types::{Dependent, Dependents};
use delivery_log::catalogue::COUNTED;
use model::access::Scope;

use super::find_version;
use crate::api::Api;
use crate::auth::Credentials;
use crate::openapi::parameters::OfVersion;
use crate::outgoing;
use crate::problem::Problem;

/// How many endpoints are shown.
const SHOWN: usize = 100;
/// Over what time deliveries are counted.
const PERIOD: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Shows which endpoints are pinned to a version, and how much they get.
#[utoipa::path(get, path = "/v1/event-types/{name}/versions/{version}/dependents", tag = "Event types", operation_id = "eventTypes.listDependents",
    security(("api_key" = ["event_types:read"])),
    params(OfVersion),
    responses((status = 200, description = "Who depends on it.", body = Dependents)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventTypesRead).await?;
    let (entry, number) = find_version(&api, &caller, &path).await?;
    let configuration = api.store.configuration();
    let mut pinned = delivery_log::catalogue::pinned_to(configuration, &entry, number);
    if let Some(own) = caller.view().tenant {
        pinned.retain(|one| one.live.endpoint.tenant == own);
    }
    let since = api.now().minus(PERIOD);
    let mut data = Vec::with_capacity(pinned.len().min(SHOWN));
    for one in pinned.iter().take(SHOWN) {
        let endpoint = &one.live.endpoint;
        let usage = api.store.usage(caller.view(), endpoint.id, &entry.name, since).await?;
        let tenant = configuration.tenant_by_id(endpoint.tenant);
        data.push(Dependent {
            tenant: tenant.map(|tenant| tenant.handle.to_string()).unwrap_or_default(),
            endpoint: endpoint.id.to_string(),
            subscription: one.subscription.clone(),
            deliveries_7d: usage.deliveries.min(COUNTED),
            last_delivery_at: usage.last_at,
        });
    }
    Ok(outgoing::plain(&Dependents { endpoints: pinned.len(), data }))
}
