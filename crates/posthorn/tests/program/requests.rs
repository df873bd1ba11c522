//! What a caller says is heard right: bodies, queries, conditions.

use std::io::Write as _;

use crate::common::{settings, start};
use serde_json::{Value, json};
use testkit::{Answer, Api, Behaviour, Program, Receiver, until};

/// The fields of an event, with this text as its data.
fn event(data: &str) -> String {
    format!(r#"{{"tenant":"acme","type":"order.paid","subject":"ord_1","data":{data}}}"#)
}

async fn with_receiver(receiver: &Receiver) -> (Program, Api, String) {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let (endpoint, _) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    (program, api, format!("/v1/tenants/acme/endpoints/{endpoint}"))
}

#[tokio::test]
async fn whatever_the_grammar_of_json_allows_arrives_byte_for_byte() {
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let (_program, api, path) = with_receiver(&receiver).await;
    api.patch(&path, json!({ "payload": "data" })).await.expect(200);
    let taken = [
        r#"{"x":1e400}"#,
        r#"{"x":-1E+999,"y":1e-999,"z":123456789012345678901234567890.10}"#,
        r#"{"x":"\ud800","y":"\udc00\ud800","\ud83d":1}"#,
        r#"{"x":"\u0000\/\ud83d\ude00","":{}}"#,
        "{ \"x\" :\t[ 1.10 , 1.1e0 ] \r\n}",
    ];
    for (n, data) in taken.iter().enumerate() {
        api.post_bytes("/v1/events", event(data)).await.expect(202);
        let body = receiver.wait_for(n + 1).await.remove(n).body;
        assert_eq!(String::from_utf8(body).unwrap(), *data);
    }
    let batch = format!(r#"{{"events":[{},{}]}}"#, event(taken[0]), event(taken[2]));
    let answer = api.post_bytes("/v1/events/batch", batch).await.expect(200);
    assert_eq!(
        (&answer["results"][0]["status"], &answer["results"][1]["status"]),
        (&json!(202), &json!(202))
    );
    for (data, pointer) in
        [(r#"{"x":1e400,"a":{"b":1,"b":2}}"#, "/data/a/b"), (r#"[1e400]"#, "/data"), (r#""\ud800""#, "/data")]
    {
        assert_eq!(
            api.post_bytes("/v1/events", event(data)).await.problem(422, "invalid_request"),
            [pointer]
        );
    }
    // Fields that are read are refused by their place, and not as malformed.
    let odd = event("{}").replace("ord_1", r"\ud800");
    assert_eq!(api.post_bytes("/v1/events", odd).await.problem(422, "invalid_request"), ["/subject"]);
    for malformed in [r#"{"x":1e}"#, r#"{"x":01}"#, "{'x':1}", r#"{"x":"\u12"}"#, "{\"x\":\"\t\"}"] {
        api.post_bytes("/v1/events", event(malformed)).await.problem(400, "malformed_request");
    }
}

#[tokio::test]
async fn a_schema_and_a_filter_see_what_cannot_be_held_as_the_guide_says() {
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let (_program, api, path) = with_receiver(&receiver).await;
    let schema = json!({ "properties": { "x": { "type": "number", "maximum": 10 } } });
    api.post("/v1/event-types", json!({ "name": "order.paid", "versions": [{ "schema": schema }] }))
        .await
        .expect(201);
    assert_eq!(
        api.post_bytes("/v1/events", event(r#"{"x":1e400}"#)).await.problem(422, "invalid_request"),
        ["/data/x"]
    );
    api.post_bytes("/v1/events", event(r#"{"x":-1e400}"#)).await.expect(202);
    api.patch(&path, json!({ "filter": { "at": "/data/y", "above": 5 } })).await.expect(200);
    let sent = api.post_bytes("/v1/events", event(r#"{"y":1e400}"#)).await.text("/id");
    assert_eq!(api.deliveries_of(&sent).await.len(), 1);
    let kept = api.post_bytes("/v1/events", event(r#"{"y":-1e400}"#)).await.text("/id");
    assert_eq!(api.deliveries_of(&kept).await.len(), 0);
}

#[tokio::test]
async fn byte_order_marks_and_bodies_that_are_no_documents_are_named() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let detail = |answer: Answer| {
        answer.problem(400, "malformed_request");
        answer.text("/detail")
    };
    let marked = [b"\xef\xbb\xbf".as_slice(), event("{}").as_bytes()].concat();
    assert!(detail(api.post_bytes("/v1/events", marked).await).contains("byte order mark"));
    let utf_16: Vec<u8> = event("{}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf_16 = [b"\xff\xfe".as_slice(), &utf_16].concat();
    assert!(detail(api.post_bytes("/v1/events", utf_16).await).contains("UTF-16"));
    // Nothing is no document, and changes nothing.
    api.patch("/v1/tenants/acme", json!({ "name": "Acme" })).await.expect(200);
    for (method, path) in [
        ("PUT", "/v1/tenants/acme"),
        ("PATCH", "/v1/tenants/acme"),
        ("POST", "/v1/tenants"),
        ("POST", "/v1/events"),
        ("POST", "/v1/events/batch"),
        ("POST", "/v1/replays"),
        ("PATCH", "/v1/project"),
    ] {
        for body in ["", "  \n"] {
            let request = api.request(method, path).header("content-type", "application/json").body(body);
            let detail = detail(api.send(request).await);
            assert!(detail.contains("the body is empty"), "{method} {path}: {detail}");
        }
    }
    assert_eq!(api.get("/v1/tenants/acme").await.expect(200)["name"], "Acme");
}

#[tokio::test]
async fn objects_are_objects_and_unknown_names_are_refused_whatever_their_value() {
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let (_program, api, path) = with_receiver(&receiver).await;
    // The fields in their order are no object.
    let listed = r#"["acme","order.paid","ord_1",{}]"#;
    for (method, to, body, pointer) in [
        ("POST", "/v1/events", listed.to_owned(), ""),
        ("POST", "/v1/tenants", r#"["beta"]"#.to_owned(), ""),
        ("POST", "/v1/replays", r#"["failed"]"#.to_owned(), ""),
        ("POST", "/v1/replays", r#"{"mode":"failed","filter":["ep_1"]}"#.to_owned(), "/filter"),
        ("POST", "/v1/events/batch", "[[]]".to_owned(), ""),
        ("PATCH", path.as_str(), "[]".to_owned(), ""),
        ("PATCH", path.as_str(), r#"{"oauth":["https://t.example/","id","secret"]}"#.to_owned(), "/oauth"),
        ("PATCH", path.as_str(), r#"{"rate_limit":null}"#.to_owned(), "/rate_limit"),
        ("PATCH", path.as_str(), r#"{"oauth":{"secret":null}}"#.to_owned(), "/oauth/secret"),
        ("PATCH", "/v1/tenants/acme", r#"{"nam":null}"#.to_owned(), "/nam"),
        ("PATCH", "/v1/project", r#"{"nam":null}"#.to_owned(), "/nam"),
    ] {
        let request = api.request(method, to).header("content-type", "application/json").body(body.clone());
        let answer = api.send(request).await;
        assert_eq!(answer.problem(422, "invalid_request"), [pointer], "{method} {to} {body}");
    }
    let batch = format!(r#"{{"events":[{listed}]}}"#);
    let answer = api.post_bytes("/v1/events/batch", batch).await.expect(200);
    assert_eq!(answer["results"][0]["status"], 422);
    // What is not there is named together with what is.
    let refused = api.patch(&path, json!({ "rate_limit": null })).await;
    assert!(refused.text("/errors/0/detail").contains("`rate_limit_per_second`"), "{refused:?}");
    // What is known may be taken away.
    api.patch(&path, json!({ "rate_limit_per_second": null, "metadata": null, "oauth": null }))
        .await
        .expect(200);
}

#[tokio::test]
async fn every_route_refuses_parameters_that_it_does_not_have_and_lists_those_it_has() {
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let (program, api, _) = with_receiver(&receiver).await;
    let document = api.get("/openapi.json").await.expect(200);
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            let at = path.replace(['{', '}'], "");
            let request = api
                .request(&method.to_uppercase(), &format!("{at}?colour=red"))
                .header("content-type", "application/json");
            let answer = api.send(request.body("{}")).await;
            if path == "/v1/oauth/token" {
                // As its RFC has it.
                let refused = answer.expect(400);
                assert_eq!(refused["error"], "invalid_request");
                assert!(refused["error_description"].as_str().unwrap().starts_with("colour: "), "{refused}");
                continue;
            }
            assert_eq!(answer.problem(422, "invalid_request"), ["colour"], "{method} {path}");
        }
    }
    let refused = api.get("/v1/deliveries?state=failed").await;
    let detail = refused.text("/errors/0/detail");
    assert!(detail.contains("status") && detail.contains("undelivered"), "{detail}");
    // Who may not see a route is not told what it takes.
    let stranger = program.api_with("phk_nobody");
    stranger.get("/v1/deliveries?state=failed").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_cursor_works_in_its_own_list_alone() {
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let (_program, api, _) = with_receiver(&receiver).await;
    for n in 0..4 {
        api.publish("acme", "order.paid", &format!("ord_{n}")).await;
    }
    let first = api.get("/v1/events?limit=2&type=order.*").await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let next = api.get(&format!("/v1/events?limit=3&type=order.*&cursor={cursor}")).await.expect(200);
    assert_eq!(next["data"].as_array().unwrap().len(), 2);
    for other in [
        "/v1/events?",
        "/v1/events?type=order.*&order=asc&",
        "/v1/events?type=order.paid&",
        "/v1/deliveries?type=order.*&",
    ] {
        let refused = api.get(&format!("{other}cursor={cursor}")).await;
        assert_eq!(refused.problem(422, "invalid_request"), ["cursor"], "{other}");
    }
}

#[tokio::test]
async fn what_a_caller_has_already_is_not_sent_again_and_nothing_is_overwritten_unseen() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let conditional = async |method: &str, condition: &str| {
        let request = api.request(method, "/v1/tenants/acme").header("if-none-match", condition);
        let body = if method == "PUT" { r#"{"name":"New"}"# } else { "" };
        api.send(request.header("content-type", "application/json").body(body)).await
    };
    let tag = api.get("/v1/tenants/acme").await.header("etag").unwrap().to_owned();
    for (condition, status) in [
        (tag.as_str(), 304),
        (&format!("W/{tag}"), 304),
        (&format!("\"other\", {tag}"), 304),
        ("*", 304),
        ("\"other\"", 200),
    ] {
        let answer = conditional("GET", condition).await;
        assert_eq!(answer.status, status, "{condition}");
        assert_eq!((answer.bytes.is_empty(), answer.header("etag")), (status == 304, Some(tag.as_str())));
        assert!(answer.header("x-request-id").is_some());
    }
    conditional("PUT", "*").await.problem(412, "precondition_failed");
    conditional("PUT", &tag).await.problem(412, "precondition_failed");
    // What is derived when it is read is news, though nobody changed the thing.
    let (endpoint, _) =
        api.create_endpoint("acme", json!({ "url": "https://example.com/", "status": "paused" })).await;
    let sent = api.publish("acme", "order.paid", "ord_1").await;
    let delivery = format!("/v1/deliveries/{}", api.deliveries_of(&sent).await[0]["id"].as_str().unwrap());
    let held = api.get(&delivery).await;
    assert_eq!(held.expect(200)["held_by"], "paused");
    let again = async || {
        api.send(api.request("GET", &delivery).header("if-none-match", held.header("etag").unwrap())).await
    };
    assert_eq!(again().await.status, 304);
    api.delete(&format!("/v1/tenants/acme/endpoints/{endpoint}")).await;
    assert_eq!(again().await.expect(200)["held_by"], Value::Null);
    assert_eq!(api.get("/v1/tenants/acme").await.expect(200)["name"], "acme");
    let request = api
        .request("PUT", "/v1/tenants/beta")
        .header("if-none-match", "*")
        .header("content-type", "application/json");
    api.send(request.body(r#"{"name":"Beta"}"#)).await.expect(201);
}

#[tokio::test]
async fn bodies_may_be_compressed_within_the_same_bounds() {
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let (_program, api, _) = with_receiver(&receiver).await;
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd =
        |bytes: &[u8]| ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest);
    let send = async |coding: &str, body: Vec<u8>| {
        let request = api.request("POST", "/v1/events").header("content-type", "application/json");
        api.send(request.header("content-encoding", coding).body(body)).await
    };
    let plain = event(r#"{"text":"hello"}"#);
    send("gzip", gzip(plain.as_bytes())).await.expect(202);
    send("zstd", zstd(plain.as_bytes())).await.expect(202);
    send("identity", plain.clone().into_bytes()).await.expect(202);
    for coding in ["br", "deflate", "gzip, gzip", "rot13"] {
        let refused = send(coding, gzip(plain.as_bytes())).await;
        refused.problem(415, "unsupported_media_type");
        assert!(refused.text("/detail").contains("gzip or zstd"));
    }
    let mut cut = gzip(plain.as_bytes());
    cut.truncate(cut.len() - 5);
    for (coding, broken) in
        [("gzip", cut), ("gzip", plain.clone().into_bytes()), ("zstd", gzip(plain.as_bytes()))]
    {
        send(coding, broken).await.problem(400, "malformed_request");
    }
    let bomb = gzip(&vec![b' '; 50_000_000]);
    send("gzip", bomb).await.problem(413, "payload_too_large");
    assert_eq!(receiver.wait_for(3).await.len(), 3);
}

#[tokio::test]
async fn head_is_get_without_a_body_on_both_listeners() {
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let (program, api, path) = with_receiver(&receiver).await;
    let admin = program.admin();
    admin.until_ready().await;
    for (listener, path) in [
        (&api, "/healthz"),
        (&api, "/openapi.json"),
        (&api, "/v1/tenants"),
        (&api, path.as_str()),
        (&admin, "/healthz"),
        (&admin, "/metrics"),
        (&admin, "/readyz"),
    ] {
        let head = listener.send(listener.request("HEAD", path)).await;
        assert_eq!((head.status, head.bytes.len()), (200, 0), "{path}");
        let get = listener.get(path).await;
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        if path != "/metrics" {
            assert_eq!(head.header("content-length"), Some(get.bytes.len().to_string().as_str()), "{path}");
        }
    }
    assert_eq!(api.send(api.request("HEAD", "/v1/events/batch")).await.status, 405);
}

#[tokio::test]
async fn a_url_or_a_method_that_is_not_there_is_a_problem_with_a_request_id_on_both_listeners() {
    let program = start().await;
    for api in [program.api(), program.admin()] {
        for (method, path, status, code) in [
            ("GET", "/nowhere", 404, "not_found"),
            ("GET", "/", 404, "not_found"),
            ("DELETE", "/healthz", 405, "method_not_allowed"),
        ] {
            let answer = api.send(api.request(method, path)).await;
            answer.problem(status, code);
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {path}");
            assert_eq!(answer.header("x-request-id"), Some(answer.text("/request_id").as_str()));
        }
    }
}

#[tokio::test]
async fn lists_and_replays_take_patterns_labels_and_times_with_offsets() {
    let receiver = Receiver::always(Behaviour::Answer(400)).await;
    let (_program, api, path) = with_receiver(&receiver).await;
    for (event_type, region) in [("order.paid", "eu"), ("order.item.sent", "us"), ("user.left", "eu")] {
        let event = json!({ "tenant": "acme", "type": event_type, "subject": "s", "data": {}, "labels": { "region": region } });
        api.post("/v1/events", event).await.expect(202);
    }
    let count = async |path: &str| api.get(path).await.expect(200)["data"].as_array().unwrap().len();
    for list in ["events", "deliveries"] {
        for (query, many) in [
            ("type=order.*", 2),
            ("type=*", 3),
            ("type=order.item.*", 1),
            ("label=region:eu", 2),
            ("type=order.*&label=region:eu", 1),
            ("occurred_after=2020-01-01T00:00:00+02:00", 3),
            ("occurred_before=2020-01-01T00:00:00%2B02:00", 0),
        ] {
            assert_eq!(count(&format!("/v1/{list}?{query}")).await, many, "{list}?{query}");
        }
        for (query, parameter) in [
            ("type=order*", "type"),
            ("label=region", "label"),
            ("occurred_after=2020-01-01 10:00", "occurred_after"),
        ] {
            let refused = api.get(&format!("/v1/{list}?{query}")).await;
            assert_eq!(refused.problem(422, "invalid_request"), [parameter], "{list}?{query}");
        }
    }
    let endpoint = path.rsplit('/').next().unwrap();
    until("all have failed once", || async {
        (count("/v1/deliveries?error_class=http_4xx").await == 3).then_some(())
    })
    .await;
    for (filter, many) in [
        (json!({ "type": "order.*" }), 2),
        (json!({ "label": "region:eu" }), 2),
        (json!({ "type": "*", "label": "region:us" }), 1),
    ] {
        let mut filter = filter;
        filter["endpoint"] = json!(endpoint);
        let wish = json!({ "mode": "all", "filter": filter, "dry_run": true });
        assert_eq!(api.post("/v1/replays", wish).await.expect(200), json!({ "matched": many }));
    }
    let wish = json!({ "mode": "all", "filter": { "endpoint": endpoint, "type": "order*", "label": "eu" } });
    assert_eq!(
        api.post("/v1/replays", wish).await.problem(422, "invalid_request"),
        ["/filter/type", "/filter/label"]
    );
}

#[tokio::test]
async fn a_filter_is_replaced_and_not_merged() {
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let (_program, api, path) = with_receiver(&receiver).await;
    let set = async |filter: Value| {
        api.patch(&path, json!({ "filter": filter })).await.expect(200)["filter"].clone()
    };
    let old = json!({ "all": [{ "at": "/data/total", "above": 5 }] });
    assert_eq!(set(old.clone()).await, old);
    let new = json!({ "at": "/data/total", "equals": null });
    assert_eq!(set(new.clone()).await, new);
    assert_eq!(set(Value::Null).await, Value::Null);
    let described = api.patch(&path, json!({ "filter": new, "description": "d" })).await.expect(200);
    assert_eq!(
        api.patch(&path, json!({ "description": "e" })).await.expect(200)["filter"],
        described["filter"]
    );
}

#[tokio::test]
async fn a_repeated_release_or_drop_gets_the_first_answer() {
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let (_program, api, _) = with_receiver(&receiver).await;
    api.patch("/v1/project", json!({ "validation": "quarantine" })).await.expect(200);
    let schema = json!({ "required": ["total"] });
    api.post("/v1/event-types", json!({ "name": "order.paid", "versions": [{ "schema": schema }] }))
        .await
        .expect(201);
    for (action, body) in [("release", json!({ "data": { "total": 1 } })), ("drop", json!({}))] {
        let id = api.post_bytes("/v1/events", event("{}")).await.text("/id");
        let act = async |body: &Value| {
            let request = api
                .request("POST", &format!("/v1/quarantine/{id}/{action}"))
                .header("idempotency-key", action);
            api.send(request.json(body)).await
        };
        let first = act(&body).await;
        first.expect(200);
        let again = act(&body).await;
        assert_eq!(
            (again.json(), again.header("idempotency-replayed")),
            (first.json(), Some("true")),
            "{action}"
        );
        act(&json!({ "data": { "total": 2 } })).await.problem(422, "idempotency_mismatch");
        // Without the key, it is a second time.
        api.post(&format!("/v1/quarantine/{id}/{action}"), json!({})).await.problem(409, "conflict");
    }
    assert_eq!(receiver.wait_for(1).await.len(), 1);
}

#[tokio::test]
async fn a_repeated_replay_or_cancel_of_a_delivery_gets_the_first_answer_whole() {
    let receiver = Receiver::always(Behaviour::Answer(400)).await;
    let (_program, api, path) = with_receiver(&receiver).await;
    let sent = api.publish("acme", "order.paid", "ord_1").await;
    let delivery = api.delivery_with_status(&sent, "retrying").await;
    let id = delivery["id"].as_str().unwrap();
    for action in ["replay", "cancel"] {
        let act = async || {
            let request = api
                .request("POST", &format!("/v1/deliveries/{id}/{action}"))
                .header("idempotency-key", action);
            api.send(request.json(&json!({}))).await
        };
        let first = act().await;
        first.expect(202);
        let again = act().await;
        assert_eq!(again.json(), first.json(), "{action}");
        assert_eq!((&again.json()["id"], again.json()["created_at"].is_string()), (&json!(id), true));
        if action == "replay" {
            api.patch(&path, json!({ "status": "paused" })).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_test_shows_the_first_answer_a_scenario_what_came_of_it_and_neither_is_replayed() {
    let receiver =
        Receiver::start(|request| match request.headers.get("posthorn-retry-reason").map(String::as_str) {
            Some("test") if request.path == "/hook" => Behaviour::Answer(500),
            _ => Behaviour::Answer(204),
        })
        .await;
    let (_program, api, path) = with_receiver(&receiver).await;
    let tested = api.post(&format!("{path}/test?wait=10"), json!({})).await.expect(202);
    assert_eq!(
        (&tested["attempt"]["http_status"], &tested["status"]),
        (&json!(500), &json!("failed")),
        "{tested}"
    );
    let refused =
        api.post(&format!("/v1/deliveries/{}/replay", tested["id"].as_str().unwrap()), json!({})).await;
    refused.problem(409, "conflict");
    for (scenario, result) in [("duplicate", "failed"), ("bad_signature", "failed")] {
        let answer =
            api.post(&format!("{path}/test?wait=10"), json!({ "scenario": scenario })).await.expect(202);
        assert_eq!(answer["result"], result, "{answer}");
        assert!(answer["why"].as_str().unwrap().contains("500"), "{answer}");
    }
    api.patch(&path, json!({ "url": receiver.url().replace("/hook", "/safe") })).await.expect(200);
    let answer =
        api.post(&format!("{path}/test?wait=10"), json!({ "scenario": "out_of_order" })).await.expect(202);
    assert_eq!(
        (&answer["result"], answer["attempts"].as_array().unwrap().len()),
        (&json!("passed"), 2),
        "{answer}"
    );
    let pending = api.post(&format!("{path}/test"), json!({ "scenario": "delayed" })).await.expect(202);
    assert_eq!(pending["result"], "pending");
    assert_eq!(
        api.post(&format!("{path}/test?wait=31"), json!({})).await.problem(422, "invalid_request"),
        ["wait"]
    );
    // Nothing of that is a delivery that failed, for replays and for the health.
    let endpoint = path.rsplit('/').next().unwrap();
    for mode in ["failed", "all"] {
        let wish = json!({ "mode": mode, "filter": { "endpoint": endpoint }, "dry_run": true });
        assert_eq!(api.post("/v1/replays", wish).await.expect(200), json!({ "matched": 0 }), "{mode}");
    }
    let health = api.get(&format!("{path}/health")).await.expect(200);
    assert_eq!(
        (&health["breaker"], &health["failures"], &health["failing_since"]),
        (&json!("closed"), &json!(0), &Value::Null),
        "{health}"
    );
    assert_eq!(health["success_rate"], Value::Null, "{health}");
}

#[tokio::test]
async fn a_size_budget_warns_also_where_a_type_has_no_version() {
    let program = Program::start(settings()).await;
    let api = program.api();
    api.create_tenant("acme").await;
    api.post("/v1/event-types", json!({ "name": "order.paid", "size_budget_bytes": 10 })).await.expect(201);
    let answer = api.post_bytes("/v1/events", event(r#"{"text":"longer than that"}"#)).await.expect(202);
    assert_eq!(answer["warnings"][0]["code"], "over_budget", "{answer}");
}
