//! `POST /v1/tenants/{tenant}/endpoints/{endpoint}/test`

use actix_web::{HttpResponse, web};
use api_types::TestRequest;
use delivery_log::events::{Publish, Published};
use model::access::Scope;
use model::event::{EventData, Labels};
use model::event_type::EventType;
use model::ids::DeliveryId;
use model::names::Subject;

use super::find;
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::deliveries;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::problem::Problem;

/// The type of a test, unless one is named.
const TEST_TYPE: &str = "posthorn.test";
/// What a test carries.
const TEST_DATA: &str = r#"{"message":"This is a test of your endpoint."}"#;

/// Calls the endpoint once with a test event, also while it is paused.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/endpoints/{endpoint}/test", tag = "endpoints",
    params(("tenant" = String, Path), ("endpoint" = String, Path)), request_body = TestRequest,
    responses((status = 202, body = api_types::Delivery)))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsWrite).await?;
    let tenant = api.tenant(&caller, &path.0).await?;
    let endpoint = find(&api, &caller, &tenant, &path.1).await?.endpoint;
    let text = incoming.text(BODY_LIMIT).await?;
    let wanted: TestRequest = text.parse()?;
    let event_type = EventType::parse(wanted.event_type.as_deref().unwrap_or(TEST_TYPE))
        .map_err(|error| Problem::invalid("/type", "invalid_value", error))?;
    let published = api
        .store
        .publish(Publish {
            project: tenant.project,
            tenant: tenant.id,
            event_type,
            schema_version: 1,
            subject: Subject::parse("test").expect("a subject"),
            revision: None,
            occurred_at: None,
            ordering_key: None,
            labels: Labels::default(),
            data: EventData::parse(TEST_DATA, TEST_DATA.len()).expect("an object"),
            claim: incoming.claim(&caller, Some(tenant.id), &text, api.now())?,
            test: Some(endpoint.id),
        })
        .await?;
    let (delivery, repeated) = match published {
        Published::Accepted { delivery: Some(delivery), .. } => (delivery, false),
        Published::Repeated { event, .. } => (delivery_of(&api, &caller, event).await?, true),
        Published::KeyReused => return Err(Problem::key_reused()),
        _ => return Err(Problem::not_found("endpoint")),
    };
    deliveries::accepted(&api, &caller, delivery, repeated).await
}

async fn delivery_of(api: &Api, caller: &Caller, event: model::ids::EventId) -> Result<DeliveryId, Problem> {
    let page = api.store.deliveries_of_event(caller.view(), event, Default::default()).await?;
    page.rows.first().map(|delivery| delivery.id).ok_or_else(|| Problem::not_found("delivery"))
}
