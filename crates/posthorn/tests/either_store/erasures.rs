//! Erasures: what is kept of a tenant or a subject is gone, and a receipt is left.

use std::path::Path;

use serde_json::{Value, json};
use testkit::{Api, Behaviour, Program, Receiver};

use crate::common::start;

/// Where a text stands in the store: names of files, or of tables.
async fn found_in(program: &Program, text: &str) -> Vec<String> {
    let is_postgres = program.settings().iter().any(|(name, _)| *name == "POSTHORN_DATABASE_URL");
    if !is_postgres {
        return files_with(&program.folder().join("posthorn-data"), text.as_bytes());
    }
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    // Each table is asked by a statement of its own, within this one.
    let ask = format!(
        "format('SELECT count(*) AS c FROM %I t WHERE t::text LIKE %L OR t::text LIKE %L', \
         tablename, '%{text}%', '%{hex}%')"
    );
    let tables = format!(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' \
         AND (xpath('/row/c/text()', query_to_xml({ask}, false, true, '')))[1]::text <> '0'"
    );
    program.sql(&tables).await.lines().map(str::to_owned).collect()
}

/// The files of a folder in whose bytes a text stands.
fn files_with(folder: &Path, text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if bytes.windows(text.len()).any(|part| part == text) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

/// What the receipt names stands in its table, which on the embedded store is in the
/// same files as everything else.
#[track_caller]
fn assert_is_receipt_alone(found: &[String]) {
    let is_its_place =
        |place: &String| ["erasures", "posthorn.db", "posthorn.db-wal"].contains(&place.as_str());
    assert!(!found.is_empty() && found.iter().all(is_its_place), "{found:?}");
}

/// Texts that stand in one place each of what is kept of a tenant.
const PLANTED: [&str; 11] = [
    "planted-name",
    "planted-contact",
    "planted-metadata",
    "planted-url",
    "planted-description",
    "planted-data",
    "planted-subject",
    "planted-label",
    "planted-answer",
    "planted-quarantine",
    "planted-key-name",
];

/// A tenant with something planted wherever something of it is kept.
async fn plant(api: &Api, tenant: &str, receiver: &Receiver) -> (String, String) {
    let contacts = json!({ "id": tenant, "name": "planted-name", "contacts": ["planted-contact@example.com"],
        "metadata": { "note": "planted-metadata" } });
    api.post("/v1/tenants", contacts).await.expect(201);
    let (url, described) = (format!("{}/planted-url", receiver.url()), "planted-description");
    let (endpoint, _) = api.create_endpoint(tenant, json!({ "url": url, "description": described })).await;
    let declared = json!({ "name": "strict.one", "versions": [{ "schema": { "required": ["total"] } }] });
    api.post("/v1/event-types", declared).await;
    api.patch("/v1/project", json!({ "validation": "quarantine" })).await.expect(200);
    let event = json!({ "tenant": tenant, "type": "a.b", "subject": "planted-subject",
        "data": { "note": "planted-data", "much": "x".repeat(20_000) }, "labels": { "region": "planted-label" },
        "idempotency_key": "planted-idempotency-key" });
    let published = api.post("/v1/events", event).await.text("/id");
    api.delivery_with_status(&published, "delivered").await;
    let held = json!({ "tenant": tenant, "type": "strict.one", "subject": "s", "data": { "note": "planted-quarantine" } });
    api.post("/v1/events", held).await.expect(202);
    let key = json!({ "name": "planted-key-name", "scopes": ["events:read"], "tenant": tenant });
    let key = api.post("/v1/api-keys", key).await.text("/secret");
    api.with_key(&key).get("/v1/events").await.expect(200);
    let theme = json!({ "theme": { "name": "planted-theme" } });
    let session = api.post(&format!("/v1/tenants/{tenant}/portal-sessions"), theme).await.text("/token");
    // By the customer, under a key of their own.
    let customer = api.with_key(&session);
    let own = customer.request("POST", &format!("/v1/tenants/{tenant}/endpoints"));
    let own = own
        .header("idempotency-key", "planted-session-key")
        .json(&json!({ "url": format!("{}/own", receiver.url()) }));
    customer.send(own).await.expect(201);
    let wish = json!({ "mode": "failed", "filter": { "endpoint": endpoint, "subject": "planted-subject" }, "reason": "planted-reason" });
    api.post("/v1/replays", wish).await.expect(202);
    (published, endpoint)
}

#[tokio::test]
async fn after_an_erasure_nothing_of_the_tenant_is_in_the_store_but_the_receipt() {
    let mut program = start().await;
    let api = program.api();
    let receiver = Receiver::start(|_| Behaviour::Json("\"planted-answer\"".to_owned())).await;
    let (event, _) = plant(&api, "planted-tenant", &receiver).await;
    for text in PLANTED {
        assert!(!found_in(&program, text).await.is_empty(), "{text} is there to be erased");
    }
    // And something that waits.
    api.patch("/v1/project", json!({ "validation": "reject" })).await.expect(200);
    api.post("/v1/tenants/planted-tenant/pause", json!({})).await.expect(200);
    api.publish("planted-tenant", "a.b", "planted-subject").await;
    let receipt = api.delete("/v1/tenants/planted-tenant?erase=true").await;
    let receipt = receipt.expect(200);
    assert_eq!((&receipt["state"], &receipt["tenant"]), (&json!("completed"), &json!("planted-tenant")));
    let erased = &receipt["erased"];
    for (what, count) in [
        ("events", 2),
        ("deliveries", 3),
        ("attempts", 1),
        ("quarantined", 1),
        ("endpoints", 2),
        ("api_keys", 1),
        ("portal_sessions", 1),
        ("idempotency_keys", 2),
    ] {
        assert_eq!(erased[what], count, "{what}: {erased}");
    }
    assert!(receipt["remains"].as_array().is_some_and(|remains| !remains.is_empty()), "{receipt}");
    let kept = api.get(&format!("/v1/erasures/{}", receipt["id"].as_str().unwrap())).await;
    assert_eq!(kept.expect(200), receipt);
    api.get(&format!("/v1/events/{event}")).await.problem(404, "not_found");
    api.get("/v1/tenants/planted-tenant").await.problem(404, "not_found");
    let everywhere = PLANTED.into_iter().chain([
        "planted-theme",
        "planted-idempotency-key",
        "planted-session-key",
        "planted-reason",
    ]);
    for text in everywhere {
        assert_eq!(found_in(&program, text).await, [""; 0], "{text}");
    }
    let verified = program.run(&["audit", "verify"]).await;
    let told = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success() && told.contains("of them erased"), "{told}");
    let kept_in = found_in(&program, "planted-tenant").await;
    assert_is_receipt_alone(&kept_in);
    // The last use of its key was not written yet, and is not any more.
    assert_eq!(program.stop().await, Some(0));
    assert_eq!(
        program
            .sql("SELECT count(*) FROM api_keys WHERE revoked_at IS NOT NULL AND last_used_from IS NOT NULL")
            .await,
        "0"
    );
    program.restart().await;
    let api = program.api();
    // A tenant of this name is a new one.
    api.create_tenant("planted-tenant").await;
    assert_eq!(api.get("/v1/events?tenant=planted-tenant").await.json()["data"], json!([]));
}

#[tokio::test]
async fn a_tenant_that_was_deleted_before_is_erased_by_its_id() {
    let program = start().await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(200)).await;
    let (event, _) = plant(&api, "gone", &receiver).await;
    api.delete("/v1/tenants/gone").await.expect(204);
    api.get(&format!("/v1/events/{event}")).await.expect(200);
    assert!(!found_in(&program, "planted-contact").await.is_empty(), "deleting erases nothing");
    let receipt = api.post("/v1/erasures", json!({ "tenant": "gone", "reason": "they asked" })).await;
    assert_eq!(receipt.expect(200)["reason"], "they asked");
    api.get(&format!("/v1/events/{event}")).await.problem(404, "not_found");
    assert_eq!(found_in(&program, "planted-contact").await, [""; 0]);
    let again = api.post("/v1/erasures", json!({ "tenant": "gone" })).await;
    assert_eq!(again.problem(422, "invalid_request"), ["/tenant"], "nobody went by this id");
}

#[tokio::test]
async fn one_subject_is_erased_and_the_rest_of_the_tenant_goes_on() {
    let program = start().await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(200)).await;
    api.create_tenant("acme").await;
    api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let publish = async |subject: &str, note: &str| {
        let event = json!({ "tenant": "acme", "type": "a.b", "subject": subject, "data": { "note": note } });
        api.post("/v1/events", event).await.text("/id")
    };
    let (endpoint, _) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    for subject in ["person-1", "person-2"] {
        let wish = json!({ "mode": "all", "filter": { "endpoint": endpoint, "subject": subject } });
        api.post("/v1/replays", wish).await.expect(202);
    }
    let declared = json!({ "name": "strict.one", "versions": [{ "schema": { "required": ["total"] } }] });
    api.post("/v1/event-types", declared).await.expect(201);
    api.patch("/v1/project", json!({ "validation": "quarantine" })).await.expect(200);
    for subject in ["person-1", "person-2"] {
        let held = json!({ "tenant": "acme", "type": "strict.one", "subject": subject, "data": {} });
        api.post("/v1/events", held).await.expect(202);
    }
    let (gone, stays) = (publish("person-1", "planted-one").await, publish("person-2", "planted-two").await);
    for event in [&gone, &stays] {
        api.delivery_with_status(event, "delivered").await;
    }
    let request = api.request("POST", "/v1/erasures").header("idempotency-key", "erase-1");
    let wanted = json!({ "tenant": "acme", "subject": "person-1" });
    let receipt = api.send(request.json(&wanted)).await.expect(200);
    let counts = ["events", "quarantined", "replays", "audit_entries", "endpoints"]
        .map(|what| receipt["erased"][what].clone());
    assert_eq!(counts, [1, 1, 1, 1, 0].map(|count| json!(count)));
    assert_eq!(receipt["subject"], "person-1");
    let kept_in = found_in(&program, "person-1").await;
    assert_is_receipt_alone(&kept_in);
    for left in ["/v1/replays", "/v1/quarantine"] {
        assert_eq!(api.get(left).await.json()["data"].as_array().map(Vec::len), Some(1), "{left}");
    }
    api.get(&format!("/v1/events/{gone}")).await.problem(404, "not_found");
    assert_eq!(found_in(&program, "planted-one").await, [""; 0]);
    assert!(!found_in(&program, "planted-two").await.is_empty());
    api.get(&format!("/v1/events/{stays}")).await.expect(200);
    // The same request again erases nothing, and names the same receipt.
    let request = api.request("POST", "/v1/erasures").header("idempotency-key", "erase-1");
    let again = api.send(request.json(&wanted)).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.expect(200), receipt, "as it stands, and not as it began");
    assert_eq!(api.get("/v1/erasures").await.json()["data"].as_array().map(Vec::len), Some(1));
    publish("person-1", "after it").await;
}

#[tokio::test]
async fn who_may_not_erase_erases_nothing_and_what_is_wrong_is_named() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let key = async |scopes: Value, tenant: Value| {
        let made = api.post("/v1/api-keys", json!({ "name": "k", "scopes": scopes, "tenant": tenant })).await;
        program.api_with(&made.text("/secret"))
    };
    let without = key(json!(["tenants:write"]), Value::Null).await;
    without.post("/v1/erasures", json!({ "tenant": "acme" })).await.problem(403, "forbidden");
    without.delete("/v1/tenants/acme?erase=true").await.problem(403, "forbidden");
    api.create_tenant("beta").await;
    let bound = key(json!(["erase:write"]), json!("beta")).await;
    let refused = bound.post("/v1/erasures", json!({ "tenant": "acme" })).await;
    assert_eq!(refused.problem(422, "invalid_request"), ["/tenant"]);
    for (wanted, pointer) in [
        (json!({ "tenant": "nobody" }), "/tenant"),
        (json!({ "tenant": "posthorn:operations" }), "/tenant"),
        (json!({ "tenant": "" }), "/tenant"),
        (json!({ "tenant": "acme", "subject": "" }), "/subject"),
        (json!({ "tenant": "acme", "reason": "x".repeat(501) }), "/reason"),
        (json!({ "tenant": "acme", "subjects": ["x"] }), "/subjects"),
    ] {
        let refused = api.post("/v1/erasures", wanted.clone()).await;
        assert_eq!(refused.problem(422, "invalid_request"), [pointer], "{wanted}");
    }
    let stale = api.request("DELETE", "/v1/tenants/acme?erase=true").header("if-match", "\"1\"");
    api.send(stale).await.problem(412, "precondition_failed");
    api.delete("/v1/tenants/acme?erase=perhaps").await.problem(422, "invalid_request");
    api.get("/v1/tenants/acme").await.expect(200);
    assert_eq!(api.get("/v1/erasures").await.json()["data"], json!([]));
}
