//! The audit log.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Answer, Api, Behaviour, Program, Receiver};

use crate::common::start;

/// What changes nothing, or has a log of its own.
const NOT_IN_IT: [&str; 6] = [
    "events.publish",
    "events.publishBatch",
    "endpoints.test",
    "endpoints.checkFilter",
    "oauth.token",
    "eventTypes.checkVersion",
];

/// An operation, a request for it, and what the log calls it.
type Change = (&'static str, &'static str, String, Value, &'static str);

/// The newest entry.
async fn newest(api: &Api) -> Value {
    api.get("/v1/audit-log?limit=1").await.expect(200)["data"][0].clone()
}

async fn entries(api: &Api, query: &str) -> Vec<Value> {
    let found = api.get(&format!("/v1/audit-log?{query}")).await.expect(200);
    found["data"].as_array().unwrap().clone()
}

/// One change by each operation that makes one, in an order in which all work.
async fn changes(api: &Api) -> Vec<Change> {
    let receiver = Receiver::always(Behaviour::Hang).await;
    api.create_tenant("acme").await;
    let (endpoint, _) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let delivery = async |subject: &str| {
        let event = api.publish("acme", "a.b", subject).await;
        api.deliveries_of(&event).await[0]["id"].as_str().unwrap().to_owned()
    };
    let (canceled, replayed) = (delivery("one").await, delivery("two").await);
    api.post(&format!("/v1/deliveries/{replayed}/cancel"), json!({})).await.expect(202);
    let key = api.post("/v1/api-keys", json!({ "name": "k", "scopes": ["events:read"] })).await.text("/id");
    let operators = api.post("/v1/operational-endpoints", json!({ "url": receiver.url() })).await.text("/id");
    let strict = json!({ "name": "strict.one", "versions": [{ "schema": { "required": ["total"] } }] });
    api.post("/v1/event-types", strict).await.expect(201);
    api.patch("/v1/project", json!({ "validation": "quarantine" })).await.expect(200);
    let hold = async || {
        let event = json!({ "tenant": "acme", "type": "strict.one", "subject": "s", "data": {} });
        api.post("/v1/events", event).await.text("/id")
    };
    let (released, dropped) = (hold().await, hold().await);
    let open = async || api.post("/v1/tenants/acme/portal-sessions", json!({})).await;
    let (session, opened) = (open().await.text("/id"), open().await);
    let code = opened.text("/url").split_once("#code=").unwrap().1.to_owned();
    let replay = json!({ "mode": "all", "filter": { "endpoint": endpoint }, "rate_per_second": 1, "reason": "they asked" });
    let running = api.post("/v1/replays", replay.clone()).await.text("/id");
    let at = format!("/v1/tenants/acme/endpoints/{endpoint}");
    vec![
        ("project.update", "PATCH", "/v1/project".into(), json!({ "retention_days": 20 }), "project.updated"),
        ("project.pause", "POST", "/v1/project/pause".into(), json!({}), "project.paused"),
        ("project.resume", "POST", "/v1/project/resume".into(), json!({}), "project.resumed"),
        (
            "operationalEndpoints.create",
            "POST",
            "/v1/operational-endpoints".into(),
            json!({ "url": "http://127.0.0.1:9/" }),
            "endpoint.created",
        ),
        (
            "operationalEndpoints.update",
            "PATCH",
            format!("/v1/operational-endpoints/{operators}"),
            json!({ "description": "x" }),
            "endpoint.updated",
        ),
        (
            "operationalEndpoints.delete",
            "DELETE",
            format!("/v1/operational-endpoints/{operators}"),
            json!({}),
            "endpoint.deleted",
        ),
        (
            "retryPolicies.create",
            "POST",
            "/v1/retry-policies".into(),
            json!({ "name": "mine" }),
            "retry_policy.created",
        ),
        (
            "retryPolicies.update",
            "PATCH",
            "/v1/retry-policies/mine".into(),
            json!({ "multiplier": 3 }),
            "retry_policy.updated",
        ),
        (
            "retryPolicies.delete",
            "DELETE",
            "/v1/retry-policies/mine".into(),
            json!({}),
            "retry_policy.deleted",
        ),
        (
            "eventTypes.create",
            "POST",
            "/v1/event-types".into(),
            json!({ "name": "another.one" }),
            "catalogue.updated",
        ),
        (
            "eventTypes.update",
            "PATCH",
            "/v1/event-types/another.one".into(),
            json!({ "description": "x" }),
            "catalogue.updated",
        ),
        (
            "eventTypes.createVersion",
            "POST",
            "/v1/event-types/another.one/versions".into(),
            json!({ "schema": {} }),
            "catalogue.updated",
        ),
        (
            "eventTypes.updateVersion",
            "PATCH",
            "/v1/event-types/another.one/versions/1".into(),
            json!({ "changelog": "x" }),
            "catalogue.updated",
        ),
        (
            "eventTypes.delete",
            "DELETE",
            "/v1/event-types/another.one".into(),
            json!({}),
            "event_type.deleted",
        ),
        (
            "catalogue.apply",
            "POST",
            "/v1/catalogue/apply".into(),
            json!({ "types": [{ "name": "third.one" }] }),
            "catalogue.updated",
        ),
        (
            "quarantine.release",
            "POST",
            format!("/v1/quarantine/{released}/release"),
            json!({ "data": { "total": 1 } }),
            "quarantine.released",
        ),
        (
            "quarantine.drop",
            "POST",
            format!("/v1/quarantine/{dropped}/drop"),
            json!({}),
            "quarantine.dropped",
        ),
        ("tenants.create", "POST", "/v1/tenants".into(), json!({ "id": "gamma" }), "tenant.created"),
        ("tenants.replace", "PUT", "/v1/tenants/gamma".into(), json!({ "name": "Gamma" }), "tenant.updated"),
        ("tenants.replace", "PUT", "/v1/tenants/delta".into(), json!({ "name": "Delta" }), "tenant.created"),
        ("tenants.update", "PATCH", "/v1/tenants/gamma".into(), json!({ "name": "C" }), "tenant.updated"),
        ("tenants.pause", "POST", "/v1/tenants/gamma/pause".into(), json!({}), "tenant.paused"),
        ("tenants.resume", "POST", "/v1/tenants/gamma/resume".into(), json!({}), "tenant.resumed"),
        ("tenants.delete", "DELETE", "/v1/tenants/gamma".into(), json!({}), "tenant.deleted"),
        (
            "endpoints.create",
            "POST",
            "/v1/tenants/acme/endpoints".into(),
            json!({ "url": "http://127.0.0.1:9/" }),
            "endpoint.created",
        ),
        ("endpoints.update", "PATCH", at.clone(), json!({ "description": "x" }), "endpoint.updated"),
        (
            "endpoints.rotateSecret",
            "POST",
            format!("{at}/secret/rotate"),
            json!({}),
            "endpoint.secret_rotated",
        ),
        ("endpoints.reset", "POST", format!("{at}/reset"), json!({}), "endpoint.reset"),
        ("endpoints.pause", "POST", format!("{at}/pause"), json!({}), "endpoint.updated"),
        ("endpoints.resume", "POST", format!("{at}/resume"), json!({}), "endpoint.updated"),
        (
            "deliveries.cancel",
            "POST",
            format!("/v1/deliveries/{canceled}/cancel"),
            json!({}),
            "delivery.canceled",
        ),
        (
            "deliveries.replay",
            "POST",
            format!("/v1/deliveries/{replayed}/replay"),
            json!({}),
            "delivery.replayed",
        ),
        ("replays.pause", "POST", format!("/v1/replays/{running}/pause"), json!({}), "replay.paused"),
        ("replays.resume", "POST", format!("/v1/replays/{running}/resume"), json!({}), "replay.resumed"),
        ("replays.cancel", "POST", format!("/v1/replays/{running}/cancel"), json!({}), "replay.canceled"),
        ("replays.create", "POST", "/v1/replays".into(), replay, "replay.created"),
        (
            "apiKeys.create",
            "POST",
            "/v1/api-keys".into(),
            json!({ "name": "n", "scopes": ["events:read"] }),
            "api_key.created",
        ),
        ("apiKeys.rotate", "POST", format!("/v1/api-keys/{key}/rotate"), json!({}), "api_key.rotated"),
        ("apiKeys.revoke", "DELETE", format!("/v1/api-keys/{key}"), json!({}), "api_key.revoked"),
        (
            "portalSessions.create",
            "POST",
            "/v1/tenants/acme/portal-sessions".into(),
            json!({}),
            "portal_session.opened",
        ),
        (
            "portalSessions.exchange",
            "POST",
            format!("/v1/portal-sessions/{}/exchange", opened.text("/id")),
            json!({ "code": code }),
            "portal_session.exchanged",
        ),
        (
            "portalSessions.end",
            "DELETE",
            format!("/v1/tenants/acme/portal-sessions/{session}"),
            json!({}),
            "portal_session.ended",
        ),
        (
            "portalSessions.endAll",
            "POST",
            "/v1/tenants/acme/portal-sessions/end-all".into(),
            json!({}),
            "portal_session.ended",
        ),
        (
            "erasures.create",
            "POST",
            "/v1/erasures".into(),
            json!({ "tenant": "acme", "subject": "nothing" }),
            "erasure.begun",
        ),
        ("endpoints.delete", "DELETE", at, json!({}), "endpoint.deleted"),
    ]
}

async fn send(api: &Api, method: &str, path: &str, body: &Value) -> Answer {
    api.send(api.request(method, path).header("x-request-id", "from-the-test").json(body)).await
}

#[tokio::test]
async fn every_operation_that_changes_something_leaves_one_entry_that_says_who_and_what() {
    let program = start().await;
    let api = program.api();
    let changes = changes(&api).await;
    let document = api.get("/openapi.json").await.json();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
    let changing: BTreeSet<&str> = operations
        .filter(|(method, _)| *method != "get")
        .filter_map(|(_, operation)| operation["operationId"].as_str())
        .filter(|name| !NOT_IN_IT.contains(name))
        .collect();
    let tried: BTreeSet<&str> = changes.iter().map(|(operation, ..)| *operation).collect();
    assert_eq!(tried, changing, "each is tried here, or named as one that is not in the log");
    let key = api.get("/v1/api-keys?order=asc&limit=1").await.json()["data"][0]["id"].clone();
    for (operation, method, path, body, action) in &changes {
        let before = newest(&api).await["number"].as_u64().unwrap();
        let answer = send(&api, method, path, body).await;
        assert!(
            (200..300).contains(&answer.status),
            "{operation}: {}",
            String::from_utf8_lossy(&answer.bytes)
        );
        let entry = newest(&api).await;
        assert_eq!((&entry["action"], &entry["number"]), (&json!(action), &json!(before + 1)), "{operation}");
        assert_eq!(entry["request_id"], "from-the-test", "{operation}");
        assert_eq!(entry["address"], "127.0.0.1", "{operation}");
        if *operation != "portalSessions.exchange" {
            assert_eq!(entry["actor"], key, "{operation}");
        }
        // What is refused changes nothing, and leaves nothing.
        let refused = send(&api, method, &format!("{path}?nonsense=1"), body).await;
        refused.problem(422, "invalid_request");
        assert_eq!(newest(&api).await, entry, "{operation}");
    }
    let whole = program.run(&["audit", "verify"]).await;
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stdout));
}

#[tokio::test]
async fn an_entry_shows_the_thing_before_and_after_and_no_secret() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let wanted = json!({ "url": "http://127.0.0.1:9/hook", "headers": { "x-planted": "planted-header-value" }, "secret": secret });
    let (endpoint, _) = api.create_endpoint("acme", wanted).await;
    let at = format!("/v1/tenants/acme/endpoints/{endpoint}");
    api.patch(&at, json!({ "description": "new", "headers": { "x-planted": "another-planted-value" } }))
        .await
        .expect(200);
    let made = api
        .post("/v1/api-keys", json!({ "name": "made", "scopes": ["endpoints:read"], "tenant": "acme" }))
        .await;
    let session = api.post("/v1/tenants/acme/portal-sessions", json!({})).await;
    api.get(&format!("{at}/secret")).await.expect(200);

    let found = entries(&api, &format!("target={endpoint}&order=asc")).await;
    let actions: Vec<&Value> = found.iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["endpoint.created", "endpoint.updated", "endpoint.secret_read"]);
    assert!(found.iter().all(|entry| entry["tenant"] == "acme"));
    assert_eq!(found[0]["before"], Value::Null);
    assert_eq!(
        (&found[1]["before"]["description"], &found[1]["after"]["description"]),
        (&json!(""), &json!("new"))
    );
    assert_eq!(found[1]["after"]["headers"], json!({ "x-planted": "***" }));
    let all = api.get("/v1/audit-log?limit=250").await;
    let text = String::from_utf8_lossy(&all.bytes).into_owned();
    let code = session.text("/url").split_once("#code=").unwrap().1.to_owned();
    for planted in [
        secret,
        &secret[6..],
        "planted-header-value",
        "another-planted-value",
        &made.text("/secret"),
        &session.text("/token"),
        &code,
    ] {
        assert!(!text.contains(planted), "{planted}");
    }
}

#[tokio::test]
async fn reads_of_payloads_are_counted_and_written_when_the_hour_or_the_program_ends() {
    let mut program = start().await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(200)).await;
    api.create_tenant("acme").await;
    let (endpoint, _) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let event = api.publish("acme", "a.b", "one").await;
    let delivery = api.delivery_with_status(&event, "delivered").await["id"].as_str().unwrap().to_owned();
    let made = api
        .post(
            "/v1/api-keys",
            json!({ "name": "acme's", "tenant": "acme",
        "scopes": ["payloads:read", "events:read", "deliveries:read", "secrets:read", "audit:read"] }),
        )
        .await;
    let own = program.api_with(&made.text("/secret"));
    let showing = [
        format!("/v1/deliveries/{delivery}/payload"),
        format!("/v1/deliveries/{delivery}/attempts"),
        format!("/v1/events/{event}"),
        "/v1/events?expand=data".to_owned(),
    ];
    for path in &showing {
        own.get(path).await.expect(200);
        api.get(path).await.expect(200);
        api.get(path).await.expect(200);
    }
    own.get(&format!("/v1/tenants/acme/endpoints/{endpoint}/secret")).await.expect(200);
    own.get("/v1/events").await.expect(200);
    let reads = async |program: &Program, action: &str| {
        entries(&program.api(), &format!("action={action}&order=asc")).await
    };
    assert_eq!(reads(&program, "payload.read").await, [Value::Null; 0]);
    assert_eq!(program.stop().await, Some(0));
    program.restart().await;
    let all = program.api().get("/v1/api-keys?order=asc").await.json()["data"][0]["id"].clone();
    let told =
        |entry: &Value| (entry["actor"].clone(), entry["tenant"].clone(), entry["after"]["reads"].clone());
    let mut counted: Vec<_> = reads(&program, "payload.read").await.iter().map(told).collect();
    counted.sort_by_key(|(_, tenant, _)| tenant.to_string());
    assert_eq!(counted, [(json!(made.text("/id")), json!("acme"), json!(4)), (all, Value::Null, json!(8))]);
    assert_eq!(reads(&program, "endpoint.secret_read").await[0]["after"]["reads"], 1);
    // A tenant sees what is about it.
    let seen = entries(&program.api_with(&made.text("/secret")), "limit=250").await;
    assert!(!seen.is_empty() && seen.iter().all(|entry| entry["tenant"] == "acme"), "{seen:?}");
}

#[tokio::test]
async fn the_log_is_exported_as_lines_and_found_by_what_is_asked() {
    let program = start().await;
    let api = program.api();
    for n in 0..40 {
        api.create_tenant(&format!("tenant-{n}")).await;
    }
    let export = async |query: &str| {
        let request = api.request("GET", &format!("/v1/audit-log?{query}"));
        let answer = api.send(request.header("accept", "application/x-ndjson")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
        let lines = String::from_utf8(answer.bytes).unwrap();
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let made: Vec<Value> = export("action=tenant.created&order=asc&limit=7").await;
    let names: Vec<String> = made.iter().map(|entry| entry["target"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, (0..40).map(|n| format!("tenant-{n}")).collect::<Vec<_>>());
    assert_eq!(export("").await.len(), 42, "with the project and the key of the command line");
    assert_eq!(export("actor=command_line").await.len(), 2);
    assert_eq!(export("tenant=tenant-7").await.len(), 1);
    for (query, pointer) in [
        ("actor=nobody", "actor"),
        ("action=tenant.eaten", "action"),
        ("target=", "target"),
        ("occurred_after=yesterday", "occurred_after"),
        ("limit=0", "limit"),
    ] {
        let refused = api.get(&format!("/v1/audit-log?{query}")).await;
        assert_eq!(refused.problem(422, "invalid_request"), [pointer], "{query}");
    }
    let blind = api.post("/v1/api-keys", json!({ "name": "k", "scopes": ["events:read"] })).await;
    program.api_with(&blind.text("/secret")).get("/v1/audit-log").await.problem(403, "forbidden");
}

#[tokio::test]
async fn whoever_changes_the_log_in_the_database_is_found_out() {
    let program = start().await;
    program.api().create_tenant("acme").await;
    program.api().create_tenant("beta").await;
    let verify = async || {
        let output = program.run(&["audit", "verify", "--project", "test"]).await;
        (output.status.code(), String::from_utf8(output.stdout).unwrap().trim().to_owned())
    };
    let (code, whole) = verify().await;
    assert!(code == Some(0) && whole.starts_with("test: whole, 4 entries; the last is 4, "), "{whole}");
    for (change, undo, told) in [
        (
            "UPDATE audit_contents SET content = replace(content, 'acme', 'else') WHERE number = 3",
            "UPDATE audit_contents SET content = replace(content, 'else', 'acme') WHERE number = 3",
            "test: entry 3 was changed; 2 entries before it are right",
        ),
        (
            "UPDATE audit_contents SET actor = 'posthorn' WHERE number = 1",
            "UPDATE audit_contents SET actor = 'command_line' WHERE number = 1",
            "test: entry 1 was changed; 0 entries before it are right",
        ),
        (
            "UPDATE audit_chain SET number = 5 WHERE number = 4",
            "UPDATE audit_chain SET number = 4 WHERE number = 5",
            "test: entry 4 is missing; 3 entries before it are right",
        ),
        (
            "UPDATE audit_logs SET last = 3",
            "UPDATE audit_logs SET last = 4",
            "test: the record of where the log begins and ends was changed; 0 entries before it are right",
        ),
        (
            "UPDATE audit_chain SET at = 0 WHERE number = 1",
            "UPDATE audit_chain SET at = (SELECT at FROM kept)",
            "test: entry 1 was changed; 0 entries before it are right",
        ),
    ] {
        program.sql("DROP TABLE IF EXISTS kept").await;
        program.sql("CREATE TABLE kept AS SELECT at FROM audit_chain WHERE number = 1").await;
        program.sql(change).await;
        assert_eq!(verify().await, (Some(1), told.to_owned()), "{change}");
        let undo = undo.replace("(SELECT at FROM kept)", "(SELECT at FROM kept) WHERE number = 1");
        program.sql(&undo).await;
        assert_eq!(verify().await.0, Some(0), "{undo}");
    }
    // Nobody calls an entry erased but an erasure.
    let erased = "UPDATE audit_chain SET erasure = id, mark = digest WHERE number = 2";
    program.sql(erased).await;
    program.sql("DELETE FROM audit_contents WHERE number = 2").await;
    assert_eq!(
        verify().await,
        (Some(1), "test: entry 2 is missing; 1 entries before it are right".to_owned())
    );
    // What is cut off from the end stays missed, also when the log goes on.
    program.sql("DELETE FROM audit_contents WHERE number > 1").await;
    program.sql("DELETE FROM audit_chain WHERE number > 1").await;
    program
        .sql("UPDATE audit_logs SET last = 1, link = (SELECT link FROM audit_chain WHERE number = 1)")
        .await;
    program.api().create_tenant("gamma").await;
    let ends = "the record of where the log begins and ends was changed; 0 entries before it are right";
    assert_eq!(verify().await, (Some(1), format!("test: {ends}")));
    program.sql("DELETE FROM audit_logs").await;
    assert_eq!(verify().await, (Some(1), format!("test: {ends}")));
    let unknown = program.run(&["audit", "verify", "--project", "nobody"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no project nobody"));
}
