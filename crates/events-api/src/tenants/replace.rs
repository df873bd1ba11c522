//! `PUT /v1/tenants/{tenant}`

use actix_web::{HttpResponse, web};
use api_types::TenantRequest;
use delivery_log::idempotency::Performed;
use delivery_log::tenants::{Created, Tenant};
use model::access::Scope;

use super::{build, new_entry, present, updated_entry};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::openapi::parameters::{Expected, InTenant};
use crate::outgoing;
use crate::problem::{Code, Problem, made};

/// Makes a tenant, or replaces what is known of it.
#[utoipa::path(put, path = "/v1/tenants/{tenant}", tag = "Tenants", operation_id = "tenants.replace",
    security(("api_key" = ["tenants:write"])),
    params(InTenant, Expected),
    request_body = TenantRequest,
    responses((status = 200, description = "The tenant, replaced.", body = api_types::Tenant),
        (status = 201, description = "The tenant, made.", body = api_types::Tenant),
        (status = 409, description = "It was made at the same moment.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::TenantsWrite).await?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    let wanted = build(&api, &caller, Some(&path), text.parse()?)?;
    let Some(before) = api.find_tenant(&caller, &wanted.handle).await? else {
        if caller.view().tenant.is_some() {
            return Err(Problem::not_found("tenant"));
        }
        incoming.expect_no_if_match()?;
        let entry = new_entry(&api, &caller, &wanted);
        return match api.store.create_tenant(&wanted, None, entry).await? {
            Performed::First(Created::New) => Ok(created(&wanted)),
            _ => Err(Problem::new(Code::Conflict, "the tenant was created at the same moment; try again")),
        };
    };
    incoming.check_if_none_match(before.updated_at)?;
    incoming.check_if_match(before.updated_at)?;
    let after = Tenant {
        id: before.id,
        paused_at: before.paused_at,
        created_at: before.created_at,
        updated_at: api.change_time(before.updated_at),
        ..wanted
    };
    let entry = updated_entry(&api, &caller, &before, &after);
    made(api.store.update_tenant(&after, before.updated_at, entry).await?)?;
    Ok(outgoing::one(&present(&after), after.updated_at))
}

fn created(tenant: &Tenant) -> HttpResponse {
    let answer = delivery_log::idempotency::KeptAnswer {
        status: 201,
        location: Some(format!("/v1/tenants/{}", tenant.handle)),
        body: outgoing::to_json(&present(tenant)),
    };
    outgoing::kept(answer, false, Some(tenant.updated_at))
}
