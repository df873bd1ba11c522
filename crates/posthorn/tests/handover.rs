//! What holds for an endpoint holds across its owners: two processes deliver on
//! one PostgreSQL database and are killed in turn.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::settings;
use model::clock::Timestamp;
use serde_json::{Value, json};
use testkit::{Api, Behaviour, Postgres, Program, Receiver, until};

/// One process that answers and two that deliver.
struct Processes {
    api: Program,
    dispatchers: Vec<Program>,
}

impl Processes {
    async fn start() -> Self {
        let url = Postgres::shared().new_database();
        let start = |role| settings().with("POSTHORN_LOG", "error").on(&url, role);
        let api = Program::start_first(start("api")).await;
        let key = api.api().key().to_owned();
        let mut dispatchers = Vec::new();
        for _ in 0..2 {
            dispatchers.push(Program::start_beside(start("dispatcher"), &key).await);
        }
        api.api().create_tenant("acme").await;
        Self { api, dispatchers }
    }

    /// Which process owns the only lane.
    async fn owner(&self) -> usize {
        until("one of them owns the lane", || async {
            for (number, dispatcher) in self.dispatchers.iter().enumerate() {
                let admin = dispatcher.admin();
                let answer = admin.try_send(admin.request("GET", "/metrics")).await.ok()?;
                if String::from_utf8(answer.bytes).ok()?.contains("posthorn_lanes_owned 1") {
                    return Some(number);
                }
            }
            None
        })
        .await
    }

    /// Kills the process that owns the only lane, and starts it again.
    async fn kill_the_owner(&mut self) {
        let owner = self.owner().await;
        self.dispatchers[owner].crash_and_restart().await;
    }

    /// Ends the process that owns the only lane in an orderly way, as a new
    /// version of it would be installed, and starts it again.
    async fn replace_the_owner(&mut self) {
        let owner = self.owner().await;
        assert_eq!(self.dispatchers[owner].stop().await, Some(0));
        self.dispatchers[owner].restart().await;
    }
}

async fn all_delivered(api: &Api, count: usize) -> Vec<Value> {
    until("all are delivered", || async {
        let page = api.get("/v1/deliveries?status=delivered&limit=250").await.expect(200);
        let delivered = page["data"].as_array().unwrap().clone();
        (delivered.len() == count).then_some(delivered)
    })
    .await
}

#[tokio::test]
async fn a_rate_is_not_exceeded_when_another_process_takes_over() {
    let mut processes = Processes::start().await;
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let api = processes.api.api();
    api.create_endpoint("acme", json!({ "url": receiver.url(), "rate_limit_per_second": 20 })).await;
    for n in 0..150 {
        api.publish("acme", "order.paid", &format!("ord_{n}")).await;
    }
    receiver.wait_for(40).await;
    processes.kill_the_owner().await;
    receiver.wait_for(80).await;
    processes.kill_the_owner().await;
    let received = receiver.wait_for(150).await;
    // Twenty in any second, what could be caught up of a tenth of one, and some for
    // a machine that stops for a moment, after which calls arrive together.
    for (n, first) in received.iter().enumerate() {
        let within =
            received[n..].iter().take_while(|other| other.at - first.at < Duration::from_millis(990));
        assert!(within.count() <= 30, "too many within a second of call {n}");
    }
}

#[tokio::test]
async fn a_rate_is_kept_over_a_minute_in_which_the_owner_is_replaced() {
    const RATE: usize = 10;
    const MINUTE: Duration = Duration::from_secs(60);
    let mut processes = Processes::start().await;
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let api = processes.api.api();
    api.create_endpoint("acme", json!({ "url": receiver.url(), "rate_limit_per_second": RATE })).await;
    for n in 0..RATE * 61 {
        api.publish("acme", "order.paid", &format!("ord_{n}")).await;
    }
    receiver.wait_for(RATE * 20).await;
    processes.replace_the_owner().await;
    receiver.wait_for(RATE * 40).await;
    processes.replace_the_owner().await;
    let first = receiver.received()[0].at;
    let in_a_minute = until("a minute has passed", || async {
        let received = receiver.received();
        let within = received.iter().take_while(|one| one.at - first < MINUTE).count();
        (first.elapsed() > MINUTE).then_some(within)
    })
    .await;
    println!("{in_a_minute} calls in a minute at {RATE} a second");
    let wanted = RATE * 60;
    assert!((wanted * 95..=wanted * 105).contains(&(in_a_minute * 100)), "{in_a_minute} calls in a minute");
}

#[tokio::test]
async fn the_order_of_a_key_holds_through_failures_and_take_overs() {
    const EVENTS: usize = 120;
    const KEYS: usize = 5;
    let mut processes = Processes::start().await;
    let count = AtomicUsize::new(0);
    // None fails so often that its followers are let go.
    let receiver = Receiver::start(move |request| {
        let early = ["1", "2", "3"].contains(&request.header("posthorn-attempt"));
        match count.fetch_add(1, Ordering::SeqCst) % 7 {
            0 if early => Behaviour::Answer(500),
            1 if early => Behaviour::Reset,
            _ => Behaviour::Late(Duration::from_millis(10)),
        }
    })
    .await;
    let api = processes.api.api();
    let policy =
        json!({ "name": "quick", "initial_seconds": 0.1, "multiplier": 1, "max_interval_seconds": 0.1 });
    api.post("/v1/retry-policies", policy).await.expect(201);
    let endpoint = json!({ "url": receiver.url(), "ordering": "per_key", "retry_policy": "quick" });
    api.create_endpoint("acme", endpoint).await;
    for n in 0..EVENTS {
        let event = json!({ "tenant": "acme", "type": "order.paid", "subject": format!("ord_{n}"),
            "ordering_key": format!("key_{}", n % KEYS), "data": {} });
        api.post("/v1/events", event).await.expect(202);
        if [30, 60, 90].contains(&n) {
            processes.kill_the_owner().await;
        }
    }
    let deliveries = all_delivered(&api, EVENTS).await;
    // By the log: the first attempt of each comes after the last one of all
    // before it in its key. One that ended late belongs to an owner that was killed.
    let mut spans: BTreeMap<usize, Vec<(usize, Timestamp, Timestamp)>> = BTreeMap::new();
    for delivery in &deliveries {
        let number: usize = delivery["subject"].as_str().unwrap()["ord_".len()..].parse().unwrap();
        let attempts = api.attempts_of(delivery).await;
        let times: Vec<Timestamp> = attempts
            .iter()
            .filter(|attempt| attempt["next_attempt_reason"] != "superseded")
            .map(|attempt| Timestamp::parse(attempt["started_at"].as_str().unwrap()).unwrap())
            .collect();
        spans.entry(number % KEYS).or_default().push((
            number,
            *times.first().unwrap(),
            *times.last().unwrap(),
        ));
    }
    assert_eq!(spans.len(), KEYS);
    for (key, mut of_key) in spans {
        of_key.sort();
        for pair in of_key.windows(2) {
            let ((before, _, last), (after, first, _)) = (pair[0], pair[1]);
            assert!(first >= last, "of key {key}, ord_{after} was sent before ord_{before} had arrived");
        }
    }
}
