//! API keys: who made them, and when they were used.

use serde_json::{Value, json};

use crate::common::start;

#[tokio::test]
async fn a_key_says_who_made_it_and_when_and_from_where_it_was_used_last() {
    let mut program = start().await;
    let api = program.api();
    let make = async |name: &str| {
        let made =
            api.post("/v1/api-keys", json!({ "name": name, "scopes": ["keys:write", "events:read"] })).await;
        (made.text("/secret"), made.text("/id"))
    };
    let ((unused, unused_id), (used, used_id)) = (make("unused").await, make("used").await);
    let first = api.get("/v1/api-keys?order=asc").await.json()["data"][0].clone();
    assert_eq!((&first["name"], &first["created_by"]), (&json!("made on the command line"), &Value::Null));
    let fresh = api.get(&format!("/v1/api-keys/{used_id}")).await.json();
    assert_eq!((&fresh["created_by"], &fresh["last_used_at"]), (&first["id"], &Value::Null));

    program.api_with(&used).get("/v1/events").await.expect(200);
    let after = api.get(&format!("/v1/api-keys/{used_id}")).await.json();
    assert_eq!(after["last_used_from"], "127.0.0.1");
    let last = after["last_used_at"].as_str().unwrap().to_owned();
    let listed = api.get(&format!("/v1/api-keys?unused_since={last}")).await.json();
    let ids: Vec<&Value> = listed["data"].as_array().unwrap().iter().map(|key| &key["id"]).collect();
    assert_eq!(ids, [&json!(unused_id)]);

    // What was not written yet is written when the program ends.
    program.api_with(&unused).get("/v1/events").await.expect(200);
    let unwritten = api.get(&format!("/v1/api-keys/{unused_id}")).await.json();
    assert_eq!(program.stop().await, Some(0));
    program.restart().await;
    let read = program.api().get(&format!("/v1/api-keys/{unused_id}")).await.json();
    assert!(read["last_used_at"].is_string(), "{read}");
    assert_eq!(read, unwritten);
}

#[tokio::test]
async fn a_token_that_was_cut_off_or_mistyped_is_refused_with_that_reason() {
    let program = start().await;
    let key = program.api().key().to_owned();
    let (most, last) = key.split_at(key.len() - 1);
    let other = if last == "0" { "1" } else { "0" };
    let broken = "the token is not whole: it was cut off or mistyped; copy it again";
    let unknown = "this API key is not known, or was revoked";
    for (token, detail) in [
        (most.to_owned(), broken),
        (format!("{most}{other}"), broken),
        (format!("{key}0"), broken),
        (format!("phk_{}", key[4..].to_uppercase()), broken),
        // As keys were before they had a checksum, and none that anybody has.
        (format!("phk_{}", "0".repeat(64)), unknown),
    ] {
        let refused = program.api_with(&token).get("/v1/events").await;
        refused.problem(401, "unauthenticated");
        assert_eq!(refused.text("/detail"), detail, "{token}");
    }
}

#[tokio::test]
async fn support_staff_operate_endpoints_that_they_cannot_change() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let (endpoint, _) = api.create_endpoint("acme", json!({ "url": "http://127.0.0.1:9/" })).await;
    let at = format!("/v1/tenants/acme/endpoints/{endpoint}");
    let made = json!({ "name": "support", "scopes": ["endpoints:operate", "endpoints:read"] });
    let support = program.api_with(&api.post("/v1/api-keys", made).await.text("/secret"));
    for (verb, status) in
        [("pause", "paused"), ("pause", "paused"), ("resume", "enabled"), ("resume", "enabled")]
    {
        let answer = support.post(&format!("{at}/{verb}"), json!({})).await;
        assert_eq!(answer.expect(200)["status"], status, "{verb}");
        assert_eq!(support.get(&at).await.expect(200)["status"], status, "{verb}");
    }
    support.post(&format!("{at}/reset"), json!({})).await.expect(200);
    support.post(&format!("{at}/test"), json!({})).await.expect(202);
    support.patch(&at, json!({ "description": "x" })).await.problem(403, "forbidden");
    support.delete(&at).await.problem(403, "forbidden");
    api.patch(&at, json!({ "status": "disabled" })).await.expect(200);
    for verb in ["pause", "resume"] {
        support.post(&format!("{at}/{verb}"), json!({})).await.problem(409, "conflict");
    }
    assert_eq!(api.get(&at).await.expect(200)["status"], "disabled");
}

#[tokio::test]
async fn a_customer_changes_its_contacts_and_nothing_else_of_the_tenant() {
    let program = start().await;
    let api = program.api();
    let tenant = json!({ "id": "acme", "name": "Acme", "metadata": { "plan": "gold" }, "contacts": ["old@acme.example"] });
    api.post("/v1/tenants", tenant).await.expect(201);
    let session = api.post("/v1/tenants/acme/portal-sessions", json!({})).await;
    let customer = program.api_with(&session.text("/token"));
    let changed = customer.patch("/v1/tenants/acme", json!({ "contacts": ["new@acme.example"] })).await;
    let changed = changed.expect(200);
    assert_eq!((&changed["contacts"], &changed["metadata"]), (&json!(["new@acme.example"]), &json!({})));
    let kept = api.get("/v1/tenants/acme").await.expect(200);
    assert_eq!(
        (&kept["contacts"], &kept["metadata"]["plan"]),
        (&json!(["new@acme.example"]), &json!("gold"))
    );
    for patch in
        [json!({ "name": "Evil" }), json!({ "contacts": [], "metadata": {} }), json!({ "metadata": null })]
    {
        customer.patch("/v1/tenants/acme", patch.clone()).await.problem(403, "forbidden");
    }
    assert_eq!(api.get("/v1/tenants/acme").await.expect(200), kept);
    let refused = customer.patch("/v1/tenants/acme", json!({ "contacts": ["nobody"] })).await;
    assert_eq!(refused.problem(422, "invalid_request"), ["/contacts/0"]);
}

#[tokio::test]
async fn who_may_read_keys_makes_none() {
    let program = start().await;
    let api = program.api();
    let made = api.post("/v1/api-keys", json!({ "name": "reviewer", "scopes": ["keys:read"] })).await;
    let reviewer = program.api_with(&made.text("/secret"));
    reviewer.get("/v1/api-keys").await.expect(200);
    reviewer.get(&format!("/v1/api-keys/{}", made.text("/id"))).await.expect(200);
    let wanted = json!({ "name": "more", "scopes": ["keys:read"] });
    reviewer.post("/v1/api-keys", wanted).await.problem(403, "forbidden");
    reviewer.delete(&format!("/v1/api-keys/{}", made.text("/id"))).await.problem(403, "forbidden");
    // Who may write them may read them.
    let writer = api.post("/v1/api-keys", json!({ "name": "writer", "scopes": ["keys:write"] })).await;
    let writer = program.api_with(&writer.text("/secret"));
    writer.get("/v1/api-keys").await.expect(200);
    let wanted = json!({ "name": "less", "scopes": ["keys:read"] });
    assert_eq!(writer.post("/v1/api-keys", wanted).await.expect(201)["scopes"], json!(["keys:read"]));
}
