//! `PATCH /v1/tenants/{tenant}/endpoints/{endpoint}`

use actix_web::{HttpResponse, web};
use api_types::EndpointRequest;
use delivery_log::tenants::Tenant;
use model::access::Scope;
use model::audit::Action;
use model::endpoint::{Endpoint, EndpointStatus};
use serde_json::Value;

use super::credentials::{Given, keep_where_they_belong};
use super::{build, find, present};
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::openapi::parameters::{Expected, InTenant, OfEndpoint};
use crate::problem::{Problem, made};
use crate::{outgoing, patch};

/// Changes an endpoint. A header is removed with the value null.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}/endpoints/{endpoint}", tag = "Endpoints", operation_id = "endpoints.update",
    security(("api_key" = ["endpoints:write"])),
    params(InTenant, OfEndpoint, Expected),
    request_body = EndpointRequest,
    responses((status = 200, description = "The endpoint, changed.", body = api_types::Endpoint)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsWrite).await?;
    let tenant = api.tenant(&caller, &path.0).await?;
    change(&api, &caller, &tenant, &path.1, &mut incoming).await
}

/// Changes an endpoint of a tenant.
pub(crate) async fn change(
    api: &Api,
    caller: &Caller,
    tenant: &Tenant,
    id: &str,
    incoming: &mut Incoming,
) -> Result<HttpResponse, Problem> {
    let before = find(api, caller, tenant, id).await?.endpoint;
    incoming.check_if_match(before.updated_at)?;
    let mut patch = with_plain_names(incoming.text(api, caller, BODY_LIMIT).await?.parse()?);
    let given = Given::in_patch(&patch);
    // A filter is one value: what is left of the old one would mean something else.
    let filter = patch.as_object_mut().and_then(|patch| patch.remove("filter"));
    let mut wanted: EndpointRequest = patch::apply_value(&build::request_for(&before), patch)?;
    if let Some(filter) = filter {
        wanted.filter = Some(filter).filter(|filter| !filter.is_null());
    }
    if wanted.secret.is_some() {
        return Err(Problem::invalid("/secret", "read_only", "can only be changed by POST …/secret/rotate"));
    }
    let wanted = build::endpoint(api, tenant, &wanted, Some(&before))?;
    let disabled_reason = match wanted.status {
        EndpointStatus::Disabled => before.disabled_reason.clone(),
        EndpointStatus::Enabled | EndpointStatus::Paused => None,
    };
    let now = api.change_time(before.updated_at);
    let missed_since = match wanted.status {
        EndpointStatus::Disabled => before.missed_since.or(Some(now)),
        EndpointStatus::Enabled | EndpointStatus::Paused => before.missed_since,
    };
    let after = Endpoint {
        id: before.id,
        missed_since,
        disabled_reason,
        created_at: before.created_at,
        updated_at: now,
        ..wanted
    };
    keep_where_they_belong(&before, &after, &given)?;
    let entry = api
        .entry_in(caller, tenant.id, Action::EndpointUpdated, after.id)
        .before(&present(api, tenant, &before))
        .after(&present(api, tenant, &after));
    made(api.store.update_endpoint(&after, before.updated_at, entry).await?)?;
    Ok(outgoing::one(&present(api, tenant, &after), after.updated_at))
}

/// Header names in lower case, as they are stored: a patch means the same
/// header however it writes it.
fn with_plain_names(mut patch: Value) -> Value {
    if let Some(Value::Object(headers)) = patch.get_mut("headers") {
        *headers =
            std::mem::take(headers).into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    }
    patch
}
