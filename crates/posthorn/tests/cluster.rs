//! Several processes on one PostgreSQL database, while everything breaks.
//!
//! Two processes answer requests and two deliver. They are killed, stopped
//! beyond their heartbeat and let go on; the database is crashed, its
//! connections are ended, cut and stalled. In the end everything is audited
//! from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod common;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::load::{self, Acknowledged, Client};
use common::settings;
use model::entropy::{Entropy as _, SeededEntropy};
use serde_json::json;
use testkit::{Api, Behaviour, Postgres, Program, Proxy, Receiver, until};
use tokio::sync::watch;

/// Clients that publish at the same time.
const CLIENTS: usize = 8;
/// Customers, each with an endpoint.
const TENANTS: [&str; 6] = ["ada", "ben", "cyd", "dot", "eve", "fay"];
/// How long the receiver takes to answer.
const ANSWER_AFTER: Duration = Duration::from_millis(15);
/// Each kind of fault happens so often.
const ROUNDS: usize = 2;

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    KillApi(usize),
    KillDispatcher(usize),
    StopDispatcher,
    CrashDatabase,
    EndConnections,
    CutTheWire,
    StallTheWire,
}

const FAULTS: [Fault; 9] = [
    Fault::KillApi(0),
    Fault::KillApi(1),
    Fault::KillDispatcher(0),
    Fault::KillDispatcher(1),
    Fault::StopDispatcher,
    Fault::CrashDatabase,
    Fault::EndConnections,
    Fault::CutTheWire,
    Fault::StallTheWire,
];

/// Deliveries that came again while the receiver had not answered yet.
#[derive(Debug, Default)]
struct Overlaps {
    last: HashMap<String, Instant>,
    twice: HashSet<String>,
}

struct Cluster {
    database: Postgres,
    name: String,
    wire: Proxy,
    apis: Vec<Program>,
    dispatchers: Vec<Program>,
    servers: watch::Sender<Vec<Api>>,
}

impl Cluster {
    async fn start() -> Self {
        let database = Postgres::start(&[("fsync", "off")]);
        let direct = database.new_database();
        let wire = Proxy::to(database.port()).await;
        let url = direct.replace(&format!(":{}/", database.port()), &format!(":{}/", wire.port()));
        let start = |role| settings().with("POSTHORN_LOG", "error").on(&url, role);
        let first = Program::start_first(start("api")).await;
        let key = first.api().key().to_owned();
        let mut apis = vec![first];
        apis.push(Program::start_beside(start("api"), &key).await);
        let mut dispatchers = Vec::new();
        for _ in 0..2 {
            dispatchers.push(Program::start_beside(start("dispatcher"), &key).await);
        }
        let (servers, _) = watch::channel(apis.iter().map(Program::api).collect());
        let name = direct.rsplit('/').next().unwrap().to_owned();
        Self { database, name, wire, apis, dispatchers, servers }
    }

    async fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::KillApi(which) => {
                self.apis[which].crash_and_restart().await;
                self.servers.send_replace(self.apis.iter().map(Program::api).collect());
            }
            Fault::KillDispatcher(which) => self.dispatchers[which].crash_and_restart().await,
            Fault::StopDispatcher => {
                let which = self.busier_dispatcher().await;
                self.known_processes(2).await;
                self.dispatchers[which].signal("STOP").await;
                self.known_processes(1).await;
                self.dispatchers[which].signal("CONT").await;
                let stopped = self.dispatchers[which].admin();
                until("the stopped one learns that it was given up", || async {
                    (metric(&stopped, "posthorn_process_given_up_total").await? > 0.0).then_some(())
                })
                .await;
            }
            Fault::CrashDatabase => self.database.crash_and_restart(),
            Fault::EndConnections => {
                let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                              WHERE application_name = 'posthorn'";
                self.database.sql("postgres", others);
            }
            Fault::CutTheWire => self.wire.cut(),
            Fault::StallTheWire => {
                self.wire.stall();
                let api = self.apis[0].api();
                api.until_not_ready().await;
                self.wire.resume();
            }
        }
    }

    /// Which of the two has more lanes: stopping the other one would show nothing.
    async fn busier_dispatcher(&self) -> usize {
        let mut owned = [0.0; 2];
        for (owned, dispatcher) in owned.iter_mut().zip(&self.dispatchers) {
            let admin = dispatcher.admin();
            *owned = until("the dispatcher tells its lanes", || metric(&admin, "posthorn_lanes_owned")).await;
        }
        usize::from(owned[1] > owned[0])
    }

    /// Waits until so many processes have a heartbeat, by the database.
    async fn known_processes(&self, count: usize) {
        until("as many processes as there should be", || async {
            (self.database.sql(&self.name, "SELECT count(*) FROM processes") == count.to_string())
                .then_some(())
        })
        .await;
    }
}

/// A figure of the operators' listener.
async fn metric(admin: &Api, name: &str) -> Option<f64> {
    let answer = admin.try_send(admin.request("GET", "/metrics")).await.ok()?;
    let text = String::from_utf8(answer.bytes).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_whatever_breaks() {
    let mut cluster = Cluster::start().await;
    let overlaps = Arc::new(Mutex::new(Overlaps::default()));
    let seen = Arc::clone(&overlaps);
    let receiver = Receiver::start(move |request| {
        let delivery = request.header("posthorn-delivery").to_owned();
        let mut seen = seen.lock().unwrap();
        let now = Instant::now();
        if let Some(before) = seen.last.insert(delivery.clone(), now)
            && now.duration_since(before) < ANSWER_AFTER
        {
            seen.twice.insert(delivery);
        }
        if load::is_refused(request) { Behaviour::Answer(503) } else { Behaviour::Late(ANSWER_AFTER) }
    })
    .await;
    let api = cluster.apis[0].api();
    let mut secrets = Vec::new();
    for tenant in TENANTS {
        api.create_tenant(tenant).await;
        let url = format!("{}/{tenant}", receiver.url());
        secrets.push((tenant, api.create_endpoint(tenant, json!({ "url": url })).await.1));
    }
    let secrets: Vec<(&str, &str)> =
        secrets.iter().map(|(tenant, secret)| (*tenant, secret.as_str())).collect();

    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(watch::channel(0).0);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| Client {
            number,
            tenants: TENANTS.map(str::to_owned).to_vec(),
            pause: Some(Duration::from_millis(20)),
            servers: cluster.servers.subscribe(),
            stop: Arc::clone(&stop),
            acknowledged: Arc::clone(&count),
        })
        .map(|client| tokio::spawn(client.publish()))
        .collect();

    let chance = SeededEntropy::new(20_261_121);
    let mut all = Acknowledged::new();
    for round in 0..ROUNDS {
        let mut faults = FAULTS.to_vec();
        while !faults.is_empty() {
            let fault = faults.swap_remove((chance.fraction() * faults.len() as f64) as usize);
            cluster.suffer(fault).await;
            let began = Instant::now();
            all.extend(every_tenant_is_served(&cluster, &receiver, round, fault).await);
            println!("{fault:?}: every tenant is served again after {:?}", began.elapsed());
        }
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        all.extend(client.await.unwrap());
    }
    let api = cluster.apis[0].api();
    load::audit(&api, &receiver, &secrets, &all).await;

    let twice = std::mem::take(&mut overlaps.lock().unwrap().twice);
    for delivery in &twice {
        let attempts = api.get(&format!("/v1/deliveries/{delivery}/attempts")).await.expect(200);
        let taken_over = |attempt: &serde_json::Value| attempt["error_class"] == "interrupted";
        let late = |attempt: &serde_json::Value| attempt["next_attempt_reason"] == "superseded";
        assert!(
            attempts["data"].as_array().unwrap().iter().any(|attempt| taken_over(attempt) || late(attempt)),
            "{delivery} was under way twice without a take-over"
        );
    }
    println!("{} events, {} of them under way twice after a take-over", all.len(), twice.len());
}

/// Publishes an event for each tenant, and waits until all have arrived.
async fn every_tenant_is_served(
    cluster: &Cluster,
    receiver: &Receiver,
    round: usize,
    fault: Fault,
) -> Acknowledged {
    let mut told = Acknowledged::new();
    for tenant in TENANTS {
        let key = format!("after-{fault:?}-{round}-{tenant}");
        let event = json!({
            "tenant": tenant, "type": "order.paid", "subject": key, "idempotency_key": key, "data": {},
        });
        let id = until("an event is accepted", || async {
            let api = cluster.apis[1].api();
            let answer = api.try_send(api.request("POST", "/v1/events").json(&event)).await.ok()?;
            (answer.status == 202).then(|| answer.text("/id"))
        })
        .await;
        told.insert(key, id);
    }
    until("the events arrive", || async {
        let received = receiver.received();
        let arrived: HashSet<&str> = received.iter().map(|request| request.header("webhook-id")).collect();
        told.values().all(|id| arrived.contains(id.as_str())).then_some(())
    })
    .await;
    told
}

/// One process that answers and one that delivers, with an endpoint of `acme`.
struct Pair {
    database: String,
    api: Program,
    _dispatcher: Program,
    receiver: Receiver,
    endpoint: String,
}

impl Pair {
    async fn start(status: &str) -> Self {
        let url = Postgres::shared().new_database();
        let start = |role| settings().on(&url, role);
        let api = Program::start_first(start("api")).await;
        let dispatcher = Program::start_beside(start("dispatcher"), api.api().key()).await;
        let receiver = Receiver::always(Behaviour::Answer(204)).await;
        api.api().create_tenant("acme").await;
        let new = json!({ "url": receiver.url(), "status": status });
        let (endpoint, _) = api.api().create_endpoint("acme", new).await;
        let database = url.rsplit('/').next().unwrap().to_owned();
        Self { database, api, _dispatcher: dispatcher, receiver, endpoint }
    }

    fn sql(&self, statement: &str) -> String {
        Postgres::shared().sql(&self.database, statement)
    }
}

#[tokio::test]
async fn what_was_held_goes_out_when_another_process_enables_the_endpoint() {
    let pair = Pair::start("paused").await;
    let api = pair.api.api();
    let path = format!("/v1/tenants/acme/endpoints/{}", pair.endpoint);
    for round in 1..=5 {
        api.publish("acme", "order.paid", "held").await;
        api.patch(&path, json!({ "status": "enabled" })).await.expect(200);
        pair.receiver.wait_for(round).await;
        api.patch(&path, json!({ "status": "paused" })).await.expect(200);
    }
}

#[tokio::test]
async fn work_that_its_owner_was_not_told_of_is_found() {
    let pair = Pair::start("enabled").await;
    let api = pair.api.api();
    let event = api.publish("acme", "order.paid", "ord_1").await;
    api.delivery_with_status(&event, "delivered").await;
    // As if the process that replays it had died before it could tell.
    pair.sql(
        "WITH d AS (DELETE FROM deliveries RETURNING *) INSERT INTO waiting (id, project, tenant, endpoint, \
         event, due_at, schedule_since, created_at, updated_at, attempts, tries, rejections, status, trigger, payload) \
         SELECT id, project, tenant, endpoint, event, 1, created_at, created_at, created_at, attempts, 0, 0, 0, 1, \
         payload FROM d",
    );
    pair.receiver.wait_for(2).await;
}

#[tokio::test]
async fn a_lane_that_was_taken_without_an_answer_is_given_back() {
    let pair = Pair::start("enabled").await;
    until("the dispatcher has joined", || async {
        (pair.sql("SELECT count(*) FROM processes") == "1").then_some(())
    })
    .await;
    // As if the connection had ended between the commit and its answer.
    pair.sql("UPDATE lanes SET owner = (SELECT id FROM processes), epoch = epoch + 1, wake_at = 0");
    pair.api.api().publish("acme", "order.paid", "ord_1").await;
    pair.receiver.wait_for(1).await;
}

#[tokio::test]
async fn a_portal_session_is_opened_and_revoked_in_one_process_and_so_in_all() {
    let url = Postgres::shared().new_database();
    let one = Program::start_first(settings().on(&url, "api")).await;
    let other = Program::start_beside(settings().on(&url, "api"), one.api().key()).await;
    let (one, other_api) = (one.api(), other.api());
    one.create_tenant("acme").await;
    let opened = one.post("/v1/tenants/acme/portal-sessions", json!({})).await;
    opened.expect(201);
    // Known at once: whoever is not known here is looked for.
    let code = opened.text("/url").split_once("#code=").unwrap().1.to_owned();
    let exchange = format!("/v1/portal-sessions/{}/exchange", opened.text("/id"));
    let exchanged = other_api.post(&exchange, json!({ "code": code })).await;
    exchanged.expect(200);
    one.post(&exchange, json!({ "code": code })).await.problem(401, "unauthenticated");
    let sessions = [opened.text("/token"), exchanged.text("/token")].map(|token| other.api_with(&token));
    for session in &sessions {
        session.get("/v1/deliveries").await.expect(200);
    }
    one.post("/v1/tenants/acme/portal-sessions/end-all", json!({})).await.expect(200);
    for session in &sessions {
        until("the session has ended there, too", || async {
            (session.get("/v1/deliveries").await.status == 401).then_some(())
        })
        .await;
    }
}
