//! `POST /v1/quarantine/{id}/release`

use actix_web::{HttpResponse, web};
use api_types::{PublishRequest, ReleaseRequest};
use delivery_log::Edited;
use delivery_log::idempotency::Performed;
use delivery_log::quarantine::Quarantined;
use model::access::Scope;
use model::audit::Action;
use model::clock::Timestamp;
use model::names::IdempotencyKey;
use model::quarantine::QuarantineState;
use serde_json::value::RawValue;

use super::{ended, find, missing, present};
use crate::api::Api;
use crate::auth::Credentials;
use crate::events::accept::{Origin, accept};
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::once::{Prepared, repeated};
use crate::openapi::parameters::{Expected, OfQuarantined, Repeatable};
use crate::problem::{Code, Problem};

/// Publishes an event that waited in quarantine, with corrected data if it is
/// given. It must fit its schema now.
#[utoipa::path(post, path = "/v1/quarantine/{id}/release", tag = "Quarantine", operation_id = "quarantine.release",
    security(("api_key" = ["events:write"])),
    params(OfQuarantined, Repeatable, Expected),
    request_body = Option<ReleaseRequest>,
    responses((status = 200, description = "The event, published.", body = api_types::QuarantinedEvent),
        (status = 409, description = "It was released or dropped before.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<String>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EventsWrite).await?;
    let text = incoming.text(&api, &caller, api.settings.max_data_bytes + BODY_LIMIT).await?;
    if let Some(answer) = repeated(&api, (&incoming, &caller, None), &text).await? {
        return Ok(answer);
    }
    let wanted: ReleaseRequest = text.parse_if_any()?;
    let before = find(&api, &caller, &path).await?;
    incoming.check_if_match(before.updated_at)?;
    let request = request(&api, &before, wanted)?;
    // From here on nobody drops it. If this process dies, it can be released again.
    if api.store.begin_release(caller.view(), before.id).await? == Edited::Outdated {
        return Err(ended(&find(&api, &caller, &path).await?));
    }
    // Released twice at the same moment, it is one event all the same.
    let key = IdempotencyKey::parse(&before.id.to_string())
        .map_err(|_| Problem::new(Code::Internal, "an id is a key"))?;
    let taken = accept(&api, &caller, &request, Some(key), Origin::Quarantine).await;
    let event = taken.as_ref().ok().and_then(|taken| taken.event);
    let now = api.change_time(before.updated_at);
    let after = Quarantined { state: QuarantineState::Released, became: event, updated_at: now, ..before };
    let body = present(&api, &caller, &after);
    let prepared = Prepared::new(&api, (&incoming, &caller, None), &text, 200, None, &body)?.with_etag(now);
    let entry = api.entry_in(&caller, after.tenant, Action::QuarantineReleased, after.id);
    let once = prepared.once();
    let ended = api.store.end_release(caller.view(), after.id, event, now, once, entry.clone()).await?;
    if let Performed::KeyReused = ended {
        // Another request took the key meanwhile; what was published is released all the same.
        api.store.end_release(caller.view(), after.id, event, now, None, entry).await?;
    }
    taken?.event.ok_or_else(missing)?;
    prepared.settle(ended, Ok)
}

/// The event as it was published.
fn request(api: &Api, held: &Quarantined, wanted: ReleaseRequest) -> Result<PublishRequest, Problem> {
    let tenant = api
        .store
        .configuration()
        .tenant_by_id(held.tenant)
        .ok_or_else(|| Problem::new(Code::Conflict, "its tenant was deleted; drop it"))?;
    let own = || RawValue::from_string(String::from_utf8_lossy(held.data.as_bytes()).into_owned());
    let named = held.event.version_named.then_some(held.event.schema_version);
    let data = match wanted.data {
        Some(data) => data,
        None => own().map_err(|_| Problem::new(Code::Internal, "data is JSON"))?,
    };
    let event = &held.event;
    Ok(PublishRequest {
        tenant: tenant.handle.to_string(),
        event_type: event.event_type.clone(),
        subject: event.subject.clone(),
        data,
        schema_version: wanted.schema_version.or(named),
        revision: event.revision,
        occurred_at: event.occurred_at.map(Timestamp::from_micros).or(Some(held.created_at)),
        ordering_key: event.ordering_key.clone(),
        labels: event.labels.iter().cloned().collect(),
        idempotency_key: None,
    })
}
