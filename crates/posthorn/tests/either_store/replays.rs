//! Many past deliveries of an endpoint are sent again, once each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::start;
use serde_json::{Value, json};
use testkit::{Api, Behaviour, Program, Receiver, until};

async fn replay_stands(api: &Api, id: &str, state: &str) -> Value {
    until(&format!("the replay is {state}"), || async {
        let replay = api.get(&format!("/v1/replays/{id}")).await.expect(200);
        (replay["state"] == state).then_some(replay)
    })
    .await
}

/// A receiver that refuses for good until it is told not to.
async fn refusing() -> (Receiver, Arc<AtomicBool>) {
    let refuses = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&refuses);
    let receiver =
        Receiver::start(move |_| Behaviour::Answer(if told.load(Ordering::SeqCst) { 400 } else { 204 }))
            .await;
    (receiver, refuses)
}

/// An endpoint with so many failed deliveries. Gives its id.
async fn endpoint_with_failures(program: &Program, receiver: &Receiver, count: usize) -> String {
    let api = program.api();
    let once = json!({ "name": "once", "permanent_waits_seconds": [] });
    api.post("/v1/retry-policies", once).await.expect(201);
    api.create_tenant("acme").await;
    let (id, _) = api.create_endpoint("acme", json!({ "url": receiver.url(), "retry_policy": "once" })).await;
    for n in 0..count {
        api.publish("acme", "order.paid", &format!("ord_{n}")).await;
    }
    until("all have failed", || async {
        let page =
            api.get(&format!("/v1/deliveries?endpoint={id}&status=failed&limit=250")).await.expect(200);
        (page["data"].as_array().unwrap().len() == count).then_some(())
    })
    .await;
    id
}

#[tokio::test]
async fn what_a_disabled_endpoint_missed_is_offered_and_sent_when_it_is_enabled() {
    let program = start().await;
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let api = program.api();
    api.create_tenant("acme").await;
    let filter = json!({ "at": "/data/total", "at_least": 10 });
    let endpoint = json!({ "url": receiver.url(), "event_types": ["order.*"], "filter": filter });
    let (id, _) = api.create_endpoint("acme", endpoint).await;
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    assert_eq!(api.get(&path).await.expect(200)["missed"], Value::Null);
    api.patch(&path, json!({ "status": "disabled" })).await.expect(200);
    let mut missed = Vec::new();
    for (event_type, total) in [("order.paid", 10), ("order.paid", 9), ("user.left", 50), ("order.sent", 99)]
    {
        let event =
            json!({ "tenant": "acme", "type": event_type, "subject": "s", "data": { "total": total } });
        missed.push(api.post("/v1/events", event).await.expect(202)["id"].as_str().unwrap().to_owned());
    }
    let offered = api.get(&path).await.expect(200)["missed"]["replay"].clone();
    api.post("/v1/replays", offered.clone()).await.problem(409, "conflict");
    let enabled = api.patch(&path, json!({ "status": "enabled" })).await.expect(200);
    let mut plan = enabled["missed"]["replay"].clone();
    assert_eq!(plan, offered);
    plan["dry_run"] = json!(true);
    assert_eq!(api.post("/v1/replays", plan.clone()).await.expect(200), json!({ "matched": 2 }));
    assert_eq!(receiver.received().len(), 0);

    let begun = api.post("/v1/replays", offered).await;
    assert_eq!((&begun.expect(202)["matched"], begun.header("location").is_some()), (&json!(2), true));
    let done = replay_stands(&api, &begun.text("/id"), "completed").await;
    let figures = ["matched", "sent", "delivered", "failed", "skipped", "remaining"].map(|name| &done[name]);
    assert_eq!(figures, [2, 2, 2, 0, 0, 0], "{done}");
    let received = receiver.received();
    let mut ids: Vec<&str> = received.iter().map(|request| request.header("webhook-id")).collect();
    ids.sort_unstable();
    assert_eq!(ids, [&missed[0], &missed[3]]);
    let delivery = &api.deliveries_of(&missed[0]).await[0];
    assert_eq!(api.attempts_of(delivery).await[0]["trigger"], "replay");
    // Nothing is missing any more, and nothing is offered.
    assert_eq!(api.post("/v1/replays", plan).await.expect(200), json!({ "matched": 0 }));
    assert_eq!(api.get(&path).await.expect(200)["missed"], Value::Null);
}

#[tokio::test]
async fn failed_deliveries_are_sent_again_once_each_through_a_pause_and_a_crash() {
    const COUNT: usize = 40;
    let mut program = start().await;
    let (receiver, refuses) = refusing().await;
    let endpoint = endpoint_with_failures(&program, &receiver, COUNT).await;
    refuses.store(false, Ordering::SeqCst);
    let wish = json!({ "mode": "failed", "filter": { "endpoint": endpoint, "http_status": 400 },
        "rate_per_second": 10, "reason": "the customer fixed it" });
    let id = program.api().post("/v1/replays", wish).await.text("/id");
    receiver.wait_for(COUNT + 10).await;
    let api = program.api();
    assert_eq!(api.post(&format!("/v1/replays/{id}/pause"), json!({})).await.expect(200)["state"], "paused");
    program.crash_and_restart().await;
    let api = program.api();
    let paused = replay_stands(&api, &id, "paused").await;
    assert_eq!(paused["sent"].as_u64().unwrap() + paused["remaining"].as_u64().unwrap(), COUNT as u64);
    api.post(&format!("/v1/replays/{id}/resume"), json!({})).await.expect(200);
    receiver.wait_for(COUNT + 20).await;
    program.crash_and_restart().await;
    let api = program.api();
    let done = replay_stands(&api, &id, "completed").await;
    assert_eq!((&done["sent"], &done["delivered"]), (&json!(COUNT), &json!(COUNT)), "{done}");
    api.post(&format!("/v1/replays/{id}/cancel"), json!({})).await.problem(409, "conflict");

    let of_replay = api.get(&format!("/v1/deliveries?replay={id}&limit=250")).await.expect(200);
    let deliveries = of_replay["data"].as_array().unwrap();
    assert_eq!(deliveries.len(), COUNT);
    for delivery in deliveries {
        let mut triggers = BTreeMap::<String, usize>::new();
        for attempt in api.attempts_of(delivery).await {
            if attempt["error_class"] != "interrupted" {
                *triggers.entry(attempt["trigger"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        assert_eq!(triggers["replay"], 1, "{triggers:?}");
    }
}

#[tokio::test]
async fn a_canceled_replay_sends_no_more_and_one_whose_endpoint_is_paused_waits() {
    let program = start().await;
    let (receiver, refuses) = refusing().await;
    let endpoint = endpoint_with_failures(&program, &receiver, 30).await;
    refuses.store(false, Ordering::SeqCst);
    let api = program.api();
    let path = format!("/v1/tenants/acme/endpoints/{endpoint}");
    let wish = json!({ "mode": "failed", "filter": { "endpoint": endpoint }, "rate_per_second": 1 });
    let id = api.post("/v1/replays", wish.clone()).await.text("/id");
    receiver.wait_for(31).await;
    api.patch(&path, json!({ "status": "paused" })).await.expect(200);
    let waits = replay_stands(&api, &id, "paused").await;
    assert!(waits["detail"].as_str().unwrap().contains("not enabled"), "{waits}");
    api.patch(&path, json!({ "status": "enabled" })).await.expect(200);
    let canceled = api.post(&format!("/v1/replays/{id}/cancel"), json!({})).await.expect(200);
    assert_eq!((&canceled["state"], &canceled["remaining"]), (&json!("canceled"), &json!(0)));
    let sent = canceled["sent"].as_u64().unwrap();
    assert!((1..30).contains(&sent), "{canceled}");
    // What is left is still there to be replayed.
    let rest = api
        .post(
            "/v1/replays",
            json!({ "mode": "failed", "filter": { "endpoint": endpoint },
        "rate_per_second": 1000 }),
        )
        .await;
    assert_eq!(rest.expect(202)["matched"], 30 - sent);
    replay_stands(&api, &rest.text("/id"), "completed").await;
    let listed = api.get("/v1/replays?limit=1").await.expect(200);
    assert_eq!(listed["data"][0]["id"], rest.text("/id"));
    assert!(listed["next_cursor"].is_string());
}

/// The numbers of a replay, which always add up.
#[track_caller]
fn tally(replay: &Value) -> [u64; 6] {
    let parts = ["delivered", "failed", "waiting", "skipped", "withdrawn", "remaining"];
    let parts = parts.map(|name| replay[name].as_u64().unwrap_or_else(|| panic!("{name}: {replay}")));
    assert_eq!(replay["matched"], parts.iter().sum::<u64>(), "{replay}");
    let waits: u64 = replay["waiting_for"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(waits, parts[2], "{replay}");
    parts
}

#[tokio::test]
async fn the_numbers_of_a_replay_add_up_while_it_is_held_beside_others_and_when_it_is_canceled() {
    let program = start().await;
    let (receiver, refuses) = refusing().await;
    let endpoint = endpoint_with_failures(&program, &receiver, 20).await;
    let api = program.api();
    let path = format!("/v1/tenants/acme/endpoints/{endpoint}");
    let wish =
        |rate: u32| json!({ "mode": "failed", "filter": { "endpoint": endpoint }, "rate_per_second": rate });
    // Two that want the same: what one sends, the other passes over.
    let first = api.post("/v1/replays", wish(1)).await.text("/id");
    let second = api.post("/v1/replays", wish(1_000)).await;
    assert_eq!(second.expect(202)["matched"], 20);
    let [.., remaining] = tally(&second.expect(202));
    assert_eq!(remaining, 20);
    let all_sent = testkit::until("the second has sent everything", || async {
        let stands = api.get(&format!("/v1/replays/{}", second.text("/id"))).await.expect(200).clone();
        tally(&stands);
        (stands["remaining"] == 0).then_some(stands)
    })
    .await;
    let (sent, skipped) = (all_sent["sent"].as_u64().unwrap(), all_sent["skipped"].as_u64().unwrap());
    assert_eq!(sent + skipped, 20, "{all_sent}");
    assert!(skipped <= 2, "{all_sent}");
    // Paused, what was sent and not delivered waits for that.
    api.patch(&path, json!({ "status": "paused" })).await.expect(200);
    refuses.store(false, Ordering::SeqCst);
    let paused = api.get(&format!("/v1/replays/{first}")).await.expect(200);
    let waiting = tally(&paused)[2];
    if waiting > 0 {
        assert_eq!(paused["waiting_for"], json!({ "paused": waiting }));
    }
    for id in [first, second.text("/id")] {
        let canceled = api.post(&format!("/v1/replays/{id}/cancel"), json!({})).await;
        if canceled.status == 200 {
            let [.., remaining] = tally(&canceled.json());
            assert_eq!(remaining, 0);
        }
    }
}

#[tokio::test]
async fn a_canceled_replay_withdraws_what_has_not_gone_out() {
    let program = start().await;
    let (receiver, refuses) = refusing().await;
    let endpoint = endpoint_with_failures(&program, &receiver, 12).await;
    refuses.store(false, Ordering::SeqCst);
    let api = program.api();
    let path = format!("/v1/tenants/acme/endpoints/{endpoint}");
    // One call a second: all are sent by the replay at once, and wait for the limit.
    api.patch(&path, json!({ "rate_limit_per_second": 1 })).await.expect(200);
    let wish = json!({ "mode": "failed", "filter": { "endpoint": endpoint }, "rate_per_second": 1000 });
    let id = api.post("/v1/replays", wish).await.text("/id");
    receiver.wait_for(13).await;
    let canceled = api.post(&format!("/v1/replays/{id}/cancel"), json!({})).await.expect(200).clone();
    let [.., waiting, _, withdrawn, remaining] = tally(&canceled);
    assert_eq!(remaining, 0);
    assert!(withdrawn >= 8 && waiting <= 2, "{canceled}");
    // What was withdrawn stands as before, and is found by the next one.
    let wish = json!({ "mode": "failed", "filter": { "endpoint": endpoint }, "dry_run": true });
    assert_eq!(api.post("/v1/replays", wish).await.expect(200), json!({ "matched": withdrawn }));
}

#[tokio::test]
async fn a_replay_that_makes_no_sense_is_refused_and_changes_nothing() {
    let program = start().await;
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let api = program.api();
    api.create_tenant("acme").await;
    api.create_tenant("other").await;
    let (id, _) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let refused = async |wish: Value| api.post("/v1/replays", wish).await.problem(422, "invalid_request");
    assert_eq!(refused(json!({ "mode": "failed" })).await, ["/filter/endpoint"]);
    assert_eq!(
        refused(json!({ "mode": "missing", "filter": { "endpoint": id } })).await,
        ["/filter/endpoint"]
    );
    assert_eq!(refused(json!({ "mode": "failed", "to_endpoint": id })).await, ["/to_endpoint"]);
    assert_eq!(refused(json!({ "mode": "some", "filter": { "endpoint": id } })).await, ["/mode"]);
    let wrong = json!({ "mode": "missing", "to_endpoint": id, "rate_per_second": 0, "max": 0,
        "filter": { "http_status": 500, "type": "a b" } });
    assert_eq!(refused(wrong).await, ["/rate_per_second", "/max", "/filter/type", "/filter/http_status"]);
    let elsewhere = program.create_key(&["--project", "test", "--scopes", "*", "--tenant", "other"]).await;
    let wish = json!({ "mode": "all", "filter": { "endpoint": id } });
    let answer = program.api_with(&elsewhere).post("/v1/replays", wish).await;
    assert_eq!(answer.problem(422, "invalid_request"), ["/filter/endpoint"]);
    assert_eq!(api.get("/v1/replays").await.expect(200)["data"], json!([]));
}
