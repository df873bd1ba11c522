//! A bad endpoint costs nobody else.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::common::{settings, start};
use serde_json::json;
use testkit::{Api, Behaviour, NameServer, Program, Receiver, until};

/// Events to each endpoint: far more than it may have under way at once.
const EVENTS: usize = 40;

#[tokio::test]
async fn endpoints_that_hang_drip_never_end_reset_refuse_or_answer_late_hold_nobody_up() {
    let program = start().await;
    let api = program.api();
    let bad = [
        ("hang", Behaviour::Hang),
        ("drip", Behaviour::Drip),
        ("endless", Behaviour::Endless),
        ("reset", Behaviour::Reset),
        ("garbage", Behaviour::Garbage),
        ("late", Behaviour::Late(Duration::from_secs(10))),
    ];
    let mut receivers = Vec::new();
    for (name, behaviour) in bad {
        let receiver = Receiver::always(behaviour).await;
        register(&api, name, &receiver.url()).await;
        receivers.push(receiver);
    }
    register(&api, "refuse", &format!("http://{}/", Receiver::refusing().await)).await;
    // One tenant has a bad endpoint beside its good one.
    let healthy = Receiver::always(Behaviour::Answer(200)).await;
    register(&api, "healthy", &healthy.url()).await;
    let beside = Receiver::always(Behaviour::Answer(200)).await;
    api.create_endpoint("hang", json!({ "url": beside.url() })).await;

    let names = ["hang", "drip", "endless", "reset", "garbage", "late", "refuse", "healthy"];
    let mut first = std::collections::HashMap::new();
    for n in 0..EVENTS {
        for name in names {
            let event = api.publish(name, "bad.day", &format!("{name}_{n}")).await;
            first.entry(name).or_insert(event);
        }
    }
    // The healthy ones have everything while the first calls to the others
    // have not even reached their deadline of 15 seconds.
    healthy.wait_for(EVENTS).await;
    beside.wait_for(EVENTS).await;
    let hanging = api.deliveries_of(&first["hang"]).await;
    let waiting = hanging.iter().filter(|delivery| delivery["status"] == "queued").count();
    assert_eq!(waiting, 1, "its first call is still under way: {hanging:?}");

    for (name, class) in [("reset", "reset"), ("garbage", "reset"), ("refuse", "connect")] {
        // Retrying, or held by the breaker by now.
        let delivery = delivery_that_failed(&api, &first[name]).await;
        assert_eq!(delivery["error_class"], class, "{name}");
    }
    // An answer without end is read so far and no further.
    let endless = api.delivery_with_status(&first["endless"], "delivered").await;
    let attempt = api.attempts_of(&endless).await.remove(0);
    assert_eq!(attempt["response_truncated"], true);
    assert_eq!(attempt["response_body"].as_str().unwrap().len(), 16 * 1024);
    // Late is late, and not lost.
    api.delivery_with_status(&first["late"], "delivered").await;
    // The deadline covers the last byte too.
    for (name, class) in [("hang", "timeout"), ("drip", "http_5xx")] {
        let slow = delivery_that_failed(&api, &first[name]).await;
        assert_eq!(slow["error_class"], class);
        let attempt = api.attempts_of(&slow).await.remove(0);
        let total = attempt["milliseconds"]["total"].as_f64().unwrap();
        assert!((15_000.0..18_000.0).contains(&total), "{name}: {attempt}");
    }
}

async fn delivery_that_failed(api: &Api, event: &str) -> serde_json::Value {
    until("an attempt failed", || async {
        let deliveries = api.deliveries_of(event).await;
        deliveries
            .into_iter()
            .find(|delivery| delivery["error_class"].as_str().is_some_and(|class| class != "none"))
    })
    .await
}

async fn register(api: &Api, tenant: &str, url: &str) {
    api.create_tenant(tenant).await;
    api.create_endpoint(tenant, json!({ "url": url })).await;
}

#[tokio::test]
async fn redirects_are_not_followed_and_private_addresses_are_not_called() {
    // Only one address of this machine may be called.
    let names = NameServer::start(|_| vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]).await;
    let settings = settings().with("POSTHORN_ALLOW_TARGETS", "127.0.0.2/32");
    let program = Program::start(settings.with("POSTHORN_NAME_SERVERS", names.address().to_string())).await;
    let api = program.api();
    let forbidden = Receiver::always(Behaviour::Answer(200)).await;
    api.create_tenant("acme").await;
    let register = json!({ "url": forbidden.url() });
    let refused = api.post("/v1/tenants/acme/endpoints", register).await;
    assert_eq!(refused.problem(422, "invalid_request"), ["/url"]);
    // A name says nothing yet when it is registered; its address is refused at the call.
    let by_name = forbidden.url().replace("127.0.0.1", "inside.example");
    api.create_endpoint("acme", json!({ "url": by_name })).await;
    let event = api.publish("acme", "order.paid", "1").await;
    let delivery = api.delivery_with_status(&event, "retrying").await;
    assert_eq!(delivery["error_class"], "blocked_address");
    assert!(forbidden.received().is_empty());
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_its_target_is_never_called() {
    let program = start().await;
    let api = program.api();
    let target = Receiver::always(Behaviour::Answer(200)).await;
    let location = format!("location: {}\r\n", target.url());
    let redirecting = Receiver::always(Behaviour::AnswerWith(307, location)).await;
    api.create_tenant("acme").await;
    api.create_endpoint("acme", json!({ "url": redirecting.url() })).await;
    let event = api.publish("acme", "order.paid", "1").await;
    let delivery = api.delivery_with_status(&event, "retrying").await;
    assert_eq!(delivery["error_class"], "http_3xx");
    assert!(target.received().is_empty());
}

#[tokio::test]
async fn large_events_for_an_endpoint_that_hangs_hold_nobody_up() {
    let program = start().await;
    let api = program.api();
    let (hanging, healthy) =
        (Receiver::always(Behaviour::Hang).await, Receiver::always(Behaviour::Answer(200)).await);
    // So long that no call ends while all this is published.
    api.create_tenant("hang").await;
    api.create_endpoint("hang", json!({ "url": hanging.url(), "timeout_seconds": 30 })).await;
    register(&api, "healthy", &healthy.url()).await;
    api.publish("hang", "small", "1").await;
    hanging.wait_for(1).await;
    // More than is ever kept in memory.
    let large = "x".repeat(250_000);
    for n in 0..300 {
        let event =
            json!({ "tenant": "hang", "type": "large", "subject": n.to_string(), "data": { "text": large } });
        api.post("/v1/events", event).await.expect(202);
    }
    let event = api.publish("healthy", "small", "1").await;
    healthy.wait_for(1).await;
    api.delivery_with_status(&event, "delivered").await;
    assert!(hanging.received().len() <= 4, "its first calls are still under way");
}

/// What the program holds in memory, in bytes, by its own metrics.
async fn memory(admin: &Api) -> f64 {
    let answer = admin.get("/metrics").await;
    let text = String::from_utf8(answer.bytes).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_thousand_slow_answers_at_once_are_cut_and_cost_the_others_nothing() {
    const ENDPOINTS: usize = 250;
    const EACH: usize = 4;
    let program = Program::start(settings().with("POSTHORN_MAX_ENDPOINTS_PER_TENANT", "2000")).await;
    let (api, admin) = (program.api(), program.admin());
    let (slow, healthy) =
        (Receiver::always(Behaviour::Drip).await, Receiver::always(Behaviour::Answer(200)).await);
    register(&api, "healthy", &healthy.url()).await;
    api.create_tenant("slow").await;
    for _ in 0..ENDPOINTS {
        api.create_endpoint("slow", json!({ "url": slow.url(), "timeout_seconds": 10 })).await;
    }
    let before = memory(&admin).await;
    let mut events = Vec::new();
    for n in 0..EACH {
        events.push(api.publish("slow", "order.paid", &n.to_string()).await);
    }
    slow.wait_for(ENDPOINTS * EACH).await;
    let used = memory(&admin).await - before;
    let each = used / (ENDPOINTS * EACH) as f64;
    assert!(each < 64.0 * 1_024.0, "{each} bytes for each answer under way");
    // All of them are still under way.
    let event = api.publish("healthy", "order.paid", "1").await;
    let delivered = api.delivery_with_status(&event, "delivered").await;
    assert_eq!(delivered["attempts"], 1);
    assert_eq!(api.deliveries_of(&events[0]).await[0]["attempts"], 0, "their deadline has not passed yet");
    let mut late: f64 = 0.0;
    for event in &events {
        let cut = until("all are cut", || async {
            let page = api.get(&format!("/v1/events/{event}/deliveries?limit=250")).await.expect(200);
            let cut = page["data"].as_array().unwrap().iter().filter(|one| one["error_class"] == "http_5xx");
            let cut: Vec<serde_json::Value> = cut.cloned().collect();
            (cut.len() == ENDPOINTS).then_some(cut)
        })
        .await;
        for delivery in cut.iter().step_by(10) {
            let attempt = api.attempts_of(delivery).await.remove(0);
            late = late.max(attempt["milliseconds"]["total"].as_f64().unwrap() - 10_000.0);
        }
    }
    println!("cut at most {late:.0} ms after the deadline; {each:.0} bytes each");
    assert!((0.0..2_000.0).contains(&late), "{late}");
}

#[tokio::test]
async fn one_that_announces_an_answer_for_ever_is_given_up_and_holds_nobody_up() {
    let program = start().await;
    let api = program.api();
    let endless = Receiver::always(Behaviour::Announce).await;
    register(&api, "announce", &endless.url()).await;
    let healthy = Receiver::always(Behaviour::Answer(200)).await;
    register(&api, "healthy", &healthy.url()).await;
    let announced = api.publish("announce", "bad.day", "s").await;
    let delivery = delivery_that_failed(&api, &announced).await;
    assert_eq!(delivery["error_class"], "reset");
    let attempt = api.attempts_of(&delivery).await.remove(0);
    assert_eq!(attempt["error_detail"], "the receiver sent more than 1024 KiB without an answer");
    api.publish("healthy", "good.day", "s").await;
    healthy.wait_for(1).await;
}
