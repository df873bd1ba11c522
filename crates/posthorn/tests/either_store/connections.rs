//! Connections that are slow, silent or many cost nobody else anything.

use std::time::Duration;

use crate::common::{settings, start};
use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{Api, Behaviour, Program, Receiver, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Beyond the longest time that a connection has for anything.
const LONG: Duration = Duration::from_secs(60);

async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.trim_start_matches("http://")).await.unwrap()
}

/// Sends a text on a new connection, and leaves it open.
async fn send(url: &str, text: &str) -> TcpStream {
    let mut stream = connect(url).await;
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// All that comes until the connection ends.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is reset has ended, too.
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("it is ended");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The answer in a text, which is a problem with a code and an id.
fn assert_problem(answer: &str, status: u16, code: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("an answer, not {answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(head.contains("application/problem+json") && head.contains("x-request-id: "), "{answer}");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)));
    assert!(head.contains(problem["request_id"].as_str().unwrap()), "{answer}");
}

#[tokio::test]
async fn what_does_not_arrive_is_given_up_on_both_listeners() {
    let program = start().await;
    let (api, admin) = (program.api(), program.admin());
    let mut waiting = Vec::new();
    for url in [api.url(), admin.url()] {
        // Nothing at all; half a head; half a head behind an answered request;
        // a body that nobody waits for.
        waiting.push((connect(url).await, None));
        waiting.push((send(url, "GET /healthz HTTP/1.1\r\nx: ").await, Some(408)));
        let answered = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /x HTTP/1.1\r\nx: ";
        let mut stream = send(url, &answered[..38]).await;
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 200");
        stream.write_all(&answered.as_bytes()[38..]).await.unwrap();
        waiting.push((stream, Some(408)));
    }
    let unwanted = "POST /v1/events HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n";
    waiting.push((send(api.url(), unwanted).await, Some(401)));
    let ended = waiting.iter_mut().map(|(stream, _)| read_to_end(stream));
    let answers = join_all(ended).await;
    for ((_, status), answer) in waiting.iter().zip(&answers) {
        match status {
            None => assert_eq!(answer, ""),
            Some(status) => assert!(answer.contains(&format!("HTTP/1.1 {status} ")), "{answer:?}"),
        }
    }
    let early = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 408"));
    early.for_each(|answer| assert_problem(answer, 408, "timeout"));
    api.get("/healthz").await.expect(200);
}

#[tokio::test]
async fn what_is_not_http_gets_a_problem_on_both_listeners() {
    let program = start().await;
    for url in [program.api().url().to_owned(), program.admin().url().to_owned()] {
        for text in [
            "GET /x HTTP/1.1\r\nbad header\r\n\r\n",
            "\x16\x03\x01\x02\r\n\r\n",
            "GET / HTTP/9.9\r\n\r\n",
            "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        ] {
            let mut stream = send(&url, text).await;
            assert_problem(&read_to_end(&mut stream).await, 400, "malformed_request");
        }
        let endless = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "x".repeat(200_000));
        let mut stream = connect(&url).await;
        // It may be refused before all is sent.
        let _ = stream.write_all(endless.as_bytes()).await;
        let answer = read_to_end(&mut stream).await;
        assert!(answer.is_empty() || answer.contains("malformed_request"), "{answer}");
    }
}

/// Asks until it is served. While many make room at once, one more is turned away
/// until some of them have gone.
async fn served(api: &Api, path: &str) {
    until("it is served", || async {
        let answer = api.try_send(api.request("GET", path)).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn at_the_bound_of_open_files_others_are_served_and_deliveries_go_out() {
    let mut few = settings();
    few.open_files = Some(256);
    let program = Program::start(few).await;
    let (api, admin) = (program.api(), program.admin());
    api.create_tenant("acme").await;
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    // Three times as many as there may be files, on both listeners.
    let mut held = Vec::new();
    for round in 0..3 {
        for _ in 0..256 {
            held.push(send(api.url(), "GET /healthz HTTP/1.1\r\nx: ").await);
        }
        for _ in 0..40 {
            held.push(connect(admin.url()).await);
        }
        // On new connections: those before may have made room.
        let (api, admin) = (program.api(), program.admin());
        served(&api, "/healthz").await;
        served(&admin, "/healthz").await;
        served(&admin, "/readyz").await;
        let event = api.publish("acme", "order.paid", &format!("s{round}")).await;
        receiver.wait_for(round + 1).await;
        assert_eq!(api.get(&format!("/v1/events/{event}")).await.status, 200);
    }
    let metrics = String::from_utf8(program.admin().get("/metrics").await.bytes).unwrap();
    let made_room =
        metrics.lines().find(|line| line.contains("made_room") && line.contains("public")).unwrap();
    assert!(!made_room.ends_with(" 0"), "{made_room}");
    drop(held);
}

/// A tenant with events whose data is large.
async fn large_events(api: &Api, tenant: &str, count: usize) -> Vec<String> {
    api.create_tenant(tenant).await;
    let mut ids = Vec::new();
    for n in 0..count {
        let event = json!({ "tenant": tenant, "type": "a.b", "subject": format!("s{n}"),
            "data": { "text": "x".repeat(200_000) } });
        ids.push(api.post("/v1/events", event).await.text("/id"));
    }
    ids
}

/// All rows of a list, page by page, and the length of the longest page.
async fn walk(api: &Api, path: &str) -> (Vec<Value>, usize) {
    let (mut rows, mut longest, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let answer = api.get(&format!("{path}{cursor}")).await;
        let page = answer.expect(200);
        rows.extend(page["data"].as_array().unwrap().iter().cloned());
        longest = longest.max(answer.bytes.len());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (rows, longest),
        }
    }
}

#[tokio::test]
async fn pages_are_bounded_in_bytes_and_leave_nothing_out() {
    let program = start().await;
    let api = program.api();
    let mut ids = large_events(&api, "acme", 12).await;
    let (rows, longest) = walk(&api, "/v1/events?limit=250&expand=data&order=asc").await;
    assert_eq!(rows.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    assert!(rows.iter().all(|row| row["data"]["text"].as_str().is_some_and(|text| text.len() == 200_000)));
    assert!(longest <= 1_200_000, "{longest}");
    ids.reverse();
    let (rows, _) = walk(&api, "/v1/events?limit=250").await;
    assert_eq!(rows.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), ids);

    // What waits in quarantine holds its data, too.
    api.patch("/v1/project", json!({ "validation": "quarantine" })).await.expect(200);
    let strict = json!({ "name": "a.b", "versions": [{ "schema": { "required": ["total"] } }] });
    api.post("/v1/event-types", strict).await.expect(201);
    let mut held = large_events(&api, "beta", 9).await;
    held.reverse();
    let (rows, longest) = walk(&api, "/v1/quarantine?limit=250").await;
    assert_eq!(rows.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(), held);
    assert!(longest <= 1_200_000, "{longest}");
}

#[tokio::test]
async fn attempts_are_read_page_by_page_in_both_orders() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let event = api.publish("acme", "a.b", "s").await;
    receiver.wait_for(1).await;
    let delivery = testkit::until("it is delivered", || async {
        let delivery = api.deliveries_of(&event).await.remove(0);
        (delivery["status"] == "delivered").then_some(delivery)
    })
    .await;
    let path = format!("/v1/deliveries/{}", delivery["id"].as_str().unwrap());
    for attempt in 2..=5_usize {
        api.post(&format!("{path}/replay"), json!({ "force": true })).await.expect(202);
        receiver.wait_for(attempt).await;
        testkit::until("the attempt is logged", || async {
            let attempts = api.attempts_of(&delivery).await;
            (attempts.len() == attempt).then_some(())
        })
        .await;
    }
    let numbers = async |query: &str| {
        let (rows, _) = walk(&api, &format!("{path}/attempts?{query}")).await;
        rows.iter().map(|row| row["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers("limit=2").await, [1, 2, 3, 4, 5]);
    assert_eq!(numbers("limit=2&order=desc").await, [5, 4, 3, 2, 1]);
    let page = api.get(&format!("{path}/attempts?limit=2")).await;
    assert!(page.header("link").is_some_and(|link| link.contains("rel=\"next\"")));
    api.get(&format!("{path}/attempts?limit=0")).await.problem(422, "invalid_request");
}

#[tokio::test]
async fn half_sent_bodies_hold_only_so_much_and_leave_room_for_others() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let key = json!({ "name": "acme's", "scopes": ["*"], "tenant": "acme" });
    let key = api.post("/v1/api-keys", key).await.text("/secret");
    let head = format!(
        "POST /v1/events/batch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: 5000000\r\n\r\n"
    );
    let half = format!("{head}{{\"events\":[{}", " ".repeat(2_000_000));
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut stream = connect(api.url()).await;
        // One that is refused need not be read to its end.
        let _ = stream.write_all(half.as_bytes()).await;
        held.push(stream);
    }
    // Others are none the worse for it.
    api.publish("acme", "a.b", "s").await;
    let answers = join_all(held.iter_mut().map(read_to_end)).await;
    let full = answers.iter().filter(|answer| answer.contains("503 Service Unavailable"));
    let late = answers.iter().filter(|answer| answer.contains("408 Request Timeout"));
    // An eighth of 96 MiB has room for six of them. Each takes as it comes,
    // so that some of those that are refused can keep others out.
    let (full, late) = (full.collect::<Vec<_>>(), late.count());
    full.iter().for_each(|answer| assert_problem(answer, 503, "unavailable"));
    assert!((3..=6).contains(&late), "{late} were held");
    assert_eq!(full.len() + late, answers.len(), "every one is answered");
    // And all of it comes back.
    program.api_with(&key).publish("acme", "a.b", "s").await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_callers_own_address_counts() {
    let program = Program::start(settings().with("POSTHORN_TRUSTED_PROXIES", "127.0.0.1/32")).await;
    let api = program.api();
    let key = json!({ "name": "office", "scopes": ["*"], "allowed_networks": ["198.51.100.0/24"] });
    let office = program.api_with(&api.post("/v1/api-keys", key).await.text("/secret"));
    let from = async |header: &str, value: &str| {
        office.send(office.request("GET", "/v1/events").header(header, value)).await.status
    };
    assert_eq!(office.get("/v1/events").await.status, 401);
    assert_eq!(from("x-forwarded-for", "198.51.100.7").await, 200);
    assert_eq!(from("x-forwarded-for", "198.51.100.7, 203.0.113.9").await, 401);
    assert_eq!(from("forwarded", "for=\"198.51.100.7:1234\";proto=https").await, 200);
    // Where nobody is trusted, everybody may write what they want.
    let program = start().await;
    let api = program.api();
    let key = json!({ "name": "office", "scopes": ["*"], "allowed_networks": ["198.51.100.0/24"] });
    let office = program.api_with(&api.post("/v1/api-keys", key).await.text("/secret"));
    let claimed = office.request("GET", "/v1/events").header("x-forwarded-for", "198.51.100.7");
    assert_eq!(office.send(claimed).await.status, 401);
}

#[tokio::test]
async fn every_answer_tells_browsers_what_it_is() {
    let program = start().await;
    for (path, status, policy) in [
        ("/healthz", 200, "default-src 'none'"),
        ("/openapi.json", 200, "default-src 'none'"),
        ("/docs/", 200, "default-src 'self'"),
        ("/docs/swagger-ui.css", 200, "default-src 'self'"),
        ("/nowhere", 404, "default-src 'none'"),
        ("/v1/events", 200, "default-src 'none'"),
        ("/v1/events?limit=x", 422, "default-src 'none'"),
    ] {
        let answer = program.api().get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert!(
            answer.header("content-security-policy").is_some_and(|value| value.contains(policy)),
            "{path}"
        );
    }
}
