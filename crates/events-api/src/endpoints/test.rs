//! `POST /v1/tenants/{tenant}/endpoints/{endpoint}/test`

use actix_web::{HttpResponse, web};
use api_types::{ScenarioAnswer, TestRequest};
use delivery_log::events::{Publish, Published};
use model::access::Scope;
use model::endpoint::Endpoint;
use model::event::{EventData, OlderData};
use model::event_type::EventType;
use model::ids::DeliveryId;
use model::names::Subject;
use model::scenario::{DELAY, Scenario};

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

/// Calls the endpoint with a test event, also while it is paused: once, or as
/// a scenario says that proves how safe the receiver is.
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
    incoming.check_if_match(endpoint.updated_at)?;
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    let wanted: TestRequest = text.parse()?;
    let event_type = EventType::parse(wanted.event_type.as_deref().unwrap_or(TEST_TYPE))
        .map_err(|error| Problem::invalid("/type", "invalid_value", error))?;
    let scenario = wanted.scenario.as_deref().map(str::parse::<Scenario>).transpose();
    let scenario = scenario.map_err(|error| Problem::invalid("/scenario", "invalid_value", error))?;
    let (schema_version, data) = example(&api, &endpoint, &event_type)?;
    let plain = Publish {
        project: tenant.project,
        tenant: tenant.id,
        event_type,
        schema_version,
        subject: Subject::parse("test").expect("a subject"),
        revision: None,
        occurred_at: (scenario == Some(Scenario::Delayed)).then(|| api.now().minus(DELAY)),
        ordering_key: None,
        labels: scenario.map(Scenario::labels).unwrap_or_default(),
        data,
        older: OlderData::default(),
        claim: incoming.claim(&caller, Some(tenant.id), &text, api.now())?,
        test: Some(endpoint.id),
        endpoints: 0,
    };
    let Some(scenario) = scenario else {
        let (delivery, repeated) = publish(&api, &caller, plain).await?;
        return deliveries::accepted(&api, &caller, delivery, repeated).await;
    };
    let mut sent = Vec::new();
    if scenario == Scenario::OutOfOrder {
        // The one with the smaller sequence, which waits until the other is out.
        let labels = scenario.labels_of_last();
        let first = Publish { labels, claim: None, ..plain.clone() };
        sent.push(publish(&api, &caller, first).await?.0);
    }
    sent.insert(0, publish(&api, &caller, plain).await?.0);
    let mut shown = Vec::with_capacity(sent.len());
    for id in sent {
        shown.push(deliveries::show(&api, &caller, id).await?);
    }
    let (sends, expects) = (scenario.sends().to_owned(), scenario.expects().to_owned());
    let answer = ScenarioAnswer { scenario: scenario.to_string(), sends, expects, deliveries: shown };
    Ok(HttpResponse::Accepted().json(answer))
}

/// What a test carries: the example of the version that the endpoint would get.
fn example(api: &Api, endpoint: &Endpoint, event_type: &EventType) -> Result<(u32, EventData), Problem> {
    let entry = api.store.configuration().event_type(endpoint.project, event_type);
    let newest = entry.as_ref().and_then(|entry| entry.newest());
    let wanted = newest.map(|newest| {
        let subscriptions = &endpoint.subscriptions;
        let wanted = model::endpoint::wants(subscriptions, entry.as_deref(), event_type, newest.number);
        wanted.unwrap_or(newest.number)
    });
    let version = wanted.and_then(|number| entry.as_ref()?.version(number));
    let text = version.and_then(|version| version.example.as_deref()).unwrap_or(TEST_DATA);
    let data = EventData::parse(text, text.len())
        .map_err(|error| Problem::invalid("/type", "invalid_value", error))?;
    Ok((version.map_or(1, |version| version.number), data))
}

/// The delivery of a test, and whether the request is a repeated one.
async fn publish(api: &Api, caller: &Caller, test: Publish) -> Result<(DeliveryId, bool), Problem> {
    match api.store.publish(test).await? {
        Published::Accepted { delivery: Some(delivery), .. } => Ok((delivery, false)),
        Published::Repeated { event, .. } => Ok((delivery_of(api, caller, event).await?, true)),
        Published::KeyReused => Err(Problem::key_reused()),
        _ => Err(Problem::not_found("endpoint")),
    }
}

async fn delivery_of(api: &Api, caller: &Caller, event: model::ids::EventId) -> Result<DeliveryId, Problem> {
    let page = api.store.deliveries_of_event(caller.view(), event, Default::default()).await?;
    page.rows.first().map(|delivery| delivery.id).ok_or_else(|| Problem::not_found("delivery"))
}
