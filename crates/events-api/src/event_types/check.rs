//! `POST /v1/event-types/{name}/versions/check`

use actix_web::{HttpResponse, web};
use api_types::{SchemaBreak, VersionCheck, VersionRequest};
use model::access::Scope;
use model::catalogue::{EventTypeEntry, WantedType};
use model::schema::{BreakKind, Reasoner, Schema};

use super::find;
use crate::api::Api;
use crate::auth::Credentials;
use crate::catalogue::reasoning::apart;
use crate::catalogue::{Change, may_change, plan, wanted_version};
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::openapi::parameters::{Expected, OfType};
use crate::outgoing;
use crate::problem::{Faults, Problem};

/// Tells what a new version, or a change of one, would break and whether it
/// would be accepted. Changes nothing.
#[utoipa::path(post, path = "/v1/event-types/{name}/versions/check", tag = "Event types", operation_id = "eventTypes.checkVersion",
    security(("api_key" = ["event_types:write"])),
    params(OfType, Expected),
    request_body = VersionRequest,
    responses((status = 200, description = "What it would break.", body = VersionCheck)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    // It is as much work as a change, and tells of all tenants.
    let caller = credentials.require(Scope::EventTypesWrite).await?;
    may_change(&caller)?;
    let entry = find(&api, &caller, &path).await?;
    let request: VersionRequest = incoming.text(&api, &caller, BODY_LIMIT).await?.parse()?;
    let mut faults = Faults::default();
    let version = wanted_version(&mut faults, "", &request);
    faults.finish()?;
    let number = version.number.unwrap_or(entry.versions.len() as u32 + 1);
    let wanted = WantedType { versions: vec![version], ..WantedType::default() };
    let change =
        Change { name: entry.name.clone(), wanted, at: String::new(), version_at: Some(String::new()) };
    let project = caller.view().project;
    let (plan, breaks) = apart(&api, move |api, reasoner| {
        (plan(api, project, &[change], reasoner), breaks(&entry, number, &request, reasoner))
    })
    .await?;
    let relation = plan.saved.first().and_then(|saved| saved.entry.version(number));
    let relation = relation.map(|version| version.relation.to_string());
    let warnings = plan.warnings();
    let (errors, cut_off) = (plan.faults.into_errors(), plan.cut_off);
    Ok(outgoing::plain(&VersionCheck {
        accepted: errors.is_empty() && cut_off.is_empty(),
        relation,
        breaks,
        errors,
        cut_off,
        warnings,
    }))
}

/// A break as it is shown.
pub(crate) fn shown(one: model::schema::Break) -> SchemaBreak {
    SchemaBreak { certain: one.kind == BreakKind::Breaks, pointer: one.pointer, detail: one.detail }
}

/// How the schema differs from that of the version that it follows or replaces.
fn breaks(
    entry: &EventTypeEntry,
    number: u32,
    request: &VersionRequest,
    reasoner: &dyn Reasoner,
) -> Vec<SchemaBreak> {
    let schema = request.schema.as_ref().and_then(|raw| Schema::parse(raw.get(), reasoner).ok());
    let older = entry.version(number).or_else(|| entry.version(number.saturating_sub(1)));
    let (Some(schema), Some(older)) = (schema, older) else { return Vec::new() };
    older.schema.breaks(&schema, reasoner).into_iter().map(shown).collect()
}
