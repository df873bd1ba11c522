//! The main job: publish, sign, deliver, retry, log, replay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::{received_body, start, verify};
use serde_json::{Value, json};
use testkit::{Behaviour, Receiver, until};

#[tokio::test]
async fn an_event_arrives_signed_and_the_log_shows_the_attempt() {
    let program = start().await;
    let (api, receiver) = (program.api(), Receiver::always(Behaviour::Answer(204)).await);
    api.create_tenant("acme").await;
    let (endpoint, secret) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let answer = api
        .post_bytes(
            "/v1/events",
            r#"{"tenant":"acme","type":"order.paid","subject":"ord_1","revision":7,
                "occurred_at":"2026-11-21T12:00:00Z","data":{"total": 1.10, "id":9007199254740993}}"#,
        )
        .await;
    answer.expect(202);
    let event = answer.text("/id");
    assert_eq!((answer.text("/status").as_str(), answer.json()["sequence"].as_u64()), ("accepted", Some(1)));

    let request = receiver.wait_for(1).await.remove(0);
    verify(&secret, &request);
    let body = String::from_utf8(request.body.clone()).unwrap();
    let expected = format!(
        r#"{{"type":"order.paid","timestamp":"2026-11-21T12:00:00.000Z","id":"{event}","schema_version":1,"subject":"ord_1","revision":7,"sequence":1,"data":{{"total": 1.10, "id":9007199254740993}}}}"#
    );
    assert_eq!(body, expected);
    assert_eq!(request.header("webhook-id"), event);
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("posthorn-attempt"), "1");
    assert!(request.header("user-agent").starts_with("Posthorn/"));
    assert_eq!(request.header("traceparent").len(), 55);
    assert!(!request.headers.contains_key("posthorn-retry-reason"));

    let delivery = api.delivery_with_status(&event, "delivered").await;
    assert_eq!(delivery["endpoint"], endpoint.as_str());
    assert_eq!(delivery["id"], request.header("posthorn-delivery"));
    let attempts = api.attempts_of(&delivery).await;
    assert_eq!(attempts.len(), 1);
    let attempt = &attempts[0];
    assert_eq!((&attempt["http_status"], &attempt["error_class"]), (&json!(204), &json!("none")));
    assert_eq!((&attempt["trigger"], &attempt["remote_ip"]), (&json!("automatic"), &json!("127.0.0.1")));
    assert_eq!(attempt["next_attempt_reason"], "delivered");
    assert_eq!(attempt["request_headers"]["webhook-id"], event.as_str());
    assert!(attempt["milliseconds"]["connect"].is_number(), "{attempt}");
    assert!(attempt["milliseconds"]["total"].as_f64() >= attempt["milliseconds"]["first_byte"].as_f64());
    let payload = api.get(&format!("/v1/deliveries/{}/payload", delivery["id"].as_str().unwrap())).await;
    assert_eq!(payload.bytes, request.body);
    let read = api.get(&format!("/v1/events/{event}")).await;
    assert!(
        String::from_utf8(read.bytes).unwrap().contains(r#""data":{"total": 1.10, "id":9007199254740993}"#)
    );
}

#[tokio::test]
async fn a_failed_delivery_is_retried_with_the_same_body_and_a_reason() {
    let program = start().await;
    let api = program.api();
    let receiver = Receiver::start(|request| {
        Behaviour::Answer(if request.header("posthorn-attempt") == "1" { 503 } else { 200 })
    })
    .await;
    api.create_tenant("acme").await;
    let (_, secret) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let event = api.publish("acme", "order.paid", "ord_1").await;
    let retrying = api.delivery_with_status(&event, "retrying").await;
    assert_eq!((&retrying["error_class"], &retrying["http_status"]), (&json!("http_5xx"), &json!(503)));
    assert!(retrying["next_attempt_at"].is_string());

    let requests = receiver.wait_for(2).await;
    requests.iter().for_each(|request| verify(&secret, request));
    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(requests[0].header("webhook-id"), requests[1].header("webhook-id"));
    assert_eq!(requests[1].header("posthorn-attempt"), "2");
    assert_eq!(requests[1].header("posthorn-retry-reason"), "http_5xx");
    let delivered = api.delivery_with_status(&event, "delivered").await;
    let attempts = api.attempts_of(&delivered).await;
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0]["next_attempt_reason"], "backoff");
    assert!(attempts[0]["next_attempt_at"].is_string());
}

#[tokio::test]
async fn every_endpoint_gets_what_it_asked_for_in_the_form_it_asked_for() {
    let program = start().await;
    let (api, receiver) = (program.api(), Receiver::always(Behaviour::Answer(200)).await);
    api.create_tenant("acme").await;
    let at = |path: &str| receiver.url().replace("/hook", path);
    api.create_endpoint("acme", json!({ "url": at("/full"), "event_types": ["order.*"] })).await;
    api.create_endpoint("acme", json!({ "url": at("/thin"), "payload": "thin" })).await;
    let data = json!({
        "url": at("/data"), "payload": "data", "event_types": ["order.paid", "invoice.*"],
        "headers": { "X-Api-Key": "sesame" },
    });
    let (endpoint, _) = api.create_endpoint("acme", data).await;
    let (other, _) =
        api.create_endpoint("acme", json!({ "url": at("/no"), "event_types": ["invoice.paid"] })).await;
    let answer = api
        .post_bytes("/v1/events", r#"{"tenant":"acme","type":"order.paid","subject":"s","data":{"n":1.10}}"#)
        .await;
    answer.expect(202);
    let event = answer.text("/id");
    let requests = receiver.wait_for(3).await;
    assert_eq!(requests.len(), 3);
    assert_eq!(received_body(&requests, "/data"), r#"{"n":1.10}"#);
    assert!(received_body(&requests, "/full").ends_with(r#","data":{"n":1.10}}"#));
    let thin: Value = serde_json::from_str(&received_body(&requests, "/thin")).unwrap();
    assert_eq!(thin["url"], format!("{}/v1/events/{event}", api.url()));
    assert!(thin.get("data").is_none());

    let with_header = requests.iter().find(|request| request.path == "/data").unwrap();
    assert_eq!(with_header.header("x-api-key"), "sesame");
    let read = api.get(&format!("/v1/tenants/acme/endpoints/{endpoint}")).await;
    assert_eq!(read.expect(200)["headers"], json!({ "x-api-key": "***" }));
    assert!(!String::from_utf8(read.bytes).unwrap().contains("sesame"));
    let stored = api.get(&format!("/v1/events/{event}")).await.expect(200);
    assert_eq!(stored["unmatched"], json!([{ "endpoint": other, "reason": "event_type" }]));
    for delivery in api.deliveries_of(&event).await {
        let attempts = until("the attempt is in the log", || async {
            Some(api.attempts_of(&delivery).await).filter(|attempts| !attempts.is_empty())
        })
        .await;
        assert!(!attempts[0].to_string().contains("sesame"));
    }
}

#[tokio::test]
async fn a_rotated_secret_and_the_old_one_both_sign_during_the_overlap() {
    let program = start().await;
    let (api, receiver) = (program.api(), Receiver::always(Behaviour::Answer(200)).await);
    api.create_tenant("acme").await;
    let brought = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let (endpoint, old) =
        api.create_endpoint("acme", json!({ "url": receiver.url(), "secret": brought })).await;
    assert_eq!(old, brought);
    let path = format!("/v1/tenants/acme/endpoints/{endpoint}/secret");
    let rotated = api.post(&format!("{path}/rotate"), json!({ "overlap_seconds": 3600 })).await;
    rotated.expect(200);
    let new = rotated.text("/secret");
    assert_ne!(new, old);
    assert_eq!(api.get(&path).await.text("/previous_secret"), old);
    api.publish("acme", "order.paid", "ord_1").await;
    let request = receiver.wait_for(1).await.remove(0);
    assert_eq!(request.header("webhook-signature").split(' ').count(), 2);
    verify(&old, &request);
    verify(&new, &request);
    let at_once = api.post(&format!("{path}/rotate"), json!({ "overlap_seconds": 0 })).await;
    at_once.expect(200);
    api.publish("acme", "order.paid", "ord_2").await;
    let request = receiver.wait_for(2).await.remove(1);
    assert_eq!(request.header("webhook-signature").split(' ').count(), 1);
    verify(&at_once.text("/secret"), &request);
}

#[tokio::test]
async fn a_delivery_goes_on_and_is_replayed_to_where_the_endpoint_is_now() {
    let program = start().await;
    let api = program.api();
    let (old, new) =
        (Receiver::always(Behaviour::Answer(500)).await, Receiver::always(Behaviour::Answer(200)).await);
    api.create_tenant("acme").await;
    let (endpoint, secret) = api.create_endpoint("acme", json!({ "url": old.url() })).await;
    let event = api.publish("acme", "order.paid", "ord_1").await;
    let delivery = api.delivery_with_status(&event, "retrying").await;
    let path = format!("/v1/tenants/acme/endpoints/{endpoint}");
    // What failed at the old place is tried at the new one at once.
    api.patch(&path, json!({ "url": new.url() })).await.expect(200);
    let request = new.wait_for(1).await.remove(0);
    assert_eq!(request.header("posthorn-retry-reason"), "http_5xx");
    let replay = format!("/v1/deliveries/{}/replay", delivery["id"].as_str().unwrap());
    api.delivery_with_status(&event, "delivered").await;
    api.post(&replay, json!({})).await.problem(409, "conflict");
    api.post(&replay, json!({ "force": true })).await.expect(202);
    let request = new.wait_for(2).await.remove(1);
    verify(&secret, &request);
    assert_eq!(request.body, old.received()[0].body);
    assert_eq!(request.header("posthorn-retry-reason"), "replay");
    let delivered = api.delivery_with_status(&event, "delivered").await;
    let attempts = api.attempts_of(&delivered).await;
    let triggers: Vec<_> = attempts.iter().map(|attempt| attempt["trigger"].as_str().unwrap()).collect();
    assert_eq!(triggers, ["automatic", "automatic", "manual"]);
    api.patch(&path, json!({ "status": "paused" })).await.expect(200);
    api.post(&replay, json!({ "force": true })).await.problem(409, "conflict");
}

#[tokio::test]
async fn a_paused_endpoint_holds_all_but_tests_until_it_is_enabled() {
    let program = start().await;
    let (api, receiver) = (program.api(), Receiver::always(Behaviour::Answer(200)).await);
    api.create_tenant("acme").await;
    let (endpoint, _) =
        api.create_endpoint("acme", json!({ "url": receiver.url(), "status": "paused" })).await;
    let path = format!("/v1/tenants/acme/endpoints/{endpoint}");
    let event = api.publish("acme", "order.paid", "ord_1").await;
    let held = api.delivery_with_status(&event, "held").await;
    assert_eq!(held["held_by"], "paused");
    let test = api.post(&format!("{path}/test"), json!({ "type": "order.paid" })).await;
    test.expect(202);
    let request = receiver.wait_for(1).await.remove(0);
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!((&body["test"], &body["type"]), (&json!(true), &json!("order.paid")));
    api.delivery_with_status(&test.text("/event"), "delivered").await;
    assert_eq!(receiver.received().len(), 1);
    api.patch(&path, json!({ "status": "enabled" })).await.expect(200);
    api.delivery_with_status(&event, "delivered").await;
    api.patch(&path, json!({ "status": "disabled" })).await.expect(200);
    let unwanted = api.publish("acme", "order.paid", "ord_2").await;
    let stored = api.get(&format!("/v1/events/{unwanted}")).await.expect(200);
    assert_eq!(stored["unmatched"][0]["reason"], "disabled");
}

#[tokio::test]
async fn a_canceled_delivery_is_not_sent() {
    let program = start().await;
    let (api, receiver) = (program.api(), Receiver::always(Behaviour::Answer(200)).await);
    api.create_tenant("acme").await;
    let (endpoint, _) =
        api.create_endpoint("acme", json!({ "url": receiver.url(), "status": "paused" })).await;
    let event = api.publish("acme", "order.paid", "ord_1").await;
    let delivery = api.deliveries_of(&event).await.remove(0);
    let cancel = format!("/v1/deliveries/{}/cancel", delivery["id"].as_str().unwrap());
    assert_eq!(api.post(&cancel, json!({})).await.expect(202)["status"], "canceled");
    api.post(&cancel, json!({})).await.problem(409, "conflict");
    let path = format!("/v1/tenants/acme/endpoints/{endpoint}");
    api.patch(&path, json!({ "status": "enabled" })).await.expect(200);
    let later = api.publish("acme", "order.paid", "ord_2").await;
    api.delivery_with_status(&later, "delivered").await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn retry_after_holds_the_endpoint_and_three_times_gone_disables_it() {
    let program = start().await;
    let api = program.api();
    let receiver = Receiver::start(|request| match request.path.as_str() {
        "/busy" => Behaviour::AnswerWith(429, "retry-after: 3600\r\n".to_owned()),
        _ => Behaviour::Answer(410),
    })
    .await;
    api.create_tenant("acme").await;
    let busy = receiver.url().replace("hook", "busy");
    api.create_endpoint("acme", json!({ "url": busy, "event_types": ["busy.*"] })).await;
    let first = api.publish("acme", "busy.now", "1").await;
    let held = api.delivery_with_status(&first, "held").await;
    assert_eq!((&held["held_by"], &held["http_status"]), (&json!("rate_limit"), &json!(429)));
    assert!(held["held_until"].is_string());
    let second = api.publish("acme", "busy.now", "2").await;
    let waiting = api.delivery_with_status(&second, "held").await;
    assert_eq!(waiting["attempts"], 0);

    let (gone, _) =
        api.create_endpoint("acme", json!({ "url": receiver.url(), "event_types": ["gone.*"] })).await;
    for n in 0..3 {
        let event = api.publish("acme", "gone.now", &n.to_string()).await;
        until("it was answered", || async {
            api.deliveries_of(&event).await.into_iter().find(|delivery| delivery["http_status"] == 410)
        })
        .await;
    }
    let disabled = until("the endpoint is disabled", || async {
        let endpoint = api.get(&format!("/v1/tenants/acme/endpoints/{gone}")).await.expect(200);
        Some(endpoint).filter(|endpoint| endpoint["status"] == "disabled")
    })
    .await;
    assert!(disabled["disabled_reason"].as_str().unwrap().contains("410"));
}

#[tokio::test]
async fn a_repeated_publish_is_one_event_by_header_field_and_batch() {
    let program = start().await;
    let (api, receiver) = (program.api(), Receiver::always(Behaviour::Answer(200)).await);
    api.create_tenant("acme").await;
    api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let event = json!({ "tenant": "acme", "type": "order.paid", "subject": "s", "data": { "n": 1 } });
    let with_key = || api.request("POST", "/v1/events").header("idempotency-key", "outbox-1");
    let first = api.send(with_key().json(&event)).await;
    first.expect(202);
    let again = api.send(with_key().json(&event)).await;
    assert_eq!(again.expect(202), first.json());
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let mut keyed = event.clone();
    keyed["idempotency_key"] = json!("outbox-1");
    assert_eq!(api.post("/v1/events", keyed.clone()).await.expect(202), first.json());
    keyed["data"] = json!({ "n": 2 });
    api.post("/v1/events", keyed.clone()).await.problem(422, "idempotency_mismatch");
    keyed["data"] = json!({ "n": 1 });
    let mut broken = event.clone();
    broken["tenant"] = json!("nobody");
    let batch = api.post("/v1/events/batch", json!({ "events": [keyed, broken, event] })).await;
    let results = batch.expect(200)["results"].clone();
    assert_eq!((&results[0]["status"], &results[0]["id"]), (&json!(202), &first.json()["id"]));
    assert_eq!(
        (&results[1]["status"], &results[1]["problem"]["code"]),
        (&json!(422), &json!("invalid_request"))
    );
    assert_eq!(results[1]["problem"]["errors"][0]["pointer"], "/tenant");
    assert_eq!((&results[2]["status"], &results[2]["sequence"]), (&json!(202), &json!(2)));
    assert_eq!(api.get("/v1/events").await.expect(200)["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn other_posts_are_repeated_without_harm_too() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let create = |body: Value| {
        let request = api.request("POST", "/v1/tenants/acme/endpoints").header("idempotency-key", "ep-1");
        request.json(&body)
    };
    let endpoint = json!({ "url": "http://127.0.0.1:9/hook" });
    let first = api.send(create(endpoint.clone())).await;
    first.expect(201);
    let again = api.send(create(endpoint)).await;
    assert_eq!(again.expect(201), first.json(), "the same secret too");
    assert_eq!(
        (again.header("location"), again.header("idempotency-replayed")),
        (first.header("location"), Some("true"))
    );
    api.send(create(json!({ "url": "http://127.0.0.1:10/hook" }))).await.problem(422, "idempotency_mismatch");
    let listed = api.get("/v1/tenants/acme/endpoints").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn lists_have_cursors_links_filters_and_both_orders() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    for n in 0..5 {
        api.publish("acme", if n % 2 == 0 { "order.paid" } else { "order.sent" }, &format!("ord_{n}")).await;
    }
    for order in ["asc", "desc"] {
        let mut subjects = Vec::new();
        let mut path = format!("/v1/events?limit=2&order={order}&tenant=acme");
        loop {
            let page = api.get(&path).await;
            let body = page.expect(200);
            subjects.extend(body["data"].as_array().unwrap().iter().map(|event| event["subject"].clone()));
            let Some(link) = page.header("link") else {
                assert!(body["next_cursor"].is_null());
                break;
            };
            path = link.split(['<', '>']).nth(1).unwrap().to_owned();
            assert!(path.contains("tenant=acme") && link.ends_with("rel=\"next\""), "{link}");
        }
        if order == "desc" {
            subjects.reverse();
        }
        assert_eq!(subjects, ["ord_0", "ord_1", "ord_2", "ord_3", "ord_4"]);
    }
    let sent = api.get("/v1/events?type=order.sent&expand=data").await.expect(200);
    assert_eq!(sent["data"].as_array().unwrap().len(), 2);
    assert_eq!(sent["data"][0]["data"], json!({}));
    let one = api.get("/v1/events?subject=ord_3").await.expect(200);
    assert_eq!(one["data"][0]["subject"], "ord_3");
    assert_eq!(api.get("/v1/events?limit=0").await.problem(422, "invalid_request"), ["limit"]);
    assert_eq!(api.get("/v1/events?colour=red").await.problem(422, "invalid_request"), ["colour"]);
    assert_eq!(api.get("/v1/deliveries?status=lost").await.problem(422, "invalid_request"), ["status"]);
}

#[tokio::test]
async fn a_change_that_was_overtaken_is_refused() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let (endpoint, _) = api.create_endpoint("acme", json!({ "url": "http://127.0.0.1:9/" })).await;
    let path = format!("/v1/tenants/acme/endpoints/{endpoint}");
    let before = api.get(&path).await;
    let tag = before.header("etag").unwrap().to_owned();
    let change = |text: &str| {
        let request = api.request("PATCH", &path).header("if-match", &tag);
        request.json(&json!({ "description": text, "headers": { "x-a": "1" } }))
    };
    let after = api.send(change("first")).await;
    assert_eq!(after.expect(200)["description"], "first");
    assert_ne!(after.header("etag"), Some(tag.as_str()));
    api.send(change("second")).await.problem(412, "precondition_failed");
    api.send(api.request("DELETE", &path).header("if-match", &tag)).await.problem(412, "precondition_failed");
    let removed = api.patch(&path, json!({ "headers": { "x-a": null } })).await.expect(200);
    assert_eq!((&removed["headers"], &removed["description"]), (&json!({}), &json!("first")));
    assert_eq!(api.delete(&path).await.status, 204);
    api.get(&path).await.problem(404, "not_found");
}

#[tokio::test]
async fn what_is_under_way_at_shutdown_is_finished_or_given_back() {
    let mut program =
        testkit::Program::start(crate::common::settings().with("POSTHORN_SHUTDOWN_GRACE_SECONDS", "1")).await;
    let api = program.api();
    let receiver = Receiver::start(|request| match request.header("posthorn-attempt") {
        "1" => Behaviour::Hang,
        _ => Behaviour::Answer(200),
    })
    .await;
    let late = Receiver::always(Behaviour::Late(Duration::from_millis(300))).await;
    api.create_tenant("acme").await;
    api.create_endpoint("acme", json!({ "url": receiver.url(), "event_types": ["hang.*"] })).await;
    api.create_endpoint("acme", json!({ "url": late.url(), "event_types": ["late.*"] })).await;
    let hanging = api.publish("acme", "hang.up", "1").await;
    let finishing = api.publish("acme", "late.ly", "1").await;
    receiver.wait_for(1).await;
    late.wait_for(1).await;
    assert_eq!(program.stop().await, Some(0));
    program.restart().await;
    let api = program.api();
    let finished = api.delivery_with_status(&finishing, "delivered").await;
    assert_eq!(api.attempts_of(&finished).await.len(), 1, "it was let end");
    let again = api.delivery_with_status(&hanging, "delivered").await;
    let attempts = api.attempts_of(&again).await;
    let classes: Vec<_> = attempts.iter().map(|attempt| attempt["error_class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["interrupted", "none"]);
}

#[tokio::test]
async fn a_call_that_a_request_to_the_api_let_go_is_finished_at_shutdown_too() {
    let mut program = start().await;
    let api = program.api();
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let receiver = Receiver::start(move |_| match well.load(Ordering::Relaxed) {
        false => Behaviour::Answer(500),
        true => Behaviour::Late(Duration::from_millis(500)),
    })
    .await;
    api.create_tenant("acme").await;
    let (endpoint, _) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let path = format!("/v1/tenants/acme/endpoints/{endpoint}");
    let mut events = Vec::new();
    for n in 0..40 {
        events.push(api.publish("acme", "order.paid", &format!("ord_{n}")).await);
    }
    // What is behind the open breaker is in hand.
    until("the breaker opens", || async {
        let health = api.get(&format!("{path}/health")).await.expect(200);
        (health["breaker"] == "open").then_some(())
    })
    .await;
    is_well.store(true, Ordering::Relaxed);
    let before = receiver.received().len();
    api.post(&format!("{path}/reset"), json!({})).await.expect(200);
    receiver.wait_for(before + 1).await;
    assert_eq!(program.stop().await, Some(0));
    program.restart().await;
    let api = program.api();
    for event in &events {
        let delivery = api.delivery_with_status(event, "delivered").await;
        for attempt in api.attempts_of(&delivery).await {
            assert_ne!(attempt["error_class"], "interrupted", "{attempt}");
        }
    }
}

#[tokio::test]
async fn a_kept_answer_is_never_given_to_another_key_or_tenant() {
    let program = start().await;
    let api = program.api();
    let mut keys = Vec::new();
    for tenant in ["acme", "beta"] {
        api.create_tenant(tenant).await;
        let key =
            api.post("/v1/api-keys", json!({ "name": tenant, "scopes": ["*"], "tenant": tenant })).await;
        keys.push(program.api_with(&key.text("/secret")));
    }
    let make = |api: &testkit::Api| {
        let request = api.request("POST", "/v1/api-keys").header("idempotency-key", "same");
        request.json(&json!({ "name": "sub", "scopes": ["events:read"] }))
    };
    let first = keys[0].send(make(&keys[0])).await;
    first.expect(201);
    // Another tenant's key of the same text is another key.
    let other = keys[1].send(make(&keys[1])).await;
    assert_eq!((other.status, other.header("idempotency-replayed")), (201, None));
    assert_ne!(other.text("/secret"), first.text("/secret"));
    // Another key of the same tenant is another caller.
    let own = json!({ "name": "own", "scopes": ["*"], "tenant": "acme" });
    let own = program.api_with(&api.post("/v1/api-keys", own).await.text("/secret"));
    own.send(make(&own)).await.problem(422, "idempotency_mismatch");
    // A tenant that is created again is another one.
    let register = || {
        let request = api.request("POST", "/v1/tenants/acme/endpoints").header("idempotency-key", "register");
        request.json(&json!({ "url": "http://127.0.0.1:9/" }))
    };
    api.send(register()).await.expect(201);
    assert_eq!(api.delete("/v1/tenants/acme").await.status, 204);
    api.create_tenant("acme").await;
    api.send(register()).await.problem(422, "idempotency_mismatch");
}

#[tokio::test]
async fn a_patch_means_the_same_header_however_it_writes_it() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let endpoint = json!({ "url": "http://127.0.0.1:9/", "headers": { "X-Api-Key": "old" } });
    let (endpoint, _) = api.create_endpoint("acme", endpoint).await;
    let path = format!("/v1/tenants/acme/endpoints/{endpoint}");
    let changed = api.patch(&path, json!({ "headers": { "X-API-KEY": "new" } })).await.expect(200);
    assert_eq!(changed["headers"], json!({ "x-api-key": "***" }));
    let removed = api.patch(&path, json!({ "headers": { "X-Api-Key": null } })).await.expect(200);
    assert_eq!(removed["headers"], json!({}));
}

#[tokio::test]
async fn values_of_headers_are_not_sent_to_another_host_than_the_one_they_were_written_for() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let endpoint = json!({ "url": "http://127.0.0.1:9/", "headers": { "X-Api-Key": "sesame", "x-b": "1" } });
    let (id, _) = api.create_endpoint("acme", endpoint).await;
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    api.patch(&path, json!({ "url": "http://127.0.0.1:9/other" })).await.expect(200);
    let moved = json!({ "url": "http://127.0.0.1:10/" });
    let missing = api.patch(&path, moved).await.problem(422, "invalid_request");
    assert_eq!(missing, ["/headers/x-api-key", "/headers/x-b"]);
    let moved = json!({ "url": "http://127.0.0.1:10/", "headers": { "X-Api-Key": "again", "x-b": null } });
    let after = api.patch(&path, moved).await.expect(200);
    assert_eq!(after["headers"], json!({ "x-api-key": "***" }));
}
