//! Versions that never break a customer: the story of an event type, and all
//! that can go wrong on its way.

use std::time::Duration;

use crate::common::{settings, start};
use serde_json::{Value, json};
use testkit::{Api, Behaviour, Clock, MailServer, Program, Received, Receiver, until};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn total(kind: &str) -> Value {
    json!({ "type": "object", "properties": { "total": { "type": kind }, "id": { "type": "string" } },
        "required": ["total"] })
}

/// Adds an event type with its first versions.
async fn declare(api: &Api, name: &str, versions: Vec<Value>) {
    let versions: Vec<Value> = versions.into_iter().map(|schema| json!({ "schema": schema })).collect();
    api.post("/v1/event-types", json!({ "name": name, "versions": versions })).await.expect(201);
}

async fn publish(api: &Api, data: Value) -> testkit::Answer {
    let event = json!({ "tenant": "acme", "type": "invoice.paid", "subject": "inv_1", "data": data });
    api.post("/v1/events", event).await
}

/// The body of the call that came last, after so many.
async fn last(receiver: &Receiver, count: usize) -> (Value, Received) {
    let received = receiver.wait_for(count).await[count - 1].clone();
    (serde_json::from_slice(&received.body).unwrap(), received)
}

/// A tenant with one endpoint.
async fn customer(api: &Api, subscription: &str) -> (Receiver, String) {
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    let endpoint = json!({ "url": receiver.url(), "event_types": [subscription] });
    let (id, _) = api.create_endpoint("acme", endpoint).await;
    (receiver, format!("/v1/tenants/acme/endpoints/{id}"))
}

#[tokio::test]
async fn an_event_type_changes_and_goes_and_every_customer_gets_what_was_promised() {
    let mut clock = Clock::new();
    let mut mails = MailServer::start().await;
    let start = clock.of(settings().with("POSTHORN_SMTP_URL", mails.url()));
    let program = Program::start(start).await;
    let api = program.api();
    let operators = Receiver::always(Behaviour::Answer(204)).await;
    let operational = json!({ "url": operators.url(), "event_types": ["event_type.*"] });
    api.post("/v1/operational-endpoints", operational).await.expect(201);
    api.post("/v1/tenants", json!({ "id": "acme", "contacts": ["dev@acme.example"] })).await.expect(201);
    declare(&api, "invoice.paid", vec![total("integer")]).await;

    // Three customers: one pinned by name, one by when it came, one by a pattern.
    let (named, _) = customer(&api, "invoice.paid@1").await;
    let (plain, path_of_plain) = customer(&api, "invoice.paid").await;
    let (pattern, _) = customer(&api, "invoice.*").await;
    let (latest, _) = customer(&api, "invoice.paid@latest").await;
    publish(&api, json!({ "total": 5, "id": "a" })).await.expect(202);
    for receiver in [&named, &plain, &pattern, &latest] {
        let (body, call) = last(receiver, 1).await;
        assert_eq!((&body["schema_version"], &body["data"]), (&json!(1), &json!({ "total": 5, "id": "a" })));
        assert!(!call.headers.contains_key("deprecation"));
    }

    // Version 2 breaks, and would cut them off.
    let second = json!({ "type": "object", "required": ["amount"], "properties": { "amount": {
        "type": "object", "required": ["cents", "currency"],
        "properties": { "cents": { "type": "integer" }, "currency": { "enum": ["EUR", "USD"] } } },
        "id": { "type": "string" } } });
    let versions = "/v1/event-types/invoice.paid/versions";
    let check = api.post(&format!("{versions}/check"), json!({ "schema": second })).await.expect(200);
    assert_eq!((&check["accepted"], &check["relation"]), (&json!(false), &json!("breaking")));
    assert_eq!(check["breaks"][0]["pointer"], "/properties/total");
    assert_eq!(check["cut_off"].as_array().unwrap().len(), 3, "{check}");
    let refused = api.post(versions, json!({ "schema": second })).await;
    refused.problem(409, "conflict");
    assert!(refused.json()["errors"][0]["detail"].as_str().unwrap().contains("pinned to invoice.paid@1"));

    // With a downgrade it does not.
    let downgrade = json!({ "steps": [{ "move": "/amount/cents", "to": "/total" }, { "drop": "/amount" }] });
    let example = json!({ "amount": { "cents": 1, "currency": "EUR" } });
    let made = api
        .post(
            versions,
            json!({ "schema": second, "downgrade": downgrade, "example": example, "changelog": "money" }),
        )
        .await;
    assert_eq!(made.expect(201)["relation"], "downgrade");
    let text = r#"{"amount":{"cents":700,"currency":"EUR"}, "id":"b"}"#;
    let event = format!(r#"{{"tenant":"acme","type":"invoice.paid","subject":"inv_2","data":{text}}}"#);
    api.post_bytes("/v1/events", event).await.expect(202);
    for receiver in [&named, &plain, &pattern] {
        let (body, call) = last(receiver, 2).await;
        assert_eq!(
            (&body["schema_version"], &body["data"]),
            (&json!(1), &json!({ "id": "b", "total": 700 }))
        );
        // The log has the very bytes.
        let delivery = call.header("posthorn-delivery");
        let payload = api.get(&format!("/v1/deliveries/{delivery}/payload")).await;
        assert_eq!(payload.bytes, call.body);
    }
    let (_, call) = last(&latest, 2).await;
    assert!(String::from_utf8(call.body).unwrap().ends_with(&format!("\"data\":{text}}}")));
    let preview = api.get(&format!("{versions}/1/preview")).await.expect(200);
    assert_eq!(preview["data"][0]["data"], json!({ "id": "b", "total": 700 }));
    assert_eq!(preview["data"][1]["published_version"], 1);

    // Version 1 is on its way out: those who are pinned to it are told.
    let deprecate = json!({ "status": "deprecated", "sunset_at": "2099-01-01T00:00:00Z" });
    api.patch(&format!("{versions}/1"), deprecate).await.expect(200);
    publish(&api, json!({ "amount": { "cents": 800, "currency": "USD" } })).await.expect(202);
    let (_, call) = last(&named, 3).await;
    assert!(call.header("deprecation").starts_with('@'));
    assert_eq!(call.header("sunset"), "Thu, 01 Jan 2099 00:00:00 GMT");
    assert!(!last(&latest, 3).await.1.headers.contains_key("sunset"));
    let dependents = api.get(&format!("{versions}/1/dependents")).await.expect(200);
    assert_eq!(dependents["endpoints"], 3);
    assert_eq!(
        (&dependents["data"][0]["subscription"], &dependents["data"][0]["deliveries_7d"]),
        (&json!("invoice.paid@1"), &json!(3))
    );

    // One of them moves.
    api.patch(&path_of_plain, json!({ "event_types": ["invoice.paid@2"] })).await.expect(200);
    publish(&api, json!({ "amount": { "cents": 900, "currency": "USD" } })).await.expect(202);
    assert_eq!(last(&plain, 4).await.0["schema_version"], 2);
    assert_eq!(last(&named, 4).await.0["data"], json!({ "total": 900 }));

    // 90, 30, 7 and 1 days before the end, operators and contacts hear of it.
    let now = api.get("/v1/events?limit=1").await.expect(200)["data"][0]["created_at"].clone();
    let now = model::clock::Timestamp::parse(now.as_str().unwrap()).unwrap();
    let sunset = now.plus(DAY * 100).to_string();
    api.patch(&format!("{versions}/1"), json!({ "sunset_at": sunset })).await.expect(200);
    for (told, days) in [90, 30, 7, 1].into_iter().enumerate() {
        clock.set_ahead(DAY * (100 - days) + Duration::from_secs(60));
        let (notice, _) = last(&operators, told + 1).await;
        assert_eq!(
            (&notice["type"], &notice["subject"]),
            (&json!("event_type.sunset"), &json!("invoice.paid@1"))
        );
        assert_eq!(
            (&notice["data"]["days"], &notice["data"]["endpoints"]),
            (&json!(days), &json!(2)),
            "{notice}"
        );
        // As quoted-printable folds lines.
        let mail = mails.next_mail().await.replace("=|", "");
        assert!(
            mail.contains("dev@acme.example") && mail.contains("by its subscription invoice.paid@1"),
            "{mail}"
        );
    }
    // At its date it is gone: nothing says that they may get version 2.
    clock.set_ahead(DAY * 100 + Duration::from_secs(60));
    let (gone, _) = last(&operators, 5).await;
    assert_eq!((&gone["type"], &gone["data"]["successor"]), (&json!("event_type.retired"), &Value::Null));
    assert!(mails.next_mail().await.replace("=|", "").contains("are no longer delivered"));
    let accepted = publish(&api, json!({ "amount": { "cents": 1000, "currency": "USD" } })).await;
    let event = api.get(&format!("/v1/events/{}", accepted.text("/id"))).await.expect(200);
    let reasons: Vec<&str> =
        event["unmatched"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["version_retired", "version_retired"]);
    assert_eq!(last(&plain, 5).await.0["data"]["amount"]["cents"], 1000);
    assert_eq!((named.received().len(), pattern.received().len()), (4, 4));

    // Who comes back gets what was missed.
    let (_, endpoints) = (named, api.get("/v1/tenants/acme/endpoints?order=asc").await.expect(200));
    let id = endpoints["data"][0]["id"].as_str().unwrap();
    assert!(
        endpoints["data"][0]["notices"][0].as_str().unwrap().contains("no longer delivered"),
        "{endpoints}"
    );
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    api.patch(&path, json!({ "event_types": ["invoice.paid"] })).await.expect(200);
    let replay = api.post("/v1/replays", json!({ "mode": "missing", "to_endpoint": id })).await;
    assert_eq!(replay.expect(202)["matched"], 1);
}

#[tokio::test]
async fn those_pinned_to_a_compatible_version_move_up_when_it_goes() {
    let mut clock = Clock::new();
    let program = Program::start(clock.of(settings())).await;
    let api = program.api();
    api.create_tenant("acme").await;
    declare(&api, "invoice.paid", vec![total("number"), total("integer")]).await;
    let (receiver, path) = customer(&api, "invoice.paid@1").await;
    publish(&api, json!({ "total": 1 })).await.expect(202);
    // Compatible data comes as it is, under the version that was pinned.
    assert_eq!(last(&receiver, 1).await.0["schema_version"], 1);
    let at = model::clock::Timestamp::parse("2100-01-01T00:00:00Z").unwrap();
    let end = json!({ "status": "deprecated", "sunset_at": at });
    api.patch("/v1/event-types/invoice.paid/versions/1", end).await.expect(200);
    clock.set_ahead(DAY * 365 * 80);
    let gone = until("it is gone", || async {
        let version = api.get("/v1/event-types/invoice.paid/versions/1").await.expect(200);
        (version["status"] == "retired").then_some(version)
    })
    .await;
    assert_eq!(gone["successor"], 2);
    publish(&api, json!({ "total": 2 })).await.expect(202);
    assert_eq!(last(&receiver, 2).await.0["schema_version"], 2);
    let notices = api.get(&path).await.expect(200)["notices"].clone();
    assert!(notices[0].as_str().unwrap().contains("it gets version 2 instead"), "{notices}");
    let named = json!({ "url": receiver.url(), "event_types": ["invoice.paid@1"] });
    // Nobody pins it anew only to be surprised; this one is known to move on.
    api.post("/v1/tenants/acme/endpoints", named).await.expect(201);
}

#[tokio::test]
async fn subscriptions_are_pinned_to_what_was_newest_and_wait_for_what_is_to_come() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let (early, path) = customer(&api, "invoice.*").await;
    let (waiting, _) = customer(&api, "invoice.paid@2").await;
    // The type appears after the endpoint: its first version is what the pattern is pinned to.
    declare(&api, "invoice.paid", vec![total("number")]).await;
    publish(&api, json!({ "total": 1.5 })).await.expect(202);
    assert_eq!(last(&early, 1).await.0["schema_version"], 1);
    let versions = "/v1/event-types/invoice.paid/versions";
    api.post(versions, json!({ "schema": total("integer") })).await.expect(201);
    let (late, _) = customer(&api, "invoice.*").await;
    publish(&api, json!({ "total": 2 })).await.expect(202);
    assert_eq!(last(&early, 2).await.0["schema_version"], 1);
    assert_eq!(last(&waiting, 1).await.0["schema_version"], 2);
    assert_eq!(last(&late, 1).await.0["schema_version"], 2);
    // A change of something else changes no pin; a new subscription has one of its own.
    api.patch(&path, json!({ "description": "x", "event_types": ["invoice.*", "user.*"] })).await.expect(200);
    publish(&api, json!({ "total": 3 })).await.expect(202);
    assert_eq!(last(&early, 3).await.0["schema_version"], 1);
    api.patch(&path, json!({ "event_types": ["invoice.paid"] })).await.expect(200);
    publish(&api, json!({ "total": 4 })).await.expect(202);
    assert_eq!(last(&early, 4).await.0["schema_version"], 2);
    waiting.wait_for(3).await;
}

#[tokio::test]
async fn data_that_does_not_fit_is_refused_kept_or_let_through_as_the_project_wants() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let mut schema = total("integer");
    schema["properties"]["card"] = json!({ "type": "string", "maxLength": 4, "x-sensitive": true });
    declare(&api, "invoice.paid", vec![schema]).await;
    let (receiver, _) = customer(&api, "*").await;
    let wrong = json!({ "total": "five", "card": "4111111111111111" });
    let refused = publish(&api, wrong.clone()).await;
    assert_eq!(refused.problem(422, "invalid_request"), ["/data/card", "/data/total"]);
    assert!(!String::from_utf8_lossy(&refused.bytes).contains("4111"));
    assert_eq!(api.get("/v1/events").await.expect(200)["data"], json!([]));

    api.patch("/v1/project", json!({ "validation": "warn" })).await.expect(200);
    let warned = publish(&api, wrong.clone()).await.expect(202);
    assert_eq!((&warned["status"], &warned["warnings"][0]["code"]), (&json!("accepted"), &json!("schema")));
    receiver.wait_for(1).await;

    api.patch("/v1/project", json!({ "validation": "quarantine" })).await.expect(200);
    let event = json!({ "tenant": "acme", "type": "invoice.paid", "subject": "inv_1", "data": wrong,
        "idempotency_key": "outbox-1" });
    let kept = api.post("/v1/events", event.clone()).await;
    assert_eq!(kept.expect(202)["status"], "quarantined");
    let again = api.post("/v1/events", event.clone()).await;
    assert_eq!((again.text("/id"), again.header("idempotency-replayed")), (kept.text("/id"), Some("true")));
    let batch = api.post("/v1/events/batch", json!({ "events": [event] })).await.expect(200);
    assert_eq!(
        (&batch["results"][0]["quarantined"], &batch["results"][0]["id"]),
        (&json!(true), &kept.json()["id"])
    );
    let path = kept.header("location").unwrap().to_owned();
    let other = publish(&api, json!({})).await;
    assert_eq!(api.get("/v1/quarantine?state=held").await.expect(200)["data"].as_array().unwrap().len(), 2);
    // Without payloads:read, what is sensitive is masked.
    let reader = program.create_key(&["--project", "test", "--scopes", "events:read,event_types:read"]).await;
    let seen = program.api_with(&reader).get(&path).await.expect(200);
    assert_eq!(seen["data"], Value::Null, "what does not fit its schema cannot be masked by it");
    let seen =
        program.api_with(&reader).get("/v1/event-types/invoice.paid/versions/1/preview").await.expect(200);
    assert_eq!(seen["data"][0]["data"]["card"], "***");

    // Released with the data put right; the other one is dropped.
    let release = format!("{path}/release");
    assert_eq!(
        api.post(&release, json!({})).await.problem(422, "invalid_request"),
        ["/data/card", "/data/total"]
    );
    let released = api.post(&release, json!({ "data": { "total": 5 } })).await.expect(200);
    assert_eq!(released["state"], "released");
    let (body, call) = last(&receiver, 2).await;
    assert_eq!(
        (body["data"].clone(), call.header("webhook-id")),
        (json!({ "total": 5 }), released["event"].as_str().unwrap())
    );
    api.post(&release, json!({ "data": { "total": 5 } })).await.problem(409, "conflict");
    let drop = format!("/v1/quarantine/{}/drop", other.text("/id"));
    assert_eq!(api.post(&drop, json!({})).await.expect(200)["state"], "dropped");
    api.post(&drop, json!({})).await.problem(409, "conflict");
    // The first answer stands, whatever became of it.
    let again = api.post("/v1/events", event).await;
    assert_eq!(again.expect(202)["status"], "quarantined");
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn a_repeated_publish_gets_its_first_answer_although_the_schema_has_changed() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let event = json!({ "tenant": "acme", "type": "invoice.paid", "subject": "inv_1", "data": { "total": "5" },
        "idempotency_key": "outbox-1" });
    let first = api.post("/v1/events", event.clone()).await;
    first.expect(202);
    declare(&api, "invoice.paid", vec![total("integer")]).await;
    let again = api.post("/v1/events", event).await;
    assert_eq!((again.text("/id"), again.header("idempotency-replayed")), (first.text("/id"), Some("true")));
    publish(&api, json!({ "total": "5" })).await.problem(422, "invalid_request");
}

#[tokio::test]
async fn undeclared_types_unknown_versions_and_large_data_are_told() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    publish(&api, json!({})).await.expect(202);
    api.patch("/v1/project", json!({ "undeclared_types": "reject" })).await.expect(200);
    assert_eq!(publish(&api, json!({})).await.problem(422, "invalid_request"), ["/type"]);
    declare(&api, "invoice.paid", vec![total("integer")]).await;
    api.patch("/v1/event-types/invoice.paid", json!({ "size_budget_bytes": 20 })).await.expect(200);
    let large = publish(&api, json!({ "total": 1, "id": "a".repeat(50) })).await.expect(202);
    assert_eq!(large["warnings"][0]["code"], "over_budget");
    let event = json!({ "tenant": "acme", "type": "invoice.paid", "subject": "s", "schema_version": 2,
        "data": { "total": 1 } });
    assert_eq!(api.post("/v1/events", event).await.problem(422, "invalid_request"), ["/schema_version"]);
}

#[tokio::test]
async fn a_catalogue_that_makes_no_sense_is_refused_with_its_places_and_changes_nothing() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    declare(&api, "invoice.paid", vec![total("integer")]).await;
    let versions = "/v1/event-types/invoice.paid/versions";
    let refused = async |body: Value| api.post(versions, body).await.problem(422, "invalid_request");
    let at = |schema: Value| json!({ "schema": schema });
    assert_eq!(refused(json!({})).await, ["/schema"]);
    assert_eq!(refused(at(json!({ "$ref": "https://example.com/s.json" }))).await, ["/schema/$ref"]);
    assert_eq!(refused(at(json!({ "anyOf": [{ "$ref": "#" }] }))).await, ["/schema"]);
    let contradiction = json!({ "properties": { "a": { "type": "integer", "minimum": 2, "maximum": 1 } } });
    assert!(refused(at(contradiction)).await.contains(&"/schema/properties/a".to_owned()));
    assert_eq!(refused(json!({ "number": 3, "schema": total("integer") })).await, ["/number"]);
    let useless = json!({ "schema": total("string"), "downgrade": { "steps": [{ "drop": "/gone" }] } });
    assert_eq!(refused(useless).await, ["/downgrade/steps/0"]);
    let not_enough = json!({ "schema": total("string"), "downgrade": { "steps": [] } });
    assert_eq!(refused(not_enough).await, ["/downgrade"]);
    let first = format!("{versions}/1");
    let retire = json!({ "status": "retired" });
    assert_eq!(api.patch(&first, retire).await.problem(422, "invalid_request"), ["/status"]);
    let breaking = api.patch(&first, at(total("string"))).await;
    assert_eq!(breaking.problem(422, "invalid_request"), ["/schema/properties/total"]);
    assert!(
        breaking.json()["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("type changed from integer to string")
    );
    let twice = json!({ "types": [{ "name": "a.b" }, { "name": "a.b" }, { "name": "a b" }] });
    assert_eq!(
        api.post("/v1/catalogue/apply", twice).await.problem(422, "invalid_request"),
        ["/types/1/name", "/types/2/name"]
    );
    // All or none: the good one of two is not made.
    let half = json!({ "types": [{ "name": "good.one", "versions": [{ "schema": {} }] },
        { "name": "bad.one", "versions": [{ "schema": { "type": "strin" } }] }] });
    assert_eq!(
        api.post("/v1/catalogue/apply", half).await.problem(422, "invalid_request"),
        ["/types/1/versions/0/schema/type"]
    );
    let names = api.get("/v1/event-types").await.expect(200);
    assert_eq!(names["data"].as_array().unwrap().len(), 1);
    let bound = program.create_key(&["--project", "test", "--scopes", "*", "--tenant", "acme"]).await;
    program
        .api_with(&bound)
        .post("/v1/event-types", json!({ "name": "x.y" }))
        .await
        .problem(403, "forbidden");
    program.api_with(&bound).get("/v1/event-types").await.expect(200);
}

#[tokio::test]
async fn repeated_requests_make_a_type_and_a_version_once() {
    let program = start().await;
    let api = program.api();
    let keyed = |path: &str, key: &str, body: Value| {
        api.send(api.request("POST", path).header("idempotency-key", key).json(&body))
    };
    let wanted = json!({ "name": "invoice.paid", "versions": [{ "schema": total("number") }] });
    let first = keyed("/v1/event-types", "one", wanted.clone()).await;
    assert_eq!(first.expect(201)["newest_version"], 1);
    let again = keyed("/v1/event-types", "one", wanted.clone()).await;
    assert_eq!((again.expect(201), again.header("idempotency-replayed")), (first.json(), Some("true")));
    api.post("/v1/event-types", wanted).await.problem(409, "conflict");
    let versions = "/v1/event-types/invoice.paid/versions";
    for _ in 0..2 {
        let made = keyed(versions, "two", json!({ "schema": total("integer") })).await;
        assert_eq!(made.expect(201)["number"], 2);
    }
    let changed = api.patch(&format!("{versions}/2"), json!({ "changelog": "whole numbers" })).await;
    assert_eq!(changed.expect(200)["changelog"], "whole numbers");
    let stale = api.request("PATCH", &format!("{versions}/2")).header("if-match", "\"1\"");
    api.send(stale.json(&json!({}))).await.problem(412, "precondition_failed");
    api.delete("/v1/event-types/invoice.paid").await.expect(204);
    api.get("/v1/event-types/invoice.paid").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_folder_of_schemas_is_checked_applied_and_exported() {
    let program = start().await;
    let api = program.api();
    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("user.left.json", r#"{ "type": "object",  "properties": { "why": { "type": "string" } } }"#);
    write("invoice.paid/1.json", &total("integer").to_string());
    write("invoice.paid/1.example.json", r#"{"total": 1}"#);
    write(
        "invoice.paid/event-type.json",
        r#"{"description":"money came","versions":{"1":{"changelog":"first"}}}"#,
    );
    let catalogue = async |arguments: &[&str]| {
        let output = program.run_with_client(&[&["catalogue"], arguments].concat()).await;
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    let at = folder.path().to_str().unwrap();
    let (code, printed) = catalogue(&["apply", at, "--dry-run"]).await;
    assert!(
        code == Some(0) && printed.contains("+ invoice.paid@1  first") && printed.contains("would be made"),
        "{printed}"
    );
    assert_eq!(api.get("/v1/event-types").await.expect(200)["data"], json!([]));
    let (code, printed) = catalogue(&["apply", at]).await;
    assert!(code == Some(0) && printed.contains("were made"), "{printed}");
    assert_eq!(catalogue(&["check", at]).await.0, Some(0));
    let read = api.get("/v1/event-types/invoice.paid/versions/1").await.expect(200);
    assert_eq!((&read["changelog"], &read["example"]), (&json!("first"), &json!({ "total": 1 })));

    // What is exported is what was applied, in the same layout and to the byte.
    let files = |folder: &std::path::Path| {
        let mut found = std::collections::BTreeMap::new();
        for entry in
            std::fs::read_dir(folder).unwrap().chain(std::fs::read_dir(folder.join("invoice.paid")).unwrap())
        {
            let path = entry.unwrap().path();
            if path.is_file() {
                found.insert(path.file_name().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap());
            }
        }
        found
    };
    let applied = files(folder.path());
    assert_eq!(catalogue(&["export", at]).await.0, Some(0));
    assert_eq!(files(folder.path()), applied);
    let out = tempfile::TempDir::new().unwrap();
    let to = out.path().to_str().unwrap();
    assert_eq!(catalogue(&["export", to]).await.0, Some(0));
    let elsewhere = files(out.path());
    assert!(elsewhere.keys().eq(applied.keys()), "{elsewhere:?}");
    let schema = &elsewhere[std::ffi::OsStr::new("user.left.json")];
    assert_eq!(schema, "{ \"type\": \"object\",  \"properties\": { \"why\": { \"type\": \"string\" } } }\n");
    let (code, printed) = catalogue(&["apply", to]).await;
    assert!(code == Some(0) && printed.contains("Nothing to do"), "{printed}");

    // A second version makes a folder of what was a file.
    let second =
        json!({ "schema": { "type": "object", "properties": { "why": { "type": "string" }, "who": {} } } });
    api.post("/v1/event-types/user.left/versions", second).await.expect(201);
    assert_eq!(catalogue(&["export", to]).await.0, Some(0));
    assert!(out.path().join("user.left/2.json").exists() && !out.path().join("user.left.json").exists());
    let (code, printed) = catalogue(&["check", to]).await;
    assert!(code == Some(0) && printed.contains("Nothing to do"), "{printed}");

    // A change that breaks is found, with its file and place.
    write("invoice.paid/1.json", &total("string").to_string());
    let (code, printed) = catalogue(&["check", at]).await;
    assert!(
        code == Some(1) && printed.contains("1.json /properties/total: type changed from integer to string"),
        "{printed}"
    );
    write("invoice.paid/1.json", &total("integer").to_string());
    write("invoice.paid/2.json", &total("string").to_string());
    let (code, printed) = catalogue(&["check", at]).await;
    assert_eq!(code, Some(1), "a new version that breaks, without a downgrade");
    assert!(printed.contains("/properties/total: type changed from integer to string"), "{printed}");
    assert!(printed.contains("Write invoice.paid/2.downgrade.json"), "{printed}");
    let (_, json) = catalogue(&["check", at, "--json"]).await;
    let plan: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(plan["steps"][0]["breaks"][0]["pointer"], "/properties/total", "{plan}");
    assert_eq!(catalogue(&["check", at, "--allow-breaking"]).await.0, Some(0));
    write("invoice.paid/4.json", "{}");
    let (code, printed) = catalogue(&["check", at]).await;
    assert!(code == Some(1) && printed.contains("there is no version 3 before version 4"), "{printed}");
}

#[tokio::test]
async fn a_test_call_carries_the_example_and_the_webhooks_are_described() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let version = json!({ "schema": { "$ref": "#/$defs/paid", "$defs": { "paid": total("integer") } },
        "example": { "total": 42 } });
    api.post("/v1/event-types", json!({ "name": "invoice.paid", "versions": [version] })).await.expect(201);
    let (receiver, path) = customer(&api, "invoice.paid").await;
    api.post(&format!("{path}/test"), json!({ "type": "invoice.paid" })).await.expect(202);
    assert_eq!(last(&receiver, 1).await.0["data"], json!({ "total": 42 }));
    let document = api.get("/v1/catalogue/openapi.json").await.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    let body = &document["webhooks"]["invoice.paid@1"]["post"]["requestBody"]["content"]["application/json"]
        ["schema"];
    assert_eq!(body["properties"]["data"]["$ref"], "#/components/schemas/invoice.paid.v1");
    // References point to where the schema stands in the document.
    let schema = &document["components"]["schemas"]["invoice.paid.v1"];
    assert_eq!(schema["$ref"], "#/components/schemas/invoice.paid.v1/$defs/paid");
    assert_eq!(schema["$defs"]["paid"], total("integer"));
}

#[tokio::test]
async fn thin_and_cloud_events_come_in_the_pinned_version_too() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    declare(&api, "invoice.paid", vec![total("number")]).await;
    let thin = Receiver::always(Behaviour::Answer(204)).await;
    let pinned = json!({ "url": thin.url(), "event_types": ["invoice.paid@1"], "payload": "thin" });
    api.create_endpoint("acme", pinned).await;
    let second = json!({ "properties": { "sum": { "type": "number" } }, "required": ["sum"] });
    let downgrade = json!({ "steps": [{ "rename": "/sum", "to": "total" }] });
    let versions = "/v1/event-types/invoice.paid/versions";
    api.post(versions, json!({ "schema": second, "downgrade": downgrade })).await.expect(201);
    publish(&api, json!({ "sum": 1.5 })).await.expect(202);
    let (body, _) = last(&thin, 1).await;
    let url = body["url"].as_str().unwrap();
    assert!(url.ends_with("?schema_version=1"), "{body}");
    let path = &url[url.find("/v1/").unwrap()..];
    let event = api.get(path).await.expect(200);
    assert_eq!((&event["schema_version"], &event["data"]), (&json!(1), &json!({ "total": 1.5 })));
    let refused = api.get(&path.replace("schema_version=1", "schema_version=9")).await;
    assert_eq!(refused.problem(422, "invalid_request"), ["schema_version"]);
}

#[tokio::test]
async fn operators_endpoints_hold_up_no_version_and_are_not_among_its_dependents() {
    let program = start().await;
    let api = program.api();
    let operators = Receiver::always(Behaviour::Answer(204)).await;
    api.post("/v1/operational-endpoints", json!({ "url": operators.url() })).await.expect(201);
    declare(&api, "invoice.paid", vec![total("integer")]).await;
    let versions = "/v1/event-types/invoice.paid/versions";
    assert_eq!(api.get(&format!("{versions}/1/dependents")).await.expect(200)["endpoints"], 0);
    assert_eq!(
        api.post(versions, json!({ "schema": total("string") })).await.expect(201)["relation"],
        "breaking"
    );
}

#[tokio::test]
async fn an_exported_catalogue_with_versions_on_their_way_out_can_be_applied_elsewhere() {
    let program = start().await;
    let api = program.api();
    declare(&api, "invoice.paid", vec![total("number"), total("integer"), total("integer")]).await;
    let versions = "/v1/event-types/invoice.paid/versions";
    let end = json!({ "status": "deprecated", "sunset_at": "2999-01-01T00:00:00Z" });
    api.patch(&format!("{versions}/2"), end).await.expect(200);
    api.patch(&format!("{versions}/1"), json!({ "status": "retired" })).await.expect(200);
    let out = tempfile::TempDir::new().unwrap();
    let to = out.path().to_str().unwrap();
    assert!(program.run_with_client(&["catalogue", "export", to]).await.status.success());
    let elsewhere = start().await;
    let applied = elsewhere.run_with_client(&["catalogue", "apply", to]).await;
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stdout));
    let read = elsewhere.api().get("/v1/event-types/invoice.paid").await.expect(200);
    let statuses: Vec<&str> =
        read["versions"].as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["retired", "deprecated", "active"]);
    let past = json!({ "status": "deprecated", "sunset_at": "2000-01-01T00:00:00Z" });
    assert_eq!(
        api.patch(&format!("{versions}/2"), past).await.problem(422, "invalid_request"),
        ["/sunset_at"]
    );
}

#[tokio::test]
async fn an_event_in_quarantine_is_released_once_the_schema_is_right() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    declare(&api, "invoice.paid", vec![total("integer")]).await;
    api.patch("/v1/project", json!({ "validation": "quarantine" })).await.expect(200);
    let kept = publish(&api, json!({ "total": "five" })).await.text("/id");
    let release = format!("/v1/quarantine/{kept}/release");
    assert_eq!(api.post(&release, json!({})).await.problem(422, "invalid_request"), ["/data/total"]);
    assert_eq!(api.get(&format!("/v1/quarantine/{kept}")).await.expect(200)["state"], "held");
    api.post("/v1/event-types/invoice.paid/versions", json!({ "schema": total("string") })).await.expect(201);
    let released = api.post(&release, json!({})).await.expect(200);
    let event = api.get(&format!("/v1/events/{}", released["event"].as_str().unwrap())).await.expect(200);
    assert_eq!((&event["schema_version"], &event["data"]), (&json!(2), &json!({ "total": "five" })));
}

#[tokio::test]
async fn a_type_is_not_deleted_from_under_those_who_are_pinned_to_an_older_version() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    declare(&api, "invoice.paid", vec![total("number")]).await;
    let (_, path) = customer(&api, "*").await;
    let versions = "/v1/event-types/invoice.paid/versions";
    api.post(versions, json!({ "schema": total("integer") })).await.expect(201);
    api.delete("/v1/event-types/invoice.paid").await.problem(409, "conflict");
    api.delete(&path).await.expect(204);
    api.delete("/v1/event-types/invoice.paid").await.expect(204);
}

/// A schema in which each level looks again at all that the levels within it
/// looked at.
fn looking_again(depth: usize) -> Value {
    let leaf = json!({ "properties": { "a": { "type": "integer" } } });
    (0..depth).fold(leaf, |inner, _| json!({ "anyOf": [inner], "unevaluatedProperties": {} }))
}

#[tokio::test]
async fn a_schema_that_would_never_be_done_is_refused_and_nobody_waits_for_it() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let declared = |schema: Value| json!({ "name": "slow.one", "versions": [{ "schema": schema }] });
    let needs: serde_json::Map<String, Value> =
        (0..400).map(|n| (format!("a{n}"), json!([format!("a{}", n + 1)]))).collect();
    let hostile = [
        looking_again(20),
        json!({ "properties": { "a": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] } } }),
        json!({ "dependentRequired": needs }),
    ];
    for schema in &hostile {
        let saving = api.post("/v1/event-types", declared(schema.clone()));
        // Meanwhile, others are served.
        let publishing = async {
            for subject in ["one", "two", "three"] {
                api.publish("acme", "order.paid", subject).await;
            }
        };
        let (saved, ()) = futures_util::join!(saving, publishing);
        assert_eq!(saved.problem(422, "invalid_request"), ["/versions/0/schema"], "{schema}");
        assert!(saved.text("/errors/0/detail").contains("too complex"), "{}", saved.json());
        let check = json!({ "schema": schema });
        declare(&api, "fast.one", vec![json!({})]).await;
        let checked = api.post("/v1/event-types/fast.one/versions/check", check).await.expect(200);
        assert_eq!(checked["accepted"], false);
        assert_eq!(api.delete("/v1/event-types/fast.one").await.status, 204);
    }
    // A few levels are what people write, and are checked.
    api.post("/v1/event-types", declared(looking_again(4))).await.expect(201);
    let event =
        |a: Value| json!({ "tenant": "acme", "type": "slow.one", "subject": "s", "data": { "a": a } });
    api.post("/v1/events", event(json!(1))).await.expect(202);
    api.post("/v1/events", event(json!("x"))).await.problem(422, "invalid_request");
}

#[tokio::test]
async fn a_type_with_shared_and_recursive_definitions_is_declared_changed_and_described() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let schema = |login: &str| {
        json!({ "type": "object", "required": ["repository"],
            "properties": { "repository": { "$ref": "#/$defs/repository" }, "sender": { "$ref": "#/$defs/user" } },
            "$defs": {
                "user": { "type": "object", "required": ["login"], "properties": { "login": { "type": login } } },
                "repository": { "type": "object", "required": ["owner"], "properties": {
                    "owner": { "$ref": "#/$defs/user" },
                    "parent": { "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/repository" }] } } } } })
    };
    declare(&api, "push.made", vec![schema("string")]).await;
    let breaking =
        api.post("/v1/event-types/push.made/versions/check", json!({ "schema": schema("integer") }));
    let breaks = breaking.await.expect(200)["breaks"].clone();
    let places: Vec<&str> =
        breaks.as_array().unwrap().iter().map(|one| one["pointer"].as_str().unwrap()).collect();
    assert!(places.contains(&"/properties/sender/properties/login"), "{places:?}");
    let repository =
        json!({ "owner": { "login": "a" }, "parent": { "owner": { "login": "b" }, "parent": null } });
    let event = |repository: Value| json!({ "tenant": "acme", "type": "push.made", "subject": "s", "data": { "repository": repository } });
    api.post("/v1/events", event(repository.clone())).await.expect(202);
    let mut wrong = repository;
    wrong["parent"]["owner"] = json!({});
    api.post("/v1/events", event(wrong)).await.problem(422, "invalid_request");
    let described = api.get("/v1/catalogue/openapi.json").await.expect(200);
    let schemas = &described["components"]["schemas"]["push.made.v1"];
    let reference = schemas.pointer("/properties/sender/$ref").and_then(Value::as_str);
    assert_eq!(reference, Some("#/components/schemas/push.made.v1/$defs/user"));
    let target = described.pointer(&reference.unwrap()[1..]);
    assert_eq!(target, Some(&schema("string")["$defs"]["user"]));
}
