//! An endpoint that comes and goes. This test takes as long as the outages.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod common;

use std::time::{Duration, Instant};

use common::start;
use model::clock::Timestamp;
use serde_json::{Value, json};
use testkit::{Api, Behaviour, Receiver};

/// How long it is down, and then up.
const PHASE: Duration = Duration::from_secs(30);
/// How long a call takes while it is up.
const CALL: Duration = Duration::from_millis(100);
/// When all has to be delivered: breakers wait longer and longer.
const LAST: Duration = Duration::from_secs(300);
/// How many events come in a phase.
const EVENTS: usize = 60;

/// In which phase something was; it is down in those of even numbers.
fn phase(began: Instant, at: Instant) -> usize {
    (at.duration_since(began).as_secs_f64() / PHASE.as_secs_f64()) as usize
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

async fn delivered(api: &Api) -> Vec<Value> {
    let page = api.get("/v1/deliveries?status=delivered&limit=250").await.expect(200);
    page["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_flapping_endpoint_is_probed_while_it_is_down_and_gets_everything_when_it_is_back() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let began = Instant::now();
    let receiver = Receiver::start(move |_| match phase(began, Instant::now()) {
        0 | 2 => Behaviour::Answer(503),
        _ => Behaviour::Late(CALL),
    })
    .await;
    let (id, _) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let health = format!("/v1/tenants/acme/endpoints/{id}/health");
    let mut due = tokio::time::interval(PHASE / EVENTS as u32);
    let mut longest = Duration::ZERO;
    let all = 3 * EVENTS;
    for n in 0.. {
        assert!(began.elapsed() < LAST, "not all are delivered");
        due.tick().await;
        if n < all {
            api.publish("acme", "order.paid", &format!("ord_{n}")).await;
        } else if delivered(&api).await.len() == all {
            break;
        }
        // How long the breaker waits at the moment.
        let stands = api.get(&health).await.expect(200);
        if let (Some(until), true) = (stands["held_until"].as_str(), n < all) {
            let now = api.get("/v1/events?limit=1").await.expect(200)["data"][0]["created_at"].clone();
            longest = longest.max(time(until).since(time(now.as_str().unwrap())));
        }
    }
    let received = receiver.received();
    let in_phase =
        |wanted: usize| received.iter().filter(move |one| phase(began, one.at) == wanted).collect::<Vec<_>>();
    for down in [0, 2] {
        // What opens the breaker, with what was under way then; after that, probes alone.
        assert!(in_phase(down).len() <= 20, "{} calls in an outage", in_phase(down).len());
    }
    // After each outage it begins again with one at a time, and each that succeeds
    // allows one more. A wait of the breaker may be longer than the first return.
    let after = |start: usize| received.iter().filter(move |one| phase(began, one.at) >= start);
    for calls in [in_phase(1), after(3).collect()] {
        for (window, first) in calls.iter().enumerate().take(4) {
            let together =
                calls[window..].iter().take_while(|one| one.at.duration_since(first.at) < CALL / 2);
            assert!(together.count() <= window + 2, "a burst at call {window} after an outage");
        }
    }
    let last = received.last().unwrap().at.duration_since(began + 3 * PHASE);
    assert!(
        last <= 2 * longest,
        "the last arrived {last:?} after the return; the longest wait was {longest:?}"
    );
    let mut probed = Vec::new();
    for delivery in delivered(&api).await {
        for attempt in api.attempts_of(&delivery).await {
            if attempt["trigger"] == "probe" && attempt["error_class"] != "none" {
                probed.push(delivery["id"].clone());
            }
        }
    }
    probed.dedup();
    assert!(probed.len() >= 2, "probes are not always the same delivery: {probed:?}");
    println!("calls in each phase: {:?}", [0, 1, 2, 3].map(|phase| in_phase(phase).len()));
    println!(
        "all had arrived {last:?} after the last return; the longest wait of the breaker was {longest:?}"
    );
}
