//! A database with a synchronous standby, whose machine is lost: what was
//! acknowledged is there after the failover, and what is not safe yet is not
//! acknowledged.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::load::{self, Acknowledged, Client};
use common::settings;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use testkit::{Answer, Api, Behaviour, Postgres, Program, Proxy, Received, Receiver, until};
use tokio::sync::watch;

/// A server with a standby, without which nothing is committed, and Posthorn on
/// it.
struct Scene {
    primary: Postgres,
    standby: Postgres,
    database: String,
    program: Program,
}

impl Scene {
    async fn start() -> Self {
        let primary = Postgres::start(&[("fsync", "off"), ("synchronous_standby_names", "*")]);
        let standby = primary.standby();
        let url = primary.new_database();
        let start = settings().on(&url, "all").with("POSTHORN_LOG", "error");
        let program = Program::start_first(start).await;
        let api = program.api();
        api.create_tenant("acme").await;
        // Connections are made when they are wanted first.
        api.publish("acme", "order.paid", "ord_0").await;
        let database = url.rsplit('/').next().unwrap().to_owned();
        Self { primary, standby, database, program }
    }

    /// Sends a request while the standby is away, breaks off by this function
    /// the waits of commits for it until the primary has what this statement
    /// counts, and gives the answer.
    async fn answer_to(&self, request: RequestBuilder, function: &str, count: &str) -> Answer {
        self.standby.crash();
        let break_off = format!(
            "SELECT count({function}(pid)) FROM pg_stat_activity \
             WHERE application_name = 'posthorn' AND wait_event = 'SyncRep' \
             AND clock_timestamp() - state_change > interval '200 ms'"
        );
        let is_there = until("the primary has it", || async {
            self.primary.sql(&self.database, &break_off);
            (self.primary.sql(&self.database, count) == "1").then_some(())
        });
        let api = self.program.api();
        tokio::join!(api.send(request), is_there).0
    }
}

fn event() -> Value {
    json!({ "tenant": "acme", "type": "order.paid", "subject": "ord_1", "data": {} })
}

fn publish(api: &Api) -> RequestBuilder {
    api.request("POST", "/v1/events").header("idempotency-key", "outbox-1").json(&event())
}

/// Whoever breaks off the wait, the publisher is told 202 only when the standby
/// has the event, also when it asks again with its key.
async fn is_acknowledged_with_the_standby_alone(function: &str) {
    let scene = Scene::start().await;
    let api = scene.program.api();
    let count = "SELECT count(*) FROM events WHERE subject = 'ord_1'";
    scene.answer_to(publish(&api), function, count).await.problem(503, "unavailable");
    api.send(publish(&api)).await.problem(503, "unavailable");
    scene.standby.resume();
    until("the event is acknowledged", || async {
        (api.send(publish(&api)).await.status == 202).then_some(())
    })
    .await;
    assert_eq!(scene.standby.sql(&scene.database, count), "1", "the standby has it");
    scene.primary.crash();
    scene.standby.promote();
    assert_eq!(scene.standby.sql(&scene.database, count), "1", "it is there after the failover");
}

#[tokio::test]
async fn an_event_that_one_machine_has_is_not_acknowledged_when_its_connection_ended() {
    is_acknowledged_with_the_standby_alone("pg_terminate_backend").await;
}

#[tokio::test]
async fn an_event_that_one_machine_has_is_not_acknowledged_when_its_wait_was_cancelled() {
    is_acknowledged_with_the_standby_alone("pg_cancel_backend").await;
}

#[tokio::test]
async fn a_change_that_one_machine_has_is_not_answered_and_not_when_it_is_asked_for_again() {
    for function in ["pg_terminate_backend", "pg_cancel_backend"] {
        let scene = Scene::start().await;
        let api = scene.program.api();
        let create = || {
            let request = api.request("POST", "/v1/tenants").header("idempotency-key", "tenant-2");
            request.json(&json!({ "id": "other" }))
        };
        let count = "SELECT count(*) FROM tenants WHERE handle = 'other'";
        scene.answer_to(create(), function, count).await.problem(503, "unavailable");
        api.send(create()).await.problem(503, "unavailable");
        scene.standby.resume();
        until("the change is answered", || async {
            Some(api.send(create()).await).filter(|answer| answer.status == 201)
        })
        .await;
        assert_eq!(scene.standby.sql(&scene.database, count), "1", "the standby has it");
    }
}

/// The address of a database on several servers.
fn on_all(url: &str, servers: &[&Postgres]) -> String {
    let name = url.rsplit('/').next().unwrap();
    let hosts: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
    format!("postgres://postgres@{}/{name}?target_session_attrs=read-write", hosts.join(","))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_in_the_list_is_passed_over_and_found_when_it_is_promoted() {
    let primary = Postgres::start(&[("fsync", "off")]);
    let standby = primary.standby();
    let url = on_all(&primary.new_database(), &[&standby, &primary]);
    let start = settings().on(&url, "all").with("POSTHORN_LOG", "error");
    let program = Program::start_first(start).await;
    let api = program.api();
    api.create_tenant("acme").await;
    api.publish("acme", "order.paid", "ord_1").await;
    primary.wait_for_standby().await;
    // A publish that comes while no server writes waits for the one that will.
    primary.crash();
    let request = api.request("POST", "/v1/events").json(&event());
    let promoted = async {
        api.until_not_ready().await;
        tokio::task::spawn_blocking(move || {
            standby.promote();
            standby
        })
        .await
        .unwrap()
    };
    let (answer, _standby) = tokio::join!(api.send(request), promoted);
    answer.expect(202);
    api.until_ready().await;
    api.post("/v1/tenants", json!({ "id": "other" })).await.expect(201);
    assert_eq!(api.get("/v1/events").await.expect(200)["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_list_of_hosts_that_cannot_be_used_says_what_each_host_is() {
    let server = Postgres::start(&[("fsync", "off")]);
    let standby = server.standby();
    let url = server.url("postgres");
    let nobody = Receiver::refusing().await;
    let refusal = async |url: &str| {
        let output = testkit::run(&settings().on(url, "all"), &["serve"]).await;
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let message =
        refusal(&format!("postgres://postgres@{nobody},127.0.0.1:{}/postgres", standby.port())).await;
    assert!(message.contains("no PostgreSQL server of the list can be written to"), "{message}");
    assert!(message.contains(&format!("{nobody} cannot connect")), "{message}");
    assert!(message.contains(&format!("127.0.0.1:{} is a standby", standby.port())), "{message}");
    let message =
        refusal(&url.replace(&format!("{}/", server.port()), &format!("{},/", server.port()))).await;
    assert!(message.contains("none empty"), "{message}");
    let message = refusal(&format!("{url}?target_session_attrs=any")).await;
    assert!(message.contains("target_session_attrs"), "{message}");
}

#[tokio::test]
async fn with_two_machines_asked_for_nothing_is_acknowledged_on_one_and_operators_are_told() {
    let primary = Postgres::start(&[("fsync", "off")]);
    let url = primary.new_database();
    let name = url.rsplit('/').next().unwrap();
    let start = settings().on(&url, "all").with("POSTHORN_LOG", "off");
    let start = start.with("POSTHORN_DURABILITY", "two-machines");
    let program = Program::start_first(start).await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let operators = json!({ "url": receiver.url(), "event_types": ["durability.*"] });
    api.post("/v1/operational-endpoints", operators).await.expect(201);
    api.create_tenant("acme").await;
    let standbys = || async {
        let metrics = String::from_utf8(program.admin().get("/metrics").await.bytes).unwrap();
        let line = metrics.lines().find_map(|line| line.strip_prefix("posthorn_synchronous_standbys "));
        line.unwrap().to_owned()
    };

    // Nothing is waited for, so nothing is promised.
    let lacks = "PostgreSQL waits for no standby: synchronous_standby_names is empty";
    let not_ready = api.get("/readyz").await;
    not_ready.problem(503, "unavailable");
    assert!(not_ready.text("/detail").contains(lacks), "{}", not_ready.text("/detail"));
    let refused = api.post("/v1/events", event()).await;
    refused.problem(503, "unavailable");
    assert!(refused.text("/detail").contains(lacks), "{}", refused.text("/detail"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(primary.sql(name, "SELECT count(*) FROM events"), "0");
    assert_eq!(standbys().await, "0");

    let standby = primary.standby();
    primary.set("synchronous_standby_names", "*");
    let accepted = until("the standby is there", || async {
        Some(api.post("/v1/events", event()).await).filter(|answer| answer.status == 202)
    })
    .await;
    assert_eq!(accepted.json()["sequence"], 1);
    api.until_ready().await;
    assert_eq!(standbys().await, "1");
    let told = |received: Vec<Received>| {
        received
            .iter()
            .map(|request| serde_json::from_slice::<Value>(&request.body).unwrap())
            .collect::<Vec<_>>()
    };
    let told = told(receiver.wait_for(2).await);
    let one = |event_type: &str| told.iter().find(|event| event["type"] == event_type).unwrap();
    assert_eq!(one("durability.degraded")["data"]["why"], lacks);
    assert!(one("durability.restored")["data"]["until"].is_string());

    // It goes again: nothing is acknowledged, and nobody waits for long to be told so.
    standby.crash();
    until("it is noticed that the standby is gone", || async {
        let refused = api.post("/v1/events", event()).await;
        let why = refused.json()["detail"].as_str().unwrap_or_default().to_owned();
        why.contains("no synchronous standby of PostgreSQL is there").then_some(())
    })
    .await;
    assert_eq!(standbys().await, "0");
    standby.resume();
    until("events are acknowledged again", || async {
        (api.post("/v1/events", event()).await.status == 202).then_some(())
    })
    .await;

    // Somebody tells PostgreSQL not to wait any more: not one event is acknowledged from then on.
    primary.set("synchronous_standby_names", "");
    api.post("/v1/events", event()).await.problem(503, "unavailable");
}

#[tokio::test]
async fn two_machines_are_refused_where_they_cannot_be_seen_or_cannot_be() {
    let server = Postgres::shared();
    let url = server.new_database();
    let two = |start: testkit::Start| start.with("POSTHORN_DURABILITY", "two-machines");
    testkit::migrate(&settings().on(&url, "all")).await;
    let name = url.rsplit('/').next().unwrap();
    let guest = format!("guest_of_{name}");
    server.sql(
        name,
        &format!("CREATE ROLE {guest} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {guest}"),
    );
    let limited = url.replace("postgres@", &format!("{guest}@"));
    let refusal = async |start: testkit::Start| {
        let output = testkit::run(&two(start), &["serve"]).await;
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let message = refusal(settings().on(&limited, "all")).await;
    assert!(message.contains("GRANT pg_read_all_stats"), "{message}");
    let embedded = testkit::Start { store: testkit::Store::Embedded, ..settings() };
    let message = refusal(embedded.clone()).await;
    assert!(message.contains("the embedded store is on one machine"), "{message}");
    let output = testkit::run(&embedded.with("POSTHORN_DURABILITY", "three-machines"), &["serve"]).await;
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("two-machines"), "{message}");
}

/// How often the primary is lost: three times, or as `scripts/failover` says.
fn losses() -> usize {
    std::env::var("POSTHORN_TEST_FAILOVERS").map_or(3, |text| text.parse().unwrap())
}

/// The tenant whose endpoint gets the events of each client in their order.
const IN_ORDER: &str = "ada";
const TENANTS: [&str; 3] = [IN_ORDER, "ben", "cyd"];
/// Clients that publish at the same time.
const CLIENTS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_however_often_the_primary_is() {
    let mut primary = Postgres::start(&[("fsync", "off"), ("synchronous_standby_names", "*")]);
    let mut standby = primary.standby();
    let url = on_all(&primary.new_database(), &[&primary, &standby]);
    let start = settings().on(&url, "all").with("POSTHORN_LOG", "error");
    let first = Program::start_first(start.clone()).await;
    let second = Program::start_beside(start, first.api().key()).await;
    let receiver =
        Receiver::start(|request| Behaviour::Answer(if load::is_refused(request) { 503 } else { 200 })).await;
    let api = first.api();
    let mut secrets = Vec::new();
    for tenant in TENANTS {
        api.create_tenant(tenant).await;
        let ordering = if tenant == IN_ORDER { "per_key" } else { "none" };
        let endpoint = json!({ "url": format!("{}/{tenant}", receiver.url()), "ordering": ordering });
        secrets.push((tenant, api.create_endpoint(tenant, endpoint).await.1));
    }
    let secrets: Vec<(&str, &str)> = secrets.iter().map(|(name, secret)| (*name, secret.as_str())).collect();

    let (_servers, present) = watch::channel(vec![first.api(), second.api()]);
    let stop = Arc::new(AtomicBool::new(false));
    let (count, acknowledged) = watch::channel(0);
    let count = Arc::new(count);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| Client {
            number,
            tenants: TENANTS.map(str::to_owned).to_vec(),
            pause: Some(Duration::from_millis(20)),
            servers: present.clone(),
            stop: Arc::clone(&stop),
            acknowledged: Arc::clone(&count),
        })
        .map(|client| tokio::spawn(client.publish()))
        .collect();
    // Whoever waits for more hears of it when the last client ends.
    drop(count);
    let watching = tokio::spawn(longest_silence(acknowledged.clone()));

    let began = Instant::now();
    for loss in 1..=losses() {
        // The next loss comes when there was time for more to go wrong.
        let wanted = *acknowledged.borrow() + 100;
        acknowledged.clone().wait_for(|count| *count >= wanted).await.unwrap();
        let lost = Instant::now();
        let port = primary.port();
        primary.crash();
        drop(primary);
        standby.promote();
        let promoted = lost.elapsed();
        primary = standby;
        standby = primary.standby_at(port);
        let rebuilt = lost.elapsed();
        let wanted = *acknowledged.borrow() + CLIENTS + 1;
        acknowledged.clone().wait_for(|count| *count >= wanted).await.unwrap();
        println!(
            "loss {loss}: promoted after {promoted:.1?}, a new standby after {rebuilt:.1?}, acknowledged again after {:.1?}",
            lost.elapsed()
        );
    }
    stop.store(true, Ordering::SeqCst);
    let mut all = Acknowledged::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    let rate = all.len() as f64 / began.elapsed().as_secs_f64();
    load::audit(&first.api(), &receiver, &secrets, &all).await;
    let received = receiver.received();
    arrived_in_order(&received);
    println!(
        "{} events acknowledged, none lost; {rate:.0} in a second; longest silence {:.1?}; {} calls came again",
        all.len(),
        watching.await.unwrap(),
        calls_that_came_again(&received, &first.api()).await,
    );
    drop(standby);
}

/// The longest time in which nothing was acknowledged, until all clients have
/// ended.
async fn longest_silence(mut acknowledged: watch::Receiver<usize>) -> Duration {
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    while acknowledged.changed().await.is_ok() {
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    longest
}

/// Each client publishes one event after the other, and its events have one
/// ordering key: their numbers grow where the endpoint asks for order.
#[track_caller]
fn arrived_in_order(received: &[Received]) {
    let mut last: HashMap<String, u32> = HashMap::new();
    let arrived = received.iter().filter(|request| !load::is_refused(request));
    let mut seen = 0;
    for request in arrived.filter(|request| request.path.ends_with(IN_ORDER)) {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let subject = body["subject"].as_str().unwrap();
        let (client, number) = subject.rsplit_once('-').unwrap();
        let number: u32 = number.parse().unwrap();
        let last = last.entry(client.to_owned()).or_default();
        assert!(number >= *last, "{subject} arrived after number {last}");
        *last = number;
        seen += 1;
    }
    assert!(seen > 0, "something was to be in order");
}

/// How many calls came again after one that was answered with success: each was
/// in the hands of a process that was given up, and says so.
async fn calls_that_came_again(received: &[Received], api: &Api) -> usize {
    let mut successes: BTreeMap<&str, usize> = BTreeMap::new();
    for request in received.iter().filter(|request| !load::is_refused(request)) {
        *successes.entry(request.header("posthorn-delivery")).or_default() += 1;
    }
    let mut count = 0;
    for (delivery, times) in successes.into_iter().filter(|(_, times)| *times > 1) {
        let attempts = api.get(&format!("/v1/deliveries/{delivery}/attempts")).await.expect(200);
        let known = |attempt: &Value| {
            attempt["error_class"] == "interrupted" || attempt["next_attempt_reason"] == "superseded"
        };
        assert!(
            attempts["data"].as_array().unwrap().iter().any(known),
            "{delivery} was delivered {times} times without a take-over"
        );
        count += times - 1;
    }
    count
}

/// A process whose connection breaks, and whose event another process has
/// published meanwhile under the same key, goes on.
#[tokio::test]
async fn a_key_that_another_process_used_while_the_wire_was_cut_stops_nobody() {
    let primary = Postgres::start(&[("fsync", "off")]);
    let standby = primary.standby();
    let wire = Proxy::to(primary.port()).await;
    let url = primary.new_database();
    let cut_off = on_all(&url, &[&standby]).replace("@", &format!("@127.0.0.1:{},", wire.port()));
    let start = |url: &str| settings().on(url, "api").with("POSTHORN_LOG", "off");
    let near = Program::start_first(start(&url)).await;
    let far = Program::start_beside(start(&cut_off), near.api().key()).await;
    let (near, far) = (near.api(), far.api());
    near.create_tenant("acme").await;
    until("both can publish", || async {
        (far.post("/v1/events", event()).await.status == 202).then_some(())
    })
    .await;
    wire.stall();
    let first = tokio::spawn({
        let (far, request) = (far.clone(), publish(&far));
        async move { far.send(request).await }
    });
    far.until_not_ready().await;
    let published = near.send(publish(&near)).await;
    published.expect(202);
    wire.resume();
    wire.cut();
    let repeated = until("it is told what the other process was told", || async {
        Some(far.send(publish(&far)).await).filter(|answer| answer.status == 202)
    })
    .await;
    assert_eq!(repeated.text("/id"), published.text("/id"));
    let first = first.await.unwrap();
    assert!(first.status == 503 || first.text("/id") == published.text("/id"), "{first:?}");
    far.post("/v1/events", event()).await.expect(202);
}
