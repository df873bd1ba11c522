//! What takes hours and days: warnings, and endpoints that are disabled. The
//! program goes by a clock that the test sets forward.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod common;

use std::time::Duration;

use common::settings;
use serde_json::{Value, json};
use testkit::{Behaviour, Clock, MailServer, Program, Receiver, until};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn data_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[tokio::test]
async fn an_endpoint_that_fails_for_days_is_warned_about_three_times_and_then_disabled() {
    let mut clock = Clock::new();
    let mut mails = MailServer::start().await;
    let start = clock.of(settings().with("POSTHORN_SMTP_URL", mails.url()));
    let program = Program::start(start).await;
    let operators = Receiver::always(Behaviour::Answer(204)).await;
    let sick = Receiver::always(Behaviour::Answer(422)).await;
    let api = program.api();
    let operational = json!({ "url": operators.url(), "event_types": ["endpoint.*"] });
    api.post("/v1/operational-endpoints", operational).await.expect(201);
    let tenant = json!({ "id": "acme", "contacts": ["ops@acme.example"] });
    api.post("/v1/tenants", tenant).await.expect(201);
    let once = json!({ "name": "once", "permanent_waits_seconds": [] });
    api.post("/v1/retry-policies", once).await.expect(201);
    let (id, _) = api.create_endpoint("acme", json!({ "url": sick.url(), "retry_policy": "once" })).await;
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    let fail = async |n: usize| {
        let event = api.publish("acme", "order.paid", &format!("ord_{n}")).await;
        api.delivery_with_status(&event, "failed").await;
    };
    // Twenty failures in a moment are no reason yet.
    for n in 0..20 {
        fail(n).await;
    }
    let since = api.get(&format!("{path}/health")).await.expect(200)["failing_since"].clone();
    for (told, hours) in [1, 24, 72].into_iter().enumerate() {
        clock.set_ahead(HOUR * hours - Duration::from_secs(60));
        fail(100 + told).await;
        assert_eq!(operators.received().len(), told, "nothing is said before {hours} hours have passed");
        clock.set_ahead(HOUR * hours + Duration::from_secs(60));
        fail(200 + told).await;
        let warning = data_of(&operators.wait_for(told + 1).await[told].body);
        assert_eq!((&warning["type"], &warning["subject"]), (&json!("endpoint.warning"), &json!(id)));
        assert_eq!(warning["data"]["failing_since"], since, "{warning}");
        let mail = mails.next_mail().await;
        assert!(mail.contains("ops@acme.example") && mail.contains(&format!("{hours} hour")), "{mail}");
    }
    clock.set_ahead(HOUR * 120 + Duration::from_secs(60));
    fail(300).await;
    let disabled = data_of(&operators.wait_for(4).await[3].body);
    assert_eq!(disabled["type"], "endpoint.disabled");
    let mail = mails.next_mail().await;
    assert!(mail.contains("Subject: Your webhook endpoint was disabled"), "{mail}");
    let endpoint = until("it is disabled", || async {
        let endpoint = api.get(&path).await.expect(200);
        (endpoint["status"] == "disabled").then_some(endpoint)
    })
    .await;
    assert!(endpoint["disabled_reason"].as_str().unwrap().contains("every call has failed since"));
    // Enabled again, it is offered what it misses from now on.
    api.publish("acme", "order.paid", "missed").await;
    let enabled = api.patch(&path, json!({ "status": "enabled" })).await.expect(200);
    let mut plan = enabled["missed"]["replay"].clone();
    plan["dry_run"] = json!(true);
    assert_eq!(api.post("/v1/replays", plan).await.expect(200), json!({ "matched": 1 }));
}
