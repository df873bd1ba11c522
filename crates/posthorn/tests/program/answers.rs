//! What a receiver, a name server or a token server says is heard right.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{settings, start};
use serde_json::{Value, json};
use testkit::{
    Api, Authority, Behaviour, Http2, Http2Receiver, Identity, NameServer, Named, Program, Receiver, Secured,
    TlsReceiver,
};

/// Publishes one event to a URL and gives its first attempt.
async fn first_attempt(api: &Api, name: &str, url: &str) -> Value {
    api.create_tenant(name).await;
    api.create_endpoint(name, json!({ "url": url, "timeout_seconds": 2 })).await;
    attempt_for(api, name).await
}

/// Publishes one event for a tenant and gives its first attempt.
async fn attempt_for(api: &Api, tenant: &str) -> Value {
    let event = api.publish(tenant, "order.paid", "ord_1").await;
    testkit::until("the first attempt ends", || async {
        let delivery = api.deliveries_of(&event).await.into_iter().next()?;
        api.attempts_of(&delivery).await.into_iter().next()
    })
    .await
}

#[track_caller]
fn assert_delivered(attempt: &Value, name: &str) {
    assert_eq!(
        (&attempt["error_class"], &attempt["next_attempt_at"]),
        (&json!("none"), &Value::Null),
        "{name}: {attempt}"
    );
}

/// Header lines, each as short as can be.
fn headers(count: usize) -> String {
    (0..count).map(|n| format!("x{n}: y\r\n")).collect()
}

#[tokio::test]
async fn a_success_is_not_sent_again_whatever_follows_its_status_line() {
    let program = start().await;
    let api = program.api();
    let raw = |text: &str| Behaviour::Raw(text.as_bytes().to_vec());
    let hang = |text: &str| Behaviour::RawAndHang(text.as_bytes().to_vec());
    let odd = [
        ("headers-101", raw(&format!("HTTP/1.1 200 OK\r\n{}\r\n", headers(101)))),
        ("headers-5000", raw(&format!("HTTP/1.1 200 OK\r\n{}\r\n", headers(5_000)))),
        ("head-of-300-kib", raw(&format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(300_000)))),
        ("no-colon", raw("HTTP/1.1 204 No Content\r\nthis is no header\r\n\r\n")),
        ("bad-name", raw("HTTP/1.1 200 OK\r\nbad name: 1\r\n\r\n")),
        ("control-character", raw("HTTP/1.1 200 OK\r\nx: \u{1}\r\n\r\n")),
        ("two-lengths", raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab")),
        ("bad-length", raw("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n")),
        ("short-body", raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nok")),
        ("bad-chunk", raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok")),
        ("cut-head", raw("HTTP/1.1 202 Accepted\r\nx: y")),
        ("status-line-alone", raw("HTTP/1.1 200 OK\r\n")),
        ("no-reason", raw("HTTP/1.1 200\r\n\r\n")),
        ("old", raw("HTTP/1.0 200 OK\r\n\r\nok")),
        ("announced", raw("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nbad\r\n\r\n")),
        ("hanging-body", hang("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nok")),
        ("hanging-head", hang("HTTP/1.1 200 OK\r\nx: y\r\n")),
        ("endless-body", Behaviour::Endless),
    ];
    for (name, behaviour) in odd {
        let receiver = Receiver::always(behaviour).await;
        let attempt = first_attempt(&api, name, &receiver.url()).await;
        assert_delivered(&attempt, name);
        assert_eq!(receiver.received().len(), 1, "{name}");
    }
    let health = api.get("/v1/tenants/hanging-head/endpoints").await.expect(200);
    assert_eq!(health["data"][0]["status"], "enabled");
}

#[tokio::test]
async fn the_status_decides_also_where_it_is_no_success() {
    let program = start().await;
    let api = program.api();
    for (name, text, class) in [
        ("broken-503", "HTTP/1.1 503 Oh\r\ncontent-length: 100\r\n\r\nno", "http_5xx"),
        ("odd-429", "HTTP/1.1 429 Oh\r\nthis is no header\r\n\r\n", "http_429"),
        ("cut-301", "HTTP/1.1 301 Oh\r\nlocation: /", "http_3xx"),
        ("no-status", "HTTP/1.1 2OO OK\r\n\r\n", "reset"),
        ("cut-status", "HTTP/1.1 20", "reset"),
        ("no-http", "200 OK\r\n\r\n", "reset"),
        ("only-announced", "HTTP/1.1 103 Early Hints\r\n\r\n", "reset"),
    ] {
        let receiver = Receiver::always(Behaviour::Raw(text.as_bytes().to_vec())).await;
        let attempt = first_attempt(&api, name, &receiver.url()).await;
        assert_eq!(attempt["error_class"], class, "{name}: {attempt}");
    }
}

#[tokio::test]
async fn what_was_odd_about_a_success_stands_in_the_log() {
    let program = start().await;
    let api = program.api();
    let short = Behaviour::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nok".to_vec());
    let receiver = Receiver::always(short).await;
    let attempt = first_attempt(&api, "short", &receiver.url()).await;
    assert_eq!(attempt["error_detail"], "the answer's body was cut off, or does not match its headers");
    assert_eq!((&attempt["response_body"], &attempt["response_truncated"]), (&json!("ok"), &json!(true)));
    let receiver = Receiver::always(Behaviour::Raw(b"HTTP/1.1 200 OK\r\nno header\r\n\r\n".to_vec())).await;
    let attempt = first_attempt(&api, "odd", &receiver.url()).await;
    assert_eq!(
        (&attempt["http_status"], &attempt["error_detail"]),
        (&json!(200), &json!("the answer is not HTTP"))
    );
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "a date is written for the clock of the program under test")]
async fn retry_after_is_obeyed_in_every_form_and_behind_many_headers() {
    let program = start().await;
    let api = program.api();
    let soon = |form: &str| {
        jiff::Timestamp::now()
            .checked_add(jiff::SignedDuration::from_hours(2))
            .unwrap()
            .strftime(form)
            .to_string()
    };
    let two_hours = 7_200;
    for (name, value, secs) in [
        ("seconds", "7200".to_owned(), two_hours),
        ("imf", soon("%a, %d %b %Y %H:%M:%S GMT"), two_hours),
        ("rfc-850", soon("%A, %d-%b-%y %H:%M:%S GMT"), two_hours),
        ("asctime", soon("%a %b %e %H:%M:%S %Y"), two_hours),
        ("beyond-numbers", "99999999999999999999999".to_owned(), 86_400),
        ("beyond-a-day", "10000000".to_owned(), 86_400),
    ] {
        let many = format!("{}retry-after: {value}\r\n", headers(90));
        let receiver = Receiver::always(Behaviour::AnswerWith(503, many)).await;
        let attempt = first_attempt(&api, name, &receiver.url()).await;
        let at = |field: &str| attempt[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let wait = at("next_attempt_at").duration_since(at("started_at")).as_secs();
        assert!((secs - 3..=secs + 3).contains(&wait), "{name}: {wait} s: {attempt}");
        assert_eq!(attempt["next_attempt_reason"], "retry_after", "{name}");
    }
}

#[tokio::test]
async fn every_fault_of_tls_has_its_class_and_its_words() {
    let authority = Authority::default();
    let program = Program::start(settings().with("SSL_CERT_FILE", authority.file())).await;
    let api = program.api();
    let ok = b"HTTP/1.1 200 OK\r\n\r\nfine".to_vec();
    let answering = |identity| Secured::Answering(identity, ok.clone());
    for (name, how, class, words) in [
        ("expired", answering(Identity::Expired), "tls", "has expired"),
        ("not-yet", answering(Identity::NotYet), "tls", "is not valid yet"),
        ("other-name", answering(Identity::OtherName), "tls", "is for another name"),
        ("self-signed", answering(Identity::SelfSigned), "tls", "self-signed"),
        ("incomplete", answering(Identity::Incomplete), "tls", "without the certificates between"),
        (
            "client-certificate",
            Secured::WantingCertificate,
            "tls",
            "does not take our client certificate, or wants one",
        ),
        (
            "plain-http",
            Secured::Plain(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
            "tls",
            "is it plain http?",
        ),
        // An alert of TLS 1.1: protocol_version (RFC 5246, section 7.2).
        (
            "old-protocol",
            Secured::Plain(vec![0x15, 3, 2, 0, 2, 2, 70]),
            "tls",
            "no version or cipher of TLS 1.2",
        ),
        (
            "no-cipher",
            Secured::Plain(vec![0x15, 3, 3, 0, 2, 2, 40]),
            "tls",
            "no version or cipher of TLS 1.2",
        ),
        (
            "unknown-name",
            Secured::Plain(vec![0x15, 3, 3, 0, 2, 2, 112]),
            "tls",
            "does not know this host name",
        ),
        ("closing", Secured::Closing, "tls", "ended during the handshake"),
        ("silent", Secured::Silent, "timeout", "the TLS handshake was not complete"),
    ] {
        let receiver = TlsReceiver::start(&authority, how).await;
        let attempt = first_attempt(&api, name, &receiver.url()).await;
        assert_eq!(attempt["error_class"], class, "{name}: {attempt}");
        let detail = attempt["error_detail"].as_str().unwrap();
        assert!(detail.contains(words), "{name}: {detail}");
    }
    // Neither a length nor close_notify: so end the answers of small servers.
    let receiver = TlsReceiver::start(&authority, answering(Identity::Right)).await;
    let attempt = first_attempt(&api, "no-close-notify", &receiver.url()).await;
    assert_delivered(&attempt, "no-close-notify");
    assert_eq!(attempt["response_body"], "fine");
}

#[tokio::test]
async fn every_fault_of_names_and_connections_has_its_class_and_its_words() {
    let names = NameServer::saying(|name| match name {
        "silent.example" => Named::Silence,
        "missing.example" => Named::Code(3),
        "empty.example" => Named::At(Vec::new(), 0),
        "broken.example" => Named::Code(2),
        "refused.example" => Named::Code(5),
        _ => Named::At(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], 0),
    })
    .await;
    let program = Program::start(settings().with("POSTHORN_NAME_SERVERS", names.address().to_string())).await;
    let api = program.api();
    for (name, url, class, words) in [
        ("silent", "http://silent.example:9999/".to_owned(), "dns", "name servers did not answer"),
        ("missing", "http://missing.example:9999/".to_owned(), "dns", "the name does not exist"),
        ("empty", "http://empty.example:9999/".to_owned(), "dns", "the name exists, but has no address"),
        ("broken", "http://broken.example:9999/".to_owned(), "dns", "SERVFAIL"),
        ("refused", "http://refused.example:9999/".to_owned(), "dns", "refuse to answer"),
        (
            "closed",
            format!("http://{}/", Receiver::refusing().await),
            "connect",
            "the connection was refused",
        ),
    ] {
        let attempt = first_attempt(&api, name, &url).await;
        assert_eq!(attempt["error_class"], class, "{name}: {attempt}");
        let detail = attempt["error_detail"].as_str().unwrap();
        assert!(detail.contains(words) && !detail.contains('{'), "{name}: {detail}");
    }
}

#[tokio::test]
async fn a_name_is_called_that_has_an_underscore_or_no_answer_for_ipv6() {
    let localhost = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let names = NameServer::saying(move |_| Named::OnlyV4(localhost.clone())).await;
    let program = Program::start(settings().with("POSTHORN_NAME_SERVERS", names.address().to_string())).await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(200)).await;
    let url = receiver.url().replace("127.0.0.1", "my_service.internal");
    let attempt = first_attempt(&api, "acme", &url).await;
    assert_delivered(&attempt, "my_service.internal");
    assert!(attempt["milliseconds"]["dns"].as_f64().unwrap() < 1_000.0, "{attempt}");
}

#[tokio::test]
async fn a_name_that_has_just_been_made_is_called_at_the_next_try() {
    let exists = Arc::new(AtomicBool::new(false));
    let is_there = Arc::clone(&exists);
    let names = NameServer::saying(move |_| match is_there.load(Ordering::SeqCst) {
        true => Named::At(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], 300),
        false => Named::Code(3),
    })
    .await;
    let program = Program::start(settings().with("POSTHORN_NAME_SERVERS", names.address().to_string())).await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(200)).await;
    let url = receiver.url().replace("127.0.0.1", "new.example");
    let attempt = first_attempt(&api, "acme", &url).await;
    assert_eq!(attempt["error_class"], "dns");
    exists.store(true, Ordering::SeqCst);
    let endpoint = api.get("/v1/tenants/acme/endpoints").await.text("/data/0/id");
    let test = api.post(&format!("/v1/tenants/acme/endpoints/{endpoint}/test"), json!({})).await.expect(202);
    let requests = receiver.wait_for(1).await;
    assert_eq!(requests[0].header("posthorn-delivery"), test["id"]);
    assert_eq!(requests[0].header("posthorn-retry-reason"), "test");
}

#[tokio::test]
async fn refusals_of_http_2_that_are_safe_are_repeated_at_once_and_cost_no_try() {
    const REFUSED_STREAM: u32 = 7;
    const HTTP_1_1_REQUIRED: u32 = 13;
    let authority = Authority::default();
    let program = Program::start(settings().with("SSL_CERT_FILE", authority.file())).await;
    let api = program.api();
    for (name, refusal, version, words) in [
        (
            "refused",
            Http2::Reset(REFUSED_STREAM),
            "HTTP/2.0",
            "did not take the call on this HTTP/2 connection",
        ),
        ("going-away", Http2::GoAway, "HTTP/2.0", "did not take the call on this HTTP/2 connection"),
        ("http-1", Http2::Reset(HTTP_1_1_REQUIRED), "HTTP/1.1", "once over HTTP/1.1"),
    ] {
        let receiver =
            Http2Receiver::start(&authority, move |n| if n == 0 { refusal } else { Http2::Answer }).await;
        let attempt = first_attempt(&api, name, &receiver.url()).await;
        assert_delivered(&attempt, name);
        assert_eq!((&attempt["number"], &attempt["http_version"]), (&json!(1), &json!(version)), "{name}");
        assert!(attempt["error_detail"].as_str().unwrap().contains(words), "{name}: {attempt}");
        assert_eq!(receiver.calls(), 2, "{name}");
    }
    // Once: what is refused again is a failure, and what is no refusal is one at once.
    const INTERNAL_ERROR: u32 = 2;
    for (name, reset, calls) in [("twice", REFUSED_STREAM, 2), ("failing", INTERNAL_ERROR, 1)] {
        let receiver = Http2Receiver::start(&authority, move |_| Http2::Reset(reset)).await;
        let attempt = first_attempt(&api, name, &receiver.url()).await;
        assert_eq!(
            (&attempt["error_class"], receiver.calls()),
            (&json!("reset"), calls),
            "{name}: {attempt}"
        );
    }
}

#[tokio::test]
async fn headers_of_http_2_are_taken_up_to_256_kib_and_named_beyond() {
    let authority = Authority::default();
    let program = Program::start(settings().with("SSL_CERT_FILE", authority.file())).await;
    let api = program.api();
    let large = Http2Receiver::start(&authority, |_| Http2::AnswerWith(200_000)).await;
    assert_delivered(&first_attempt(&api, "large", &large.url()).await, "200 KB");
    // Also on a connection that is kept: what was answered is not asked again.
    let larger = Http2Receiver::start(&authority, |n| match n {
        0 => Http2::Answer,
        _ => Http2::AnswerWith(400_000),
    })
    .await;
    assert_delivered(&first_attempt(&api, "larger", &larger.url()).await, "a small one");
    let attempt = attempt_for(&api, "larger").await;
    assert_eq!((&attempt["error_class"], larger.calls()), (&json!("headers"), 2), "{attempt}");
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_costs_no_try() {
    let program = start().await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::AnswerAndClose).await;
    assert_delivered(&first_attempt(&api, "acme", &receiver.url()).await, "the first");
    // Whether the closing is seen before the next call or by it, nothing fails.
    for _ in 0..20 {
        let attempt = attempt_for(&api, "acme").await;
        assert_delivered(&attempt, "a later one");
        assert_eq!(attempt["number"], 1);
    }
    assert_eq!(receiver.received().len(), 21);
}

#[tokio::test]
async fn a_kept_connection_that_is_reset_by_the_next_call_costs_no_try_and_stands_in_the_log() {
    let program = start().await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::AnswerAndResetNext).await;
    assert_delivered(&first_attempt(&api, "acme", &receiver.url()).await, "the first");
    // Each connection takes one call, and is reset by the next.
    let attempt = attempt_for(&api, "acme").await;
    assert_delivered(&attempt, "the second");
    assert_eq!(attempt["number"], 1);
    let detail = attempt["error_detail"].as_str().unwrap();
    assert!(detail.contains("was made again at once"), "{detail}");
    // A fresh one that is reset has been heard, as far as anybody can know.
    let resetting = Receiver::always(Behaviour::Reset).await;
    let attempt = first_attempt(&api, "reset", &resetting.url()).await;
    assert_eq!((&attempt["error_class"], resetting.received().len()), (&json!("reset"), 1), "{attempt}");
}

#[tokio::test]
async fn answers_that_are_compressed_or_no_text_can_be_read_in_the_log() {
    let program = start().await;
    let api = program.api();
    // "sorry, not today" as gzip writes it, without compression.
    let text = b"sorry, not today";
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1, 16, 0, 0xef, 0xff];
    gzip.extend(text);
    gzip.extend(0x5025_99b5_u32.to_le_bytes());
    gzip.extend(16_u32.to_le_bytes());
    let answer = |coding: &str, body: &[u8]| {
        let mut bytes =
            format!("HTTP/1.1 500 Oh\r\n{coding}content-length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend(body);
        Behaviour::Raw(bytes)
    };
    for (name, behaviour, body, encoding) in [
        ("gzip", answer("content-encoding: gzip\r\n", &gzip), "sorry, not today", "text"),
        ("binary", answer("", &[0xff, 0xfe, 0, 1]), "//4AAQ==", "base64"),
        ("unknown", answer("content-encoding: compress\r\n", &[0x1f, 0x9d]), "H50=", "base64"),
        (
            "no-gzip",
            answer("content-encoding: gzip\r\n", b"plain all the same"),
            "plain all the same",
            "text",
        ),
    ] {
        let receiver = Receiver::always(behaviour).await;
        let attempt = first_attempt(&api, name, &receiver.url()).await;
        assert_eq!(
            (&attempt["response_body"], &attempt["response_body_encoding"]),
            (&json!(body), &json!(encoding)),
            "{name}: {attempt}"
        );
    }
}

#[tokio::test]
async fn a_token_is_asked_for_as_the_standard_says_and_refusals_are_told_in_plain_words() {
    let program = start().await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    for (name, answer, detail) in [
        ("text-time", r#"{"access_token":"t","token_type":"Bearer","expires_in":"3600"}"#, None),
        ("no-time", r#"{"access_token":"t"}"#, None),
        ("empty", r#"{"access_token":""}"#, Some("with a token that is empty")),
        ("no-token", r#"{"token":"t"}"#, Some("did not answer with a token in JSON")),
        ("no-json", "access_token=t", Some("did not answer with a token in JSON")),
        (
            "refusal",
            r#"{"error":"invalid_scope"}"#,
            Some("answered invalid_scope: it does not know the scope"),
        ),
        ("other-kind", r#"{"access_token":"t","token_type":"mac"}"#, Some("are not bearer tokens")),
    ] {
        let tokens = Receiver::always(Behaviour::Json(answer.to_owned())).await;
        api.create_tenant(name).await;
        let oauth = json!({ "token_url": tokens.url(), "client_id": "a:b c", "client_secret": "s%/+" });
        api.create_endpoint(name, json!({ "url": receiver.url(), "oauth": oauth })).await;
        let attempt = attempt_for(&api, name).await;
        match detail {
            None => assert_delivered(&attempt, name),
            Some(words) => {
                assert_eq!(attempt["error_class"], "oauth", "{name}");
                assert!(attempt["error_detail"].as_str().unwrap().contains(words), "{name}: {attempt}");
            }
        }
        // RFC 6749, section 2.3.1: both are coded as in a form, then joined.
        let asked = &tokens.received()[0];
        assert_eq!(asked.header("authorization"), "Basic YSUzQWIrYzpzJTI1JTJGJTJC");
    }
    let tokens = Receiver::always(Behaviour::Json(r#"{"access_token":"t"}"#.to_owned())).await;
    api.create_tenant("post").await;
    let oauth = json!({
        "token_url": tokens.url(), "client_id": "a:b", "client_secret": "s%", "auth_method": "client_secret_post",
    });
    api.create_endpoint("post", json!({ "url": receiver.url(), "oauth": oauth })).await;
    assert_delivered(&attempt_for(&api, "post").await, "post");
    let asked = &tokens.received()[0];
    assert!(!asked.headers.contains_key("authorization"));
    let form = String::from_utf8(asked.body.clone()).unwrap();
    assert_eq!(form, "grant_type=client_credentials&client_id=a%3Ab&client_secret=s%25");
}

#[tokio::test]
async fn an_answer_is_kept_that_came_before_posthorn_was_stopped() {
    let mut program = start().await;
    let api = program.api();
    let receiver =
        Receiver::always(Behaviour::RawAndHang(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".to_vec()))
            .await;
    api.create_tenant("acme").await;
    api.create_endpoint("acme", json!({ "url": receiver.url(), "timeout_seconds": 30 })).await;
    let event = api.publish("acme", "order.paid", "ord_1").await;
    receiver.wait_for(1).await;
    assert_eq!(program.stop().await, Some(0));
    program.restart().await;
    let delivery = program.api().delivery_with_status(&event, "delivered").await;
    assert_eq!(program.api().attempts_of(&delivery).await.len(), 1);
    assert_eq!(receiver.received().len(), 1);
}
