//! `POST /v1/tenants/{tenant}/endpoints`

use actix_web::{HttpResponse, web};
use api_types::{EndpointRequest, EndpointWithSecret};
use delivery_log::endpoints::{EndpointCreated, SecretEndpoint};
use delivery_log::tenants::Tenant;
use model::access::Scope;
use model::audit::Action;
use model::endpoint::ActiveSecret;
use model::secret::SigningSecret;

use super::{build, present, read_secret};
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::Prepared;
use crate::openapi::parameters::{Expected, InTenant, Repeatable};
use crate::problem::{Code, Problem};

/// Registers a URL. The answer holds the secret with which calls are signed.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/endpoints", tag = "Endpoints", operation_id = "endpoints.create",
    security(("api_key" = ["endpoints:write"])),
    params(InTenant, Repeatable, Expected),
    request_body = EndpointRequest,
    responses((status = 201, description = "The endpoint, with its secret.", body = EndpointWithSecret),
        (status = 409, description = "The tenant has as many endpoints as it may have.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsWrite).await?;
    let tenant = api.tenant(&caller, &path).await?;
    let at = format!("/v1/tenants/{}/endpoints", tenant.handle);
    make(&api, &caller, &tenant, &at, &mut incoming).await
}

/// Makes an endpoint of a tenant, to be found below `at`.
pub(crate) async fn make(
    api: &Api,
    caller: &Caller,
    tenant: &Tenant,
    at: &str,
    incoming: &mut Incoming,
) -> Result<HttpResponse, Problem> {
    incoming.expect_no_if_match()?;
    let text = incoming.text(api, caller, BODY_LIMIT).await?;
    let wanted: EndpointRequest = text.parse()?;
    let secret = choose_secret(api, wanted.secret.as_deref())?;
    // Its pins are compared with the catalogue as it is.
    api.store.refresh().await?;
    let endpoint = build::endpoint(api, tenant, &wanted, None)?;
    let presented = present(api, tenant, &endpoint);
    let location = format!("{at}/{}", endpoint.id);
    let updated_at = endpoint.updated_at;
    let new = SecretEndpoint { endpoint, secrets: vec![ActiveSecret { secret, expires_at: None }] };
    let shown = read_secret::present(&new, api.now());
    let answer =
        EndpointWithSecret { endpoint: presented, secret: shown.secret, public_key: shown.public_key };
    let prepared =
        Prepared::new(api, (&*incoming, caller, Some(tenant.id)), &text, 201, Some(location), &answer)?;
    let prepared = prepared.with_etag(updated_at);
    let most = api.settings.max_endpoints_per_tenant;
    let entry = api.entry_in(caller, tenant.id, Action::EndpointCreated, new.endpoint.id);
    let entry = entry.after(&answer.endpoint);
    let created = api.store.create_endpoint(&new, most, prepared.once(), entry).await?;
    prepared.settle(created, |created| match created {
        EndpointCreated::Done => Ok(()),
        EndpointCreated::NoTenant => Err(Problem::not_found("tenant")),
        EndpointCreated::TooMany => {
            let detail = format!(
                "a tenant can have at most {most} endpoints; delete one, or ask the operator to raise \
                 max_endpoints_per_tenant"
            );
            Err(Problem::new(Code::Conflict, detail))
        }
    })
}

/// The secret that was brought along, or a new one.
pub(super) fn choose_secret(api: &Api, given: Option<&str>) -> Result<SigningSecret, Problem> {
    match given {
        Some(text) => {
            SigningSecret::parse(text).map_err(|error| Problem::invalid("/secret", "invalid_value", error))
        }
        None => Ok(SigningSecret::generate(api.env.entropy.as_ref())),
    }
}
