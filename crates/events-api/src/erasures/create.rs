//! `POST /v1/erasures`

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use api_types::ErasureRequest;
use delivery_log::erasures::ErasureBegun;
use delivery_log::idempotency::Performed;
use delivery_log::tenants::Tenant;
use model::access::Scope;
use model::audit::Action;
use model::erasure::{Erased, Erasure, ErasureState};
use model::ids::TenantId;
use model::names::{Subject, TenantHandle, check_text};

use super::{drive, missing, present};
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::Prepared;
use crate::openapi::parameters::{Expected, Repeatable};
use crate::outgoing;
use crate::problem::{Faults, Problem};

/// The longest reason, in bytes.
const MAX_REASON: usize = 500;

/// Erases what is kept of a tenant, or of one subject of a tenant, and gives a receipt.
/// What waits to be delivered is canceled first. It cannot be undone.
#[utoipa::path(post, path = "/v1/erasures", tag = "Erasures", operation_id = "erasures.create",
    security(("api_key" = ["erase:write"])),
    params(Repeatable, Expected),
    request_body = ErasureRequest,
    responses((status = 200, description = "The receipt: everything is gone.", body = api_types::Erasure),
        (status = 202, description = "It takes longer, and goes on by itself.", body = api_types::Erasure)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EraseWrite).await?;
    incoming.expect_no_if_match()?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    let wanted: ErasureRequest = text.parse()?;
    let mut faults = Faults::default();
    let handle = faults.check("/tenant", TenantHandle::parse(&wanted.tenant));
    let subject = wanted.subject.as_deref();
    let subject = subject.and_then(|subject| faults.check("/subject", Subject::parse(subject)));
    if !wanted.reason.is_empty() {
        faults.check("/reason", check_text(&wanted.reason, MAX_REASON));
    }
    faults.finish()?;
    let unknown = || Problem::invalid("/tenant", "unknown_tenant", "is no tenant, and none that was deleted");
    let handle = handle.ok_or_else(unknown)?;
    let there = api.find_tenant(&caller, &handle).await?;
    let erasure = build(&api, &caller, handle, (there.as_deref(), subject), wanted.reason).await?;
    if erasure.tenants.is_empty() {
        return Err(unknown());
    }
    let location = Some(format!("/v1/erasures/{}", erasure.id));
    let about = (&incoming, &caller, None);
    let prepared = Prepared::new(&api, about, &text, 202, location, &present(&api, &erasure))?;
    begin(&api, &caller, &erasure, there, Some(prepared)).await
}

/// An erasure of the tenant that is there, and of those that went by its handle.
pub(crate) async fn build(
    api: &Api,
    caller: &Caller,
    handle: TenantHandle,
    (there, subject): (Option<&Tenant>, Option<Subject>),
    reason: String,
) -> Result<Erasure, Problem> {
    let mut tenants: Vec<TenantId> = Vec::new();
    // Who is bound to a tenant sees nothing of those before it.
    if caller.view().tenant.is_none() {
        let deleted = api.store.deleted_tenants(caller.view().project, &handle).await?;
        tenants.extend(deleted.iter().map(|tenant| tenant.id));
    }
    tenants.extend(there.map(|tenant| tenant.id));
    let now = api.now();
    Ok(Erasure {
        id: api.env.new_id(),
        project: caller.view().project,
        handle,
        tenants,
        subject,
        reason,
        state: ErasureState::Running,
        erased: Erased::default(),
        created_at: now,
        updated_at: now,
    })
}

/// Begins an erasure, and waits for its end.
pub(crate) async fn begin(
    api: &Api,
    caller: &Caller,
    erasure: &Erasure,
    there: Option<Arc<Tenant>>,
    prepared: Option<Prepared>,
) -> Result<HttpResponse, Problem> {
    // The entry names the receipt, and not what is erased.
    let entry = api.entry(caller, Action::ErasureBegun, erasure.id);
    let expected = there.map(|tenant| tenant.updated_at);
    let once = prepared.as_ref().and_then(Prepared::once);
    match api.store.begin_erasure(erasure, expected, once, entry).await? {
        Performed::First(ErasureBegun::Done) => drive(api, erasure.id).await,
        Performed::First(ErasureBegun::Outdated) => Err(Problem::changed_meanwhile()),
        // How it stands now, and not how it began.
        Performed::Repeated(first) => {
            let id = first.location.as_deref().and_then(|at| at.rsplit('/').next()?.parse().ok());
            Ok(outgoing::repeated(drive(api, id.ok_or_else(missing)?).await?))
        }
        Performed::KeyReused => Err(Problem::key_reused()),
    }
}
