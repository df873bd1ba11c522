//! How endpoints are called: policies, breakers, limits, order, filters and what
//! goes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{settings, start, verify};
use serde_json::{Value, json};
use testkit::{Api, Behaviour, MailServer, Program, Received, Receiver, until};

async fn tenant_with(program: &Program, endpoint: Value) -> (Api, String, String) {
    let api = program.api();
    api.create_tenant("acme").await;
    let (id, secret) = api.create_endpoint("acme", endpoint).await;
    (api, format!("/v1/tenants/acme/endpoints/{id}"), secret)
}

fn data_of(request: &Received) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

#[tokio::test]
async fn a_projects_own_policy_says_when_to_try_again_and_when_to_give_up() {
    let program = start().await;
    let receiver = Receiver::always(Behaviour::Answer(500)).await;
    let api = program.api();
    let quick =
        json!({ "name": "quick", "initial_seconds": 1, "multiplier": 2, "max_age_seconds": 10, "jitter": 0 });
    let made = api.post("/v1/retry-policies", quick.clone()).await;
    assert_eq!(made.expect(201)["timeout_seconds"], 15);
    api.post("/v1/retry-policies", quick).await.problem(409, "conflict");
    let wrong = json!({ "name": "x", "multiplier": 0.5 });
    assert_eq!(api.post("/v1/retry-policies", wrong).await.problem(422, "invalid_request"), ["/multiplier"]);
    let names = api.get("/v1/retry-policies").await.expect(200)["data"].clone();
    let names: Vec<&str> =
        names.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["standard", "interactive", "batch", "quick"]);

    api.create_tenant("acme").await;
    let unknown = json!({ "url": receiver.url(), "retry_policy": "none" });
    let refused = api.post("/v1/tenants/acme/endpoints", unknown).await;
    assert_eq!(refused.problem(422, "invalid_request"), ["/retry_policy"]);
    api.create_endpoint("acme", json!({ "url": receiver.url(), "retry_policy": "quick" })).await;
    api.delete("/v1/retry-policies/quick").await.problem(409, "conflict");
    let event = api.publish("acme", "order.paid", "ord_1").await;
    let delivery = api.delivery_with_status(&event, "failed").await;
    assert_eq!(delivery["failure"], "exhausted");
    let attempts = api.attempts_of(&delivery).await;
    let reasons: Vec<&str> =
        attempts.iter().map(|attempt| attempt["next_attempt_reason"].as_str().unwrap()).collect();
    // 1, 2 and 4 s; the next would be too late, so a last one is made at the end.
    assert_eq!(reasons, ["backoff", "backoff", "backoff", "last_try", "given_up"]);
}

#[tokio::test]
async fn an_open_breaker_holds_and_probes_until_the_endpoint_is_well_again() {
    let program = start().await;
    let (sick, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (is_sick, counted) = (Arc::clone(&sick), Arc::clone(&calls));
    let receiver = Receiver::start(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Behaviour::Answer(if is_sick.load(Ordering::SeqCst) { 503 } else { 204 })
    })
    .await;
    let (api, path, _) = tenant_with(&program, json!({ "url": receiver.url() })).await;
    let mut events = Vec::new();
    for n in 0..40 {
        events.push(api.publish("acme", "order.paid", &format!("ord_{n}")).await);
    }
    let health = until("the breaker is open", || async {
        let health = api.get(&format!("{path}/health")).await.expect(200);
        (health["breaker"] == "open").then_some(health)
    })
    .await;
    assert_eq!(health["held_by"], "breaker");
    assert!(health["held_until"].is_string() && health["failures"].as_u64().unwrap() >= 5, "{health}");
    assert_eq!(health["last_error"]["http_status"], 503);
    let held = api.delivery_with_status(&events[39], "held").await;
    assert_eq!((&held["held_by"], &held["held_until"]), (&json!("breaker"), &health["held_until"]));
    // What was under way when it opened may still have come: after that, nothing.
    assert!(calls.load(Ordering::SeqCst) <= 20, "held, not spent");
    sick.store(false, Ordering::SeqCst);
    let probed = until("all are delivered", || async {
        let page = api.get("/v1/deliveries?status=delivered&limit=100").await.expect(200);
        let delivered = page["data"].as_array().unwrap().clone();
        (delivered.len() == 40).then_some(delivered)
    })
    .await;
    let mut triggers = BTreeMap::<String, usize>::new();
    for delivery in &probed {
        for attempt in api.attempts_of(delivery).await {
            *triggers.entry(attempt["trigger"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    assert_eq!(triggers["probe"], 2, "{triggers:?}");
    let health = api.get(&format!("{path}/health")).await.expect(200);
    assert_eq!((&health["breaker"], &health["failing_since"]), (&json!("closed"), &Value::Null));
}

#[tokio::test]
async fn a_breaker_survives_a_restart_and_a_reset_or_a_new_url_closes_it() {
    let mut program = start().await;
    let sick = Receiver::always(Behaviour::Answer(503)).await;
    let well = Receiver::always(Behaviour::Answer(204)).await;
    let (api, path, _) = tenant_with(&program, json!({ "url": sick.url() })).await;
    for n in 0..20 {
        api.publish("acme", "order.paid", &format!("ord_{n}")).await;
    }
    let breaker = async |api: &Api, wanted: &'static str| {
        until("the breaker stands so", || async {
            let health = api.get(&format!("{path}/health")).await.expect(200);
            (health["breaker"] == wanted).then_some(())
        })
        .await;
    };
    breaker(&api, "open").await;
    program.crash_and_restart().await;
    let api = program.api();
    assert_eq!(api.get(&format!("{path}/health")).await.expect(200)["breaker"], "open");
    let before = sick.received().len();
    api.post(&format!("{path}/reset"), json!({})).await.expect(200);
    sick.wait_for(before + 1).await;
    breaker(&api, "open").await;
    api.patch(&path, json!({ "url": well.url() })).await.expect(200);
    until("all are delivered", || async {
        let page = api.get("/v1/deliveries?status=delivered&limit=100").await.expect(200);
        (page["data"].as_array().unwrap().len() == 20).then_some(())
    })
    .await;
}

#[tokio::test]
async fn calls_keep_to_the_rate_of_their_endpoint_and_a_restart_does_not_hurry_them() {
    let mut program = start().await;
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let (api, ..) =
        tenant_with(&program, json!({ "url": receiver.url(), "rate_limit_per_second": 10 })).await;
    for n in 0..50 {
        api.publish("acme", "order.paid", &format!("ord_{n}")).await;
    }
    receiver.wait_for(20).await;
    program.crash_and_restart().await;
    let received = receiver.wait_for(50).await;
    // Ten in any second and two that are caught up; the rest is for a machine that
    // stops for a moment, after which calls arrive together.
    for (n, first) in received.iter().enumerate() {
        let within = received[n..].iter().filter(|other| other.at - first.at < Duration::from_millis(990));
        assert!(within.count() <= 16, "too many within a second of call {n}");
    }
    let took = received[49].at - received[0].at;
    assert!(took > Duration::from_millis(4_300), "fifty calls in {took:?}");
}

#[tokio::test]
async fn one_key_keeps_its_order_through_failures_and_crashes_and_others_do_not_wait() {
    let mut program = start().await;
    // Every third call fails, so that heads are retried while followers wait; but
    // none so often that its followers are let go.
    let count = AtomicUsize::new(0);
    let receiver = Receiver::start(move |request| {
        let early = ["1", "2", "3"].contains(&request.header("posthorn-attempt"));
        let fails = early && count.fetch_add(1, Ordering::SeqCst).is_multiple_of(3);
        Behaviour::Answer(if fails { 500 } else { 204 })
    })
    .await;
    let api = program.api();
    let policy =
        json!({ "name": "quick", "initial_seconds": 0.1, "multiplier": 1, "max_interval_seconds": 0.1 });
    api.post("/v1/retry-policies", policy).await.expect(201);
    let endpoint = json!({ "url": receiver.url(), "ordering": "per_key", "retry_policy": "quick" });
    tenant_with(&program, endpoint).await;
    for n in 0..60 {
        let event = json!({ "tenant": "acme", "type": "order.paid", "subject": format!("ord_{n}"),
            "ordering_key": format!("key_{}", n % 6), "data": {} });
        program.api().post("/v1/events", event).await.expect(202);
        if n == 30 {
            program.crash_and_restart().await;
        }
    }
    let api = program.api();
    until("all are delivered", || async {
        let page = api.get("/v1/deliveries?status=delivered&limit=100").await.expect(200);
        (page["data"].as_array().unwrap().len() == 60).then_some(())
    })
    .await;
    // An event's first call comes after the last call of all before it in its key.
    let mut newest = BTreeMap::<usize, u64>::new();
    for request in receiver.received() {
        let body = data_of(&request);
        let number: usize = body["subject"].as_str().unwrap()["ord_".len()..].parse().unwrap();
        let sequence = body["sequence"].as_u64().unwrap();
        let before = newest.entry(number % 6).or_default();
        assert!(sequence >= *before, "{sequence} after {before} of key {}", number % 6);
        *before = sequence;
    }
    assert_eq!(newest.len(), 6);
}

#[tokio::test]
async fn a_filter_is_checked_tried_on_past_events_and_obeyed() {
    let program = start().await;
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let filter = json!({ "all": [{ "at": "/data/total", "at_least": 100 }, { "at": "/labels/region", "equals": "eu" }] });
    let (api, ..) = tenant_with(&program, json!({ "url": receiver.url(), "filter": filter })).await;
    let publish = async |subject: &str, total: u64, region: &str| {
        let event = json!({ "tenant": "acme", "type": "order.paid", "subject": subject,
            "data": { "total": total }, "labels": { "region": region } });
        let answer = api.post("/v1/events", event).await;
        answer.expect(202);
        answer.text("/id")
    };
    let cheap = publish("cheap", 99, "eu").await;
    publish("far", 500, "us").await;
    publish("wanted", 100, "eu").await;
    let received = receiver.wait_for(1).await;
    assert_eq!(data_of(&received[0])["subject"], "wanted");
    let event = api.get(&format!("/v1/events/{cheap}")).await.expect(200);
    assert_eq!(event["unmatched"][0]["reason"], "filter");

    let route = "/v1/tenants/acme/endpoints/check-filter";
    let tried = api.post(route, json!({ "filter": { "not": filter } })).await.expect(200);
    let matched = |event: &Value| event["matches"].as_bool().unwrap();
    let subjects: Vec<(&str, bool)> = tried["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["subject"].as_str().unwrap(), matched(event)))
        .collect();
    assert_eq!(
        (subjects, &tried["matched"]),
        (vec![("wanted", false), ("far", true), ("cheap", true)], &json!(2))
    );
    let wrong = json!({ "filter": { "any": [{ "at": "/data/x", "regex": "(a+)+$" }] } });
    assert_eq!(api.post(route, wrong).await.problem(422, "invalid_request"), ["/filter/any/0/regex"]);
}

#[tokio::test]
async fn a_paused_tenant_or_project_is_not_called_until_it_is_resumed() {
    let program = start().await;
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let (api, ..) = tenant_with(&program, json!({ "url": receiver.url() })).await;
    for (n, path) in ["/v1/tenants/acme", "/v1/project"].iter().enumerate() {
        let paused = api.post(&format!("{path}/pause"), json!({})).await.expect(200);
        assert!(paused["paused_at"].is_string());
        let event = api.publish("acme", "order.paid", "ord_1").await;
        let held = api.delivery_with_status(&event, "held").await;
        assert_eq!(held["held_by"], "paused");
        let resumed = api.post(&format!("{path}/resume"), json!({})).await.expect(200);
        assert_eq!(resumed["paused_at"], Value::Null);
        receiver.wait_for(n + 1).await;
    }
}

#[tokio::test]
async fn the_envelope_the_headers_and_the_signature_are_as_the_endpoint_wants_them() {
    let program = start().await;
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let endpoint = json!({ "url": receiver.url(), "format": "cloudevents", "signature": "ed25519" });
    let (api, path, public_key) = tenant_with(&program, endpoint).await;
    assert!(public_key.starts_with("whpk_"));
    let shown = api.get(&format!("{path}/secret")).await.expect(200);
    assert_eq!((shown["public_key"].as_str(), shown.get("secret")), (Some(public_key.as_str()), None));
    api.publish("acme", "order.paid", "ord_1").await;
    let request = receiver.wait_for(1).await.remove(0);
    assert_eq!(request.header("content-type"), "application/cloudevents+json; charset=utf-8");
    assert!(request.header("webhook-signature").starts_with("v1a,"));
    verify(&public_key, &request);
    let body = data_of(&request);
    assert_eq!(
        (&body["specversion"], &body["type"], &body["subject"]),
        (&json!("1.0"), &json!("order.paid"), &json!("ord_1"))
    );

    let change = json!({ "format": "standard", "signature": "hmac", "signature_headers": "svix" });
    api.patch(&path, change).await.expect(200);
    api.publish("acme", "order.paid", "ord_2").await;
    let mut request = receiver.wait_for(2).await.remove(1);
    assert!(!request.headers.contains_key("webhook-id"));
    for name in ["id", "timestamp", "signature"] {
        let value = request.header(&format!("svix-{name}")).to_owned();
        request.headers.insert(format!("webhook-{name}"), value);
    }
    let secret = api.get(&format!("{path}/secret")).await.text("/secret");
    verify(&secret, &request);
    let contradiction = json!({ "format": "cloudevents", "payload": "data" });
    assert_eq!(api.patch(&path, contradiction).await.problem(422, "invalid_request"), ["/format"]);
}

#[tokio::test]
async fn calls_carry_a_token_that_is_asked_for_once_and_again_when_it_is_refused() {
    let program = start().await;
    let granted = Arc::new(AtomicUsize::new(0));
    let (counted, refusing) = (Arc::clone(&granted), Arc::new(AtomicBool::new(false)));
    let refuses = Arc::clone(&refusing);
    let tokens = Receiver::start(move |_| {
        if refuses.load(Ordering::SeqCst) {
            return Behaviour::Answer(403);
        }
        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
        Behaviour::Json(format!(
            r#"{{"access_token":"token-{number}","token_type":"Bearer","expires_in":3600}}"#
        ))
    })
    .await;
    // The second token is good, the first one only once.
    let used = AtomicUsize::new(0);
    let receiver = Receiver::start(move |request| {
        let stale =
            request.header("authorization") == "Bearer token-1" && used.fetch_add(1, Ordering::SeqCst) > 0;
        Behaviour::Answer(if stale { 401 } else { 204 })
    })
    .await;
    let policy = json!({ "name": "quick", "initial_seconds": 0.1 });
    program.api().post("/v1/retry-policies", policy).await.expect(201);
    let oauth = json!({ "token_url": tokens.url(), "client_id": "posthorn", "client_secret": "sesame", "scope": "hooks" });
    let endpoint = json!({ "url": receiver.url(), "retry_policy": "quick", "oauth": oauth });
    let (api, path, _) = tenant_with(&program, endpoint).await;
    let shown = api.get(&path).await.expect(200);
    assert!(shown["oauth"].get("client_secret").is_none() && !shown.to_string().contains("sesame"));
    for n in 0..2 {
        let event = api.publish("acme", "order.paid", &format!("ord_{n}")).await;
        let delivery = api.delivery_with_status(&event, "delivered").await;
        let attempts = api.attempts_of(&delivery).await;
        assert_eq!(attempts.len(), n + 1);
        assert_eq!(attempts[0]["request_headers"]["authorization"], "***");
    }
    assert_eq!(granted.load(Ordering::SeqCst), 2);
    let asked = tokens.received().remove(0);
    assert_eq!(asked.header("authorization"), "Basic cG9zdGhvcm46c2VzYW1l");
    assert_eq!(String::from_utf8(asked.body).unwrap(), "grant_type=client_credentials&scope=hooks");

    // The secret goes to no other token endpoint than the one it was written for.
    let moved = api.patch(&path, json!({ "oauth": { "token_url": receiver.url() } })).await;
    assert_eq!(moved.problem(422, "invalid_request"), ["/oauth/client_secret"]);
    // A new secret means a new token; a refusal is an error of its own.
    refusing.store(true, Ordering::SeqCst);
    api.patch(&path, json!({ "oauth": { "client_secret": "other" } })).await.expect(200);
    let event = api.publish("acme", "order.paid", "ord_3").await;
    let delivery = api.delivery_with_status(&event, "retrying").await;
    assert_eq!(delivery["error_class"], "oauth");
}

/// A proxy that makes tunnels, and remembers to where.
async fn tunnels() -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:pa%20ss@{}", listener.local_addr().unwrap());
    let log = Arc::new(std::sync::Mutex::new(Vec::new()));
    let to = Arc::clone(&log);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let log = Arc::clone(&to);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(near.read_u8().await?);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                log.lock().unwrap().push(head);
                let mut far = tokio::net::TcpStream::connect(target).await?;
                near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    (url, log)
}

#[tokio::test]
async fn the_forward_proxy_gets_the_address_that_was_checked_and_never_the_name() {
    let names = testkit::NameServer::start(|_| vec!["127.0.0.1".parse().unwrap()]).await;
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let port = receiver.url().rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
    let (proxy, asked) = tunnels().await;
    let start = settings().with("POSTHORN_EGRESS_PROXY", proxy);
    let program = Program::start(start.with("POSTHORN_NAME_SERVERS", names.address().to_string())).await;
    let url = format!("http://hooks.customer.test:{port}/hook");
    let (api, path, _) = tenant_with(&program, json!({ "url": url })).await;
    let event = api.publish("acme", "order.paid", "ord_1").await;
    let request = receiver.wait_for(1).await.remove(0);
    assert_eq!(
        (request.path.as_str(), request.header("host")),
        ("/hook", &*format!("hooks.customer.test:{port}"))
    );
    let delivery = api.delivery_with_status(&event, "delivered").await;
    assert_eq!(api.attempts_of(&delivery).await[0]["remote_ip"], Value::Null);
    {
        let asked = asked.lock().unwrap();
        assert!(asked[0].starts_with(&format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n")), "{asked:?}");
        assert!(asked[0].contains("proxy-authorization: Basic dXNlcjpwYSBzcw=="), "{asked:?}");
        assert!(asked.iter().all(|head| !head.contains("customer")), "{asked:?}");
    }
    let refused = api.patch(&path, json!({ "url": "http://10.0.0.1/hook" })).await;
    assert_eq!(refused.problem(422, "invalid_request"), ["/url"]);
    let said =
        "is not a public address; whoever runs Posthorn can allow its network with POSTHORN_ALLOW_TARGETS";
    assert_eq!(refused.text("/errors/0/detail"), said);
}

#[tokio::test]
async fn posthorn_does_not_call_itself_and_tells_from_where_it_calls() {
    let program =
        Program::start(settings().with("POSTHORN_EGRESS_ADDRESSES", "192.0.2.0/28,2001:db8::/64")).await;
    let api = program.api();
    api.create_tenant("acme").await;
    for url in [api.url(), program.admin().url()] {
        let refused =
            api.post("/v1/tenants/acme/endpoints", json!({ "url": format!("{url}/v1/events") })).await;
        assert_eq!(refused.problem(422, "invalid_request"), ["/url"]);
    }
    let meta = api.get("/v1/meta").await.expect(200);
    assert_eq!(meta["egress_addresses"], json!(["192.0.2.0/28", "2001:db8::/64"]));
}

#[tokio::test]
async fn scenarios_show_a_customer_whether_a_receiver_is_safe() {
    let program = start().await;
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let (api, path, secret) =
        tenant_with(&program, json!({ "url": receiver.url(), "status": "paused" })).await;
    let mut seen = 0;
    let mut run = async |scenario: &str, calls: usize| {
        let answer = api.post(&format!("{path}/test"), json!({ "scenario": scenario })).await.expect(202);
        assert!(answer["sends"].is_string() && answer["expects"].is_string(), "{answer}");
        seen += calls;
        (receiver.wait_for(seen).await.split_off(seen - calls), answer)
    };
    let (twice, answer) = run("duplicate", 2).await;
    assert_eq!(twice[0].header("webhook-id"), twice[1].header("webhook-id"));
    assert_eq!(twice[0].body, twice[1].body);
    assert_eq!(answer["deliveries"].as_array().unwrap().len(), 1);
    let (pair, answer) = run("out_of_order", 2).await;
    let sequence = |request: &Received| data_of(request)["sequence"].as_u64().unwrap();
    assert!(sequence(&pair[0]) > sequence(&pair[1]));
    assert_eq!(answer["deliveries"].as_array().unwrap().len(), 2);
    let signed = |request: &Received| request.header("webhook-timestamp").parse::<i64>().unwrap();
    let (delayed, _) = run("delayed", 1).await;
    let happened = data_of(&delayed[0])["timestamp"].as_str().unwrap().to_owned();
    verify(&secret, &delayed[0]);
    let (old, _) = run("old_timestamp", 1).await;
    verify(&secret, &old[0]);
    assert!(signed(&delayed[0]) - signed(&old[0]) > 500, "{happened}");
    let (bad, _) = run("bad_signature", 1).await;
    let checked = std::panic::catch_unwind(|| verify(&secret, &bad[0]));
    assert!(checked.is_err(), "the signature fits another body");
    let wrong = api.post(&format!("{path}/test"), json!({ "scenario": "chaos" })).await;
    assert_eq!(wrong.problem(422, "invalid_request"), ["/scenario"]);
}

#[tokio::test]
async fn operators_are_told_of_breakers_failures_and_disabled_endpoints_and_never_of_their_own() {
    let program = start().await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(410)).await;
    // The operators' own endpoint fails as well: that must not go round in circles.
    let operators = Receiver::always(Behaviour::Answer(500)).await;
    let policy = json!({ "name": "once", "initial_seconds": 0.1, "max_age_seconds": 0 });
    api.post("/v1/retry-policies", policy).await.expect(201);
    let own = json!({ "url": operators.url(), "retry_policy": "once" });
    let made = api.post("/v1/operational-endpoints", own).await;
    made.expect(201);
    let at = made.header("location").unwrap().to_owned();
    assert_eq!(api.get(&at).await.expect(200)["id"], made.json()["id"]);
    let secret = api.get(&format!("{at}/secret")).await.text("/secret");
    // Nobody can name the tenant behind it.
    assert_eq!(api.get("/v1/tenants").await.expect(200)["data"], json!([]));
    api.get("/v1/tenants/posthorn:operations").await.problem(404, "not_found");
    let taken = api.post("/v1/tenants", json!({ "id": "posthorn:operations" })).await;
    assert_eq!(taken.problem(422, "invalid_request"), ["/id"]);

    let (_, path, _) = tenant_with(&program, json!({ "url": receiver.url(), "retry_policy": "once" })).await;
    for n in 0..3 {
        let event = api.publish("acme", "order.paid", &format!("ord_{n}")).await;
        api.delivery_with_status(&event, "failed").await;
    }
    until("it is disabled", || async {
        (api.get(&path).await.expect(200)["status"] == "disabled").then_some(())
    })
    .await;
    // Three given up, and the endpoint disabled.
    let told = operators.wait_for(4).await;
    verify(&secret, &told[0]);
    let mut types: Vec<String> =
        told.iter().map(|request| data_of(request)["type"].as_str().unwrap().to_owned()).collect();
    types.sort();
    types.dedup();
    assert_eq!(types, ["delivery.failed", "endpoint.disabled"]);
    let failed = data_of(&told[0])["data"].clone();
    assert_eq!((&failed["tenant"], &failed["http_status"]), (&json!("acme"), &json!(410)));
    // All of their calls have failed, and nobody was told of that.
    let page = api.get("/v1/events?limit=100").await.expect(200);
    assert_eq!(page["data"].as_array().unwrap().len(), 3 + 4);
}

#[tokio::test]
async fn the_contacts_of_a_tenant_are_mailed_when_its_endpoint_is_disabled() {
    let mut server = MailServer::start().await;
    let program = Program::start(settings().with("POSTHORN_SMTP_URL", server.url())).await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(410)).await;
    let wrong = json!({ "id": "acme", "contacts": ["not an address"] });
    assert_eq!(api.post("/v1/tenants", wrong).await.problem(422, "invalid_request"), ["/contacts/0"]);
    let tenant = json!({ "id": "acme", "contacts": ["ops@acme.example"] });
    api.post("/v1/tenants", tenant).await.expect(201);
    api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    for n in 0..3 {
        api.publish("acme", "order.paid", &format!("ord_{n}")).await;
    }
    let mail = server.next_mail().await;
    assert!(
        mail.contains("ops@acme.example") && mail.contains("Subject: Your webhook endpoint was disabled"),
        "{mail}"
    );
    assert!(mail.contains("answered 410") && mail.contains("posthorn@localhost"), "{mail}");
    for header in ["MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Message-ID: <", "Date: "]
    {
        assert!(mail.contains(header), "{header}: {mail}");
    }
}

/// An authority of its own, a certificate for this machine, and one for a client.
const CERTIFICATES: &str = "set -e
key() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=$1 -keyout $1.key -out $1.csr; }
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=Authority -keyout ca.key -out ca.crt
key server; key client
printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n' >server.names
printf 'extendedKeyUsage=clientAuth\\n' >client.names
for name in server client; do
    openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile $name.names -out $name.crt
done";

/// Takes everything; the server of others around it speaks TLS and HTTP/2.
const RECEIVER: &str = "
async def app(scope, receive, send):
    if scope['type'] == 'http':
        await receive()
        await send({'type': 'http.response.start', 'status': 204, 'headers': []})
        await send({'type': 'http.response.body', 'body': b''})
    else:
        await receive()
        await send({'type': 'lifespan.startup.complete'})
        await receive()
        await send({'type': 'lifespan.shutdown.complete'})
";

#[tokio::test]
async fn a_client_certificate_is_shown_and_http_2_is_spoken_where_it_is_offered() {
    use tokio::process::Command;
    let folder = tempfile::TempDir::new().unwrap();
    let made =
        Command::new("sh").args(["-c", CERTIFICATES]).current_dir(folder.path()).output().await.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(folder.path().join("receiver.py"), RECEIVER).unwrap();
    let python = std::env::var("POSTHORN_TEST_PYTHON")
        .expect("POSTHORN_TEST_PYTHON names a Python with the package hypercorn; scripts/test sets it");
    let address = Receiver::refusing().await;
    let _server = Command::new(python)
        .args(["-m", "hypercorn", "receiver:app", "--bind", &address.to_string()])
        .args(["--certfile", "server.crt", "--keyfile", "server.key"])
        .args(["--ca-certs", "ca.crt", "--verify-mode", "CERT_REQUIRED"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("it listens", || async { tokio::net::TcpStream::connect(address).await.ok() }).await;
    let authority = folder.path().join("ca.crt").display().to_string();
    let program = Program::start(settings().with("SSL_CERT_FILE", authority)).await;
    let (api, path, _) = tenant_with(&program, json!({ "url": format!("https://{address}/hook") })).await;
    let event = api.publish("acme", "order.paid", "ord_1").await;
    api.delivery_with_status(&event, "retrying").await;

    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let nonsense = json!({ "client_certificate": { "certificate": "none", "private_key": "none" } });
    assert_eq!(api.patch(&path, nonsense).await.problem(422, "invalid_request"), ["/client_certificate"]);
    let mixed = json!({ "certificate": read("client.crt"), "private_key": read("server.key") });
    let refused = api.patch(&path, json!({ "client_certificate": mixed })).await;
    assert_eq!(refused.problem(422, "invalid_request"), ["/client_certificate"]);
    let certificate = json!({ "certificate": read("client.crt"), "private_key": read("client.key") });
    let shown = api.patch(&path, json!({ "client_certificate": certificate })).await.expect(200);
    assert_eq!(shown["client_certificate"], read("client.crt"));
    assert!(!shown.to_string().contains("PRIVATE KEY"));
    // The new credentials let it be tried at once.
    let event = api.publish("acme", "order.paid", "ord_2").await;
    let delivery = api.delivery_with_status(&event, "delivered").await;
    let attempts = api.attempts_of(&delivery).await;
    assert_eq!(attempts[0]["http_version"], "HTTP/2.0");
}
