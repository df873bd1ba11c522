//! `POST /v1/tenants/{tenant}/endpoints/{endpoint}/test`

use std::time::Duration;

use actix_web::{HttpResponse, web};
use api_types::words::TestResult;
use api_types::{ScenarioAnswer, TestAnswer, TestOutcome, TestRequest};
use delivery_log::events::{Publish, Published};
use delivery_log::idempotency::KeptAnswer;
use delivery_log::page::{Order, PageRequest};
use model::access::Scope;
use model::attempt::Attempt;
use model::endpoint::Endpoint;
use model::event::EventData;
use model::event_type::EventType;
use model::ids::DeliveryId;
use model::names::Subject;
use model::scenario::{DELAY, Scenario};
use tokio::time::Instant;

use super::find;
use crate::api::Api;
use crate::auth::{Caller, Credentials};
use crate::deliveries;
use crate::deliveries::list_attempts::for_caller;
use crate::incoming::{BODY_LIMIT, Incoming};
use crate::openapi::parameters::{Expected, InTenant, OfEndpoint, Repeatable, Waiting};
use crate::outgoing;
use crate::problem::Problem;
use crate::query::Query;

/// How long a caller may wait for what the receiver answers, in seconds.
const MAX_WAIT_SECS: u64 = 30;
/// How long it is waited before the log is asked again, at first and at last.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const LOOK_RARELY: Duration = Duration::from_millis(400);
/// The type of a test, unless one is named.
const TEST_TYPE: &str = "posthorn.test";
/// What a test carries.
const TEST_DATA: &str = r#"{"message":"This is a test of your endpoint."}"#;

/// Calls the endpoint with a test event, also while it is paused: once, or as
/// a scenario says that proves how safe the receiver is. With `wait`, the
/// answer says what came of it.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/endpoints/{endpoint}/test", tag = "Endpoints", operation_id = "endpoints.test",
    security(("api_key" = ["endpoints:operate"])),
    params(InTenant, OfEndpoint, Waiting, Repeatable, Expected),
    request_body = Option<TestRequest>,
    responses((status = 202, description = "The delivery of the test; for a scenario, what was sent and what came of it.", body = api_types::TestOutcome),
        (status = 409, description = "The endpoint is disabled, or the type has no example.")))]
pub(crate) async fn handle(
    api: web::Data<Api>,
    credentials: Credentials,
    path: web::Path<(String, String)>,
    mut incoming: Incoming,
) -> Result<HttpResponse, Problem> {
    let caller = credentials.require(Scope::EndpointsOperate).await?;
    let tenant = api.tenant(&caller, &path.0).await?;
    let endpoint = find(&api, &caller, &tenant, &path.1).await?.endpoint;
    incoming.check_if_match(endpoint.updated_at)?;
    let mut query = Query::parse(incoming.path(), incoming.query())?;
    let wait = query.take("wait", |value| match value.parse::<u64>() {
        Ok(secs) if (1..=MAX_WAIT_SECS).contains(&secs) => Ok(Duration::from_secs(secs)),
        _ => Err(format!("must be a number of seconds from 1 to {MAX_WAIT_SECS}")),
    });
    query.finish()?;
    if wait.is_some() {
        // The answer shows what the receiver says.
        caller.require(Scope::DeliveriesRead)?;
    }
    let wait = wait.unwrap_or_default();
    let text = incoming.text(&api, &caller, BODY_LIMIT).await?;
    let wanted: TestRequest = text.parse_if_any()?;
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
        matched: None,
        key_use: incoming.key_use(&caller, Some(tenant.id), &text, api.now())?,
        test: Some(endpoint.id),
        endpoints: 0,
    };
    let Some(scenario) = scenario else {
        let (id, repeated) = publish(&api, &caller, plain).await?;
        if wait.is_zero() {
            return deliveries::accepted(&api, &caller, id, repeated).await;
        }
        let attempt = attempts_within(&api, &caller, &[id], 1, wait).await?.pop();
        let attempt = attempt.map(|attempt| for_caller(&caller, attempt));
        let delivery = deliveries::show(&api, &caller, id).await?;
        let answer = TestOutcome::Call(Box::new(TestAnswer { delivery, attempt }));
        return Ok(answered(&answer, id, repeated));
    };
    let mut sent = Vec::new();
    if scenario == Scenario::OutOfOrder {
        // The one with the smaller sequence, which waits until the other is out.
        let labels = scenario.labels_of_last();
        let first = Publish { labels, key_use: None, ..plain.clone() };
        sent.push(publish(&api, &caller, first).await?.0);
    }
    let (id, repeated) = publish(&api, &caller, plain).await?;
    sent.insert(0, id);
    let attempts = attempts_within(&api, &caller, &sent, scenario.calls(), wait).await?;
    let answers: Vec<Option<u16>> = attempts.iter().map(Attempt::http_status).collect();
    let (result, why) = match (attempts.len() >= scenario.calls()).then(|| scenario.judge(&answers)) {
        None => (TestResult::Pending, None),
        Some(Ok(why)) => (TestResult::Passed, Some(why.to_owned())),
        Some(Err(why)) => (TestResult::Failed, Some(why)),
    };
    let mut shown = Vec::with_capacity(sent.len());
    for id in sent {
        shown.push(deliveries::show(&api, &caller, id).await?);
    }
    let (sends, expects) = (scenario.sends().to_owned(), scenario.expects().to_owned());
    let answer = ScenarioAnswer {
        scenario: scenario.to_string(),
        sends,
        expects,
        result: result.to_string(),
        why,
        deliveries: shown,
        attempts: attempts.into_iter().map(|attempt| for_caller(&caller, attempt)).collect(),
    };
    Ok(answered(&TestOutcome::Scenario(Box::new(answer)), id, repeated))
}

/// 202 with what came of a test, and where its delivery is read.
fn answered(outcome: &TestOutcome, delivery: DeliveryId, repeated: bool) -> HttpResponse {
    let location = Some(format!("/v1/deliveries/{delivery}"));
    outgoing::kept(KeptAnswer { status: 202, location, body: outgoing::to_json(outcome) }, repeated, None)
}

/// The attempts of deliveries, when there are so many, or when the time is over.
/// Whoever sends them may be another process: the log is asked.
async fn attempts_within(
    api: &Api,
    caller: &Caller,
    deliveries: &[DeliveryId],
    many: usize,
    wait: Duration,
) -> Result<Vec<Attempt>, Problem> {
    let until = Instant::now() + wait;
    let page = PageRequest { limit: 2, after: None, order: Order::Ascending };
    let mut pause = LOOK_AGAIN;
    while !wait.is_zero() {
        let mut attempts = Vec::new();
        for delivery in deliveries {
            let found = api.store.list_attempts(caller.view(), *delivery, page).await?;
            attempts.extend(found.into_iter().flat_map(|page| page.rows));
        }
        if attempts.len() >= many || Instant::now() >= until {
            return Ok(attempts);
        }
        tokio::time::sleep(pause).await;
        // Most answers come soon; those that do not are not asked for as often.
        pause = (pause * 2).min(LOOK_RARELY);
    }
    Ok(Vec::new())
}

/// What a test carries: the example of the version that the endpoint would get.
fn example(api: &Api, endpoint: &Endpoint, event_type: &EventType) -> Result<(u32, EventData), Problem> {
    let entry = api.store.configuration().event_type(endpoint.project, event_type);
    let newest = entry.as_ref().and_then(|entry| entry.newest());
    let wanted = newest.map(|newest| {
        let subscriptions = &endpoint.subscriptions;
        let wanted = model::catalogue::wants(subscriptions, entry.as_deref(), event_type, newest.number);
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
