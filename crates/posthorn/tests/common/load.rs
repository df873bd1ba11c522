//! Clients that publish while something breaks, and the audit afterwards.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use testkit::{Api, Received, Receiver, until};
use tokio::sync::watch;

use super::verify;

/// What clients were told: the keys that they used, and the events that they got.
pub(crate) type Acknowledged = BTreeMap<String, String>;

/// Whether the receivers of these tests refuse a request: the first attempt
/// of one event in ten, so that retries are cut short too. By the event's id,
/// whose end is random: refusals of many in a row would open the breaker.
pub(crate) fn is_refused(request: &Received) -> bool {
    request.header("posthorn-attempt") == "1" && request.header("webhook-id").ends_with(['0', '8', 'g'])
}

/// A client that publishes one event after the other.
pub(crate) struct Client {
    pub(crate) number: usize,
    /// Its events are for these in turn.
    pub(crate) tenants: Vec<String>,
    /// Between two events.
    pub(crate) pause: Option<Duration>,
    /// Where it may publish: it turns to another when one does not answer.
    pub(crate) servers: watch::Receiver<Vec<Api>>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) acknowledged: Arc<watch::Sender<usize>>,
}

impl Client {
    /// Publishes until it is stopped. What was not answered is sent again under
    /// the same key, until it is.
    pub(crate) async fn publish(self) -> Acknowledged {
        let mut told = Acknowledged::new();
        for number in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            let key = format!("client-{}-{number}", self.number);
            let event = json!({
                "tenant": self.tenants[number % self.tenants.len()],
                "type": "order.paid", "subject": key, "idempotency_key": key,
                "ordering_key": format!("client-{}", self.number),
                "data": { "text": "x".repeat(number % 50) },
            });
            let mut turn = self.number;
            let id = until("the event is acknowledged", || {
                turn += 1;
                let servers = self.servers.borrow().clone();
                let api = servers[turn % servers.len()].clone();
                let request = api.request("POST", "/v1/events").json(&event);
                async move {
                    let answer = api.try_send(request).await.ok()?;
                    (answer.status == 202).then(|| answer.text("/id"))
                }
            })
            .await;
            told.insert(key, id);
            self.acknowledged.send_modify(|count| *count += 1);
            if let Some(pause) = self.pause {
                tokio::time::sleep(pause).await;
            }
        }
        told
    }
}

/// Compares what was acknowledged with what arrived and what the log says.
/// Each tenant has one endpoint, at the path of its name, with its secret.
pub(crate) async fn audit(api: &Api, receiver: &Receiver, secrets: &[(&str, &str)], told: &Acknowledged) {
    let promised: HashSet<&str> = told.values().map(String::as_str).collect();
    assert_eq!(promised.len(), told.len(), "each idempotency key is one event");

    let delivered = |received: &[Received]| {
        let good = received.iter().filter(|request| !is_refused(request));
        good.map(|request| request.header("webhook-id").to_owned()).collect::<HashSet<String>>()
    };
    let missing = until("every acknowledged event arrives", || async {
        let arrived = receiver.look(delivered);
        let missing = promised.iter().filter(|id| !arrived.contains(**id)).count();
        (missing == 0).then_some(missing)
    })
    .await;
    assert_eq!(missing, 0);

    let mut bodies: HashMap<&str, &[u8]> = HashMap::new();
    let received = receiver.received();
    for request in &received {
        let tenant = request.path.trim_start_matches("/hook").trim_start_matches('/');
        let (_, secret) = secrets.iter().find(|(name, _)| tenant.is_empty() || *name == tenant).unwrap();
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
            let tenant = event["tenant"].as_str().unwrap().to_owned();
            assert!(sequences.insert((tenant, event["sequence"].as_u64().unwrap())));
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
