//! `GET /v1/audit-log`

use actix_web::{HttpRequest, HttpResponse, web};
use delivery_log::View;
use delivery_log::audit::AuditFilter;
use model::access::Scope;
use model::audit::{Action, Actor};
use model::names::{TenantHandle, check_text};

use super::present;
use crate::api::Api;
use crate::auth::Credentials;
use crate::incoming::Incoming;
use crate::ndjson;
use crate::openapi::parameters::{FilterAudit, Paged};
use crate::page::Rows;
use crate::problem::Problem;
use crate::query::Query;

/// The longest target that is looked for, in bytes.
const MAX_TARGET: usize = 256;
/// How many entries are read at once: with all that they show, they may be large.
const PIECE: u32 = 16;

/// Lists who changed what, and who read what is confidential, newest first. With
/// `Accept: application/x-ndjson` all of it, one entry a line.
#[utoipa::path(get, path = "/v1/audit-log", tag = "Audit log", operation_id = "auditLog.list",
    security(("api_key" = ["audit:read"])),
    params(FilterAudit, Paged),
    responses((status = 200, description = "A page of entries.", content(
        (api_types::Page<api_types::AuditEntry> = "application/json"),
        (String = "application/x-ndjson")))))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    request: HttpRequest,
    incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::AuditRead).await?;
    let mut query = Query::parse(incoming.path(), incoming.query())?;
    let tenant = query.take("tenant", TenantHandle::parse);
    let target = |text: &str| check_text(text, MAX_TARGET).map(|()| text.to_owned());
    let mut filter = AuditFilter {
        actor: query.take("actor", str::parse::<Actor>),
        actions: query.several("action", str::parse::<Action>),
        target: query.take("target", target),
        tenant: None,
        after: query.time("occurred_after"),
        before: query.time("occurred_before"),
    };
    let wanted = query.list(&[])?;
    if let Some(handle) = tenant {
        filter.tenant = Some(api.tenant(&caller, handle.as_str()).await?.id);
    }
    let view = caller.view();
    if ndjson::is_wanted(&request) {
        let read = move |api: web::Data<Api>, page| {
            let filter = filter.clone();
            async move { entries(&api, view, &filter, page).await }
        };
        return Ok(ndjson::answer(api, wanted.page, PIECE, read));
    }
    let mut rows = Rows::new(&wanted);
    while let Some(page) = rows.wanted(PIECE) {
        rows.add_page(entries(&api, view, &filter, page).await?);
    }
    Ok(rows.into_answer(incoming.path()))
}

async fn entries(
    api: &Api,
    view: View,
    filter: &AuditFilter,
    page: delivery_log::page::PageRequest,
) -> Result<delivery_log::page::Page<api_types::AuditEntry>, Problem> {
    Ok(api.store.list_audit(view, filter, page).await?.map(|recorded| present(&recorded)))
}
