//! `POST /v1/tenants`

use actix_web::{HttpResponse, web};
use api_types::TenantRequest;
use delivery_log::tenants::Created;
use model::access::Scope;

use super::{build, new_entry, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::Prepared;
use crate::openapi::parameters::{Expected, Repeatable};
use crate::problem::{Code, Problem};

/// Makes a tenant.
#[utoipa::path(post, path = "/v1/tenants", tag = "Tenants", operation_id = "tenants.create",
    security(("api_key" = ["tenants:write"])),
    params(Repeatable, Expected),
    request_body = TenantRequest,
    responses((status = 201, description = "The tenant.", body = api_types::Tenant),
        (status = 409, description = "There is one of this id.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::TenantsWrite).await?;
    if caller.view().tenant.is_some() {
        return Err(Problem::new(Code::Forbidden, "a key that is bound to a tenant cannot create tenants"));
    }
    incoming.expect_no_if_match()?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    let tenant = build(&api, &caller, None, text.parse()?)?;
    let location = format!("/v1/tenants/{}", tenant.handle);
    let prepared =
        Prepared::new(&api, (&incoming, &caller, None), &text, 201, Some(location), &present(&tenant))?;
    let prepared = prepared.with_etag(tenant.updated_at);
    let entry = new_entry(&api, &caller, &tenant);
    let created = api.store.create_tenant(&tenant, prepared.once(), entry).await?;
    prepared.settle(created, |created| match created {
        Created::New => Ok(()),
        Created::Taken => Err(Problem::new(
            Code::Conflict,
            format!("there is a tenant {} already; use PUT to replace it", tenant.handle),
        )),
    })
}
