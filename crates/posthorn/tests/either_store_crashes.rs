//! Nothing acknowledged is lost.
//!
//! Many clients publish to the real program while it is killed with SIGKILL
//! at random moments, and started again. In the end everything is audited
//! from outside: what was acknowledged against what arrived.
//!
//! That this test can fail was shown with a build that answers before it
//! commits (in `sqlite/writer.rs`, publishes answered just before
//! `self.commit`): two runs of two ended with "not within 60s: every
//! acknowledged event arrives". Killing at some time after an answer did not
//! find it; killing at the very moment of an answer does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod common;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use common::load::{self, Acknowledged, Client};
use common::settings;
use model::entropy::{Entropy as _, SeededEntropy};
use serde_json::json;
use testkit::{Behaviour, Program, Receiver};
use tokio::sync::watch;

/// How often the program is killed.
const KILLS: usize = 60;
/// Clients that publish at the same time.
const CLIENTS: usize = 12;

#[tokio::test]
async fn every_acknowledged_event_arrives_however_often_the_program_is_killed() {
    let mut program = Program::start(settings()).await;
    // One event in ten is refused at first, so that retries are cut short too.
    let receiver =
        Receiver::start(|request| Behaviour::Answer(if load::is_refused(request) { 503 } else { 200 })).await;
    let api = program.api();
    api.create_tenant("acme").await;
    let (_, secret) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;

    let (server, present) = watch::channel(vec![api]);
    let stop = Arc::new(AtomicBool::new(false));
    let (count, mut acknowledged) = watch::channel(0);
    let count = Arc::new(count);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| Client {
            number,
            tenants: vec!["acme".to_owned()],
            pause: None,
            servers: present.clone(),
            stop: Arc::clone(&stop),
            acknowledged: Arc::clone(&count),
        })
        .map(|client| tokio::spawn(client.publish()))
        .collect();
    let moments = SeededEntropy::new(20_261_121);
    for _ in 0..KILLS {
        // The very moment at which a client is told "accepted" is the worst
        // one to die at, if that was said too early.
        let wanted = *acknowledged.borrow() + 1 + (moments.fraction() * 60.0) as usize;
        acknowledged.wait_for(|count| *count >= wanted).await.unwrap();
        program.crash_and_restart().await;
        server.send_replace(vec![program.api()]);
    }
    stop.store(true, Ordering::SeqCst);
    let mut all = Acknowledged::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    assert!(all.len() >= KILLS, "only {} events were acknowledged", all.len());
    load::audit(&program.api(), &receiver, &[("acme", &secret)], &all).await;
}

#[tokio::test]
async fn an_event_for_many_endpoints_reaches_each_of_them_although_the_program_is_killed() {
    const ENDPOINTS: usize = 400;
    const EVENTS: usize = 8;
    let mut program = Program::start(settings().with("POSTHORN_MAX_ENDPOINTS_PER_TENANT", "400")).await;
    // At which paths each event has arrived.
    let arrived: Arc<Mutex<HashMap<String, HashSet<String>>>> = Arc::default();
    let to = Arc::clone(&arrived);
    let receiver = Receiver::start(move |request| {
        let event = request.header("webhook-id").to_owned();
        to.lock().unwrap().entry(event).or_default().insert(request.path.clone());
        Behaviour::Answer(200)
    })
    .await;
    let count = |event: &String| arrived.lock().unwrap().get(event).map_or(0, HashSet::len);
    let api = program.api();
    api.create_tenant("acme").await;
    for n in 0..ENDPOINTS {
        api.create_endpoint("acme", json!({ "url": format!("{}/{n}", receiver.url()) })).await;
    }
    let mut events = Vec::new();
    let mut cut_short = 0;
    for n in 0..EVENTS {
        // Killed when it has said "accepted", which is after the first of seven parts.
        events.push(program.api().publish("acme", "order.paid", &format!("ord_{n}")).await);
        program.kill().await;
        cut_short += usize::from(count(&events[n]) < ENDPOINTS);
        program.restart().await;
    }
    assert!(cut_short > EVENTS / 2, "few were cut short: {cut_short}");
    testkit::until("each endpoint has got each event", || async {
        events.iter().all(|event| count(event) == ENDPOINTS).then_some(())
    })
    .await;
    for event in &events {
        let path = format!("/v1/events/{event}/deliveries?limit=250");
        let first = program.api().get(&path).await;
        let rest =
            program.api().get(&format!("{path}&cursor={}", first.text("/next_cursor"))).await.expect(200);
        assert_eq!(rest["data"].as_array().unwrap().len(), ENDPOINTS - 250, "each has one delivery");
    }
}
