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

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{settings, verify};
use model::entropy::{Entropy as _, SeededEntropy};
use serde_json::json;
use testkit::{Api, Behaviour, Program, Received, Receiver, until};
use tokio::sync::watch;

/// How often the program is killed.
const KILLS: usize = 60;
/// Clients that publish at the same time.
const CLIENTS: usize = 12;

/// What a client was told: the key that it used, and the event that it got.
type Acknowledged = BTreeMap<String, String>;

#[tokio::test]
async fn every_acknowledged_event_arrives_however_often_the_program_is_killed() {
    let mut program = Program::start(settings()).await;
    // One event in ten is refused at first, so that retries are cut short too.
    let receiver = Receiver::start(|request| {
        let refuse = request.header("posthorn-attempt") == "1" && request.body.len() % 10 == 0;
        Behaviour::Answer(if refuse { 503 } else { 200 })
    })
    .await;
    let api = program.api();
    api.create_tenant("acme").await;
    let (_, secret) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;

    let (server, present) = watch::channel(api);
    let stop = Arc::new(AtomicBool::new(false));
    let (count, mut acknowledged) = watch::channel(0);
    let count = Arc::new(count);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(publish(client, present.clone(), Arc::clone(&stop), Arc::clone(&count))))
        .collect();
    let moments = SeededEntropy::new(20_261_121);
    for _ in 0..KILLS {
        // The very moment at which a client is told "accepted" is the worst
        // one to die at, if that was said too early.
        let wanted = *acknowledged.borrow() + 1 + (moments.fraction() * 60.0) as usize;
        acknowledged.wait_for(|count| *count >= wanted).await.unwrap();
        program.crash_and_restart().await;
        server.send_replace(program.api());
    }
    stop.store(true, Ordering::SeqCst);
    let mut all = Acknowledged::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    audit(&program.api(), &receiver, &secret, &all).await;
}

/// Publishes until it is stopped. What was not answered is sent again under
/// the same key, until it is.
async fn publish(
    client: usize,
    server: watch::Receiver<Api>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<watch::Sender<usize>>,
) -> Acknowledged {
    let mut told = Acknowledged::new();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("client-{client}-{number}");
        let event = json!({
            "tenant": "acme", "type": "order.paid", "subject": key, "idempotency_key": key,
            "data": { "text": "x".repeat(number % 50) },
        });
        let id = until("the event is acknowledged", || async {
            let api = server.borrow().clone();
            let request = api.request("POST", "/v1/events").json(&event);
            let answer = api.try_send(request).await.ok()?;
            (answer.status == 202).then(|| answer.text("/id"))
        })
        .await;
        told.insert(key, id);
        acknowledged.send_modify(|count| *count += 1);
    }
    told
}

async fn audit(api: &Api, receiver: &Receiver, secret: &str, told: &Acknowledged) {
    let promised: HashSet<&str> = told.values().map(String::as_str).collect();
    assert_eq!(promised.len(), told.len(), "each idempotency key is one event");
    assert!(told.len() >= KILLS, "only {} events were acknowledged", told.len());

    let delivered = |received: &[Received]| {
        let good = received
            .iter()
            .filter(|request| !(request.header("posthorn-attempt") == "1" && request.body.len() % 10 == 0));
        good.map(|request| request.header("webhook-id").to_owned()).collect::<HashSet<String>>()
    };
    let missing = until("every acknowledged event arrives", || async {
        let arrived = delivered(&receiver.received());
        let missing = promised.iter().filter(|id| !arrived.contains(**id)).count();
        (missing == 0).then_some(missing)
    })
    .await;
    assert_eq!(missing, 0);

    let mut bodies: HashMap<&str, &[u8]> = HashMap::new();
    let received = receiver.received();
    for request in &received {
        verify(secret, request);
        let id = request.header("webhook-id");
        assert!(promised.contains(id), "{id} was never published");
        let first = bodies.entry(id).or_insert(&request.body);
        assert_eq!(*first, request.body.as_slice(), "the bytes of {id} changed");
    }

    // The log agrees: each key one event, all delivered, no sequence twice.
    let (mut subjects, mut sequences) = (HashSet::new(), HashSet::new());
    let mut path = "/v1/events?limit=250".to_owned();
    loop {
        let page = api.get(&path).await.expect(200);
        for event in page["data"].as_array().unwrap() {
            let subject = event["subject"].as_str().unwrap().to_owned();
            assert_eq!(told.get(&subject).map(String::as_str), event["id"].as_str(), "{subject}");
            assert!(subjects.insert(subject), "an idempotency key stands twice");
            assert!(sequences.insert(event["sequence"].as_u64().unwrap()));
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/events?limit=250&cursor={cursor}");
    }
    assert_eq!(subjects.len(), told.len());
    until("the log shows that all is delivered", || async {
        let waiting = api.get("/v1/deliveries?status=queued,retrying,held,failed").await.expect(200);
        waiting["data"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
}
