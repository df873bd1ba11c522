//! A product opens the portal for its customer with one call; what the customer
//! gets opens their own things, and nobody else's.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Answer, Api, Behaviour, Program, Receiver};

use crate::common::{from_now, start};

/// A server with the tenants `acme` and `beta`.
async fn scene() -> (Program, Api) {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    api.create_tenant("beta").await;
    (program, api)
}

async fn open(api: &Api, tenant: &str, wanted: Value) -> Answer {
    let opened = api.post(&format!("/v1/tenants/{tenant}/portal-sessions"), wanted).await;
    opened.expect(201);
    opened
}

/// The code in the link of a session.
fn code(opened: &Answer) -> String {
    opened.text("/url").split_once("#code=").expect("the link has a code").1.to_owned()
}

async fn exchange(anybody: &Api, id: &str, code: &str) -> Answer {
    anybody.post(&format!("/v1/portal-sessions/{id}/exchange"), json!({ "code": code })).await
}

/// Statuses of paths for a caller.
async fn statuses(caller: &Api, paths: &[&str]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for path in paths {
        statuses.push(caller.get(path).await.status);
    }
    statuses
}

#[tokio::test]
async fn a_customer_sees_and_mends_their_own_and_nobody_elses() {
    let (program, api) = scene().await;
    let receiver = Receiver::always(Behaviour::Answer(503)).await;
    let (own, _) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let (others, _) = api.create_endpoint("beta", json!({ "url": receiver.url() })).await;
    let (event, foreign) = (api.publish("acme", "o.p", "1").await, api.publish("beta", "o.p", "1").await);
    let opened = open(&api, "acme", json!({})).await;
    let customer = program.api_with(&opened.text("/token"));

    let delivery = customer.deliveries_of(&event).await[0]["id"].as_str().unwrap().to_owned();
    let own_paths = [
        "/v1/events".to_owned(),
        format!("/v1/events/{event}"),
        format!("/v1/deliveries/{delivery}/attempts"),
        format!("/v1/tenants/acme/endpoints/{own}"),
        format!("/v1/tenants/acme/endpoints/{own}/secret"),
    ];
    let own_paths: Vec<&str> = own_paths.iter().map(String::as_str).collect();
    assert_eq!(statuses(&customer, &own_paths).await, [200; 5]);
    let seen = customer.get("/v1/events").await.json();
    assert_eq!(seen["data"].as_array().unwrap().len(), 1, "{seen}");
    customer.post(&format!("/v1/deliveries/{delivery}/cancel"), json!({})).await.expect(202);
    customer.post(&format!("/v1/deliveries/{delivery}/replay"), json!({})).await.expect(202);
    customer
        .patch(&format!("/v1/tenants/acme/endpoints/{own}"), json!({ "description": "mine" }))
        .await
        .expect(200);

    let others_path = format!("/v1/tenants/beta/endpoints/{others}");
    let foreign_path = format!("/v1/events/{foreign}");
    let foreign_paths = [foreign_path.as_str(), &others_path, "/v1/tenants/beta/endpoints"];
    assert_eq!(statuses(&customer, &foreign_paths).await, [404; 3]);
    // What a session cannot have, nobody gets through it.
    for (path, body) in [
        ("/v1/api-keys", json!({ "name": "x", "scopes": ["events:read"] })),
        ("/v1/tenants/acme/portal-sessions", json!({})),
        ("/v1/events", json!({ "tenant": "acme", "type": "o.p", "subject": "2", "data": {} })),
        ("/v1/tenants", json!({ "id": "gamma" })),
        ("/v1/project/pause", json!({})),
    ] {
        customer.post(path, body).await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn the_code_of_a_link_opens_its_session_once() {
    let (program, api) = scene().await;
    let wanted = json!({
        "scopes": ["deliveries:read", "endpoints:read"],
        "origins": ["https://APP.acme.example/", "http://localhost:3000"],
        "theme": { "accent": "#0a7c5c", "scheme": "dark", "name": "Shop" },
        "locale": "pt-BR", "page": "/deliveries",
    });
    let opened = open(&api, "acme", wanted).await;
    let (id, code) = (opened.text("/id"), code(&opened));
    assert_eq!(opened.text("/url"), format!("{}/portal/{id}#code={code}", api.url()));
    let nobody = program.api_with("");

    // Whatever is wrong, the answer is the same.
    let unknown = format!("ses_{}", "0".repeat(26));
    let mut refusals = BTreeSet::new();
    for (id, wrong) in [
        (id.as_str(), "phc_wrong"),
        (&unknown, code.as_str()),
        ("nonsense", &code),
        (&id, &opened.text("/token")),
    ] {
        let refused = exchange(&nobody, id, wrong).await;
        refused.problem(401, "unauthenticated");
        refusals.insert(refused.text("/detail"));
    }
    let exchanged = exchange(&nobody, &id, &code).await;
    let mut answer = exchanged.expect(200);
    let token = answer["token"].take();
    assert_eq!(
        answer,
        json!({
            "token": null, "expires_at": opened.json()["expires_at"], "tenant": "acme",
            "scopes": ["endpoints:read", "deliveries:read"],
            "origins": ["https://app.acme.example", "http://localhost:3000"],
            "branding": { "accent": "#0a7c5c", "scheme": "dark", "name": "Shop" },
            "locale": "pt-BR", "page": "/deliveries",
        })
    );
    refusals.insert(exchange(&nobody, &id, &code).await.text("/detail"));
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    let page = program.api_with(token.as_str().unwrap());
    page.get("/v1/deliveries").await.expect(200);
    page.get("/v1/events").await.problem(403, "forbidden");
    // The code is no token.
    program.api_with(&code).get("/v1/deliveries").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_session_is_no_more_than_the_key_that_opens_it() {
    let (program, api) = scene().await;
    let key = |scopes: Value, more: Value| {
        let mut key = json!({ "name": "opener", "scopes": scopes });
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let api = api.clone();
        async move { api.post("/v1/api-keys", key).await.text("/secret") }
    };
    let narrow = key(json!(["portal:write", "deliveries:read"]), json!({ "tenant": "acme" })).await;
    let narrow = program.api_with(&narrow);
    let opened = open(&narrow, "acme", json!({})).await;
    let list = narrow.get("/v1/tenants/acme/portal-sessions").await.json();
    assert_eq!(list["data"][0]["scopes"], json!(["deliveries:read"]), "the usual, as far as the key has it");
    assert_eq!(list["data"][0]["id"], opened.json()["id"]);
    let more = json!({ "scopes": ["deliveries:read", "endpoints:read"] });
    narrow.post("/v1/tenants/acme/portal-sessions", more).await.problem(403, "forbidden");
    narrow.post("/v1/tenants/beta/portal-sessions", json!({})).await.problem(404, "not_found");
    let without = program.api_with(&key(json!(["deliveries:read"]), json!({})).await);
    without.post("/v1/tenants/acme/portal-sessions", json!({})).await.problem(403, "forbidden");
    let opens_alone = program.api_with(&key(json!(["portal:write"]), json!({})).await);
    let refused = opens_alone.post("/v1/tenants/acme/portal-sessions", json!({})).await;
    refused.problem(403, "forbidden");
    assert!(refused.text("/detail").contains("none of the scopes"), "{}", refused.json());
    // A session ends with its key.
    let end = from_now(Duration::from_secs(600)).to_string();
    let soon = program.api_with(&key(json!(["*"]), json!({ "expires_at": end })).await);
    assert_eq!(open(&soon, "acme", json!({})).await.text("/expires_at"), end);
    let sooner = open(&soon, "acme", json!({ "expires_in": 60 })).await.text("/expires_at");
    assert!(sooner < end, "{sooner}");
}

#[tokio::test]
async fn sessions_end_at_once_by_themselves_with_their_key_and_all_together() {
    let (program, api) = scene().await;
    let made = api.post("/v1/api-keys", json!({ "name": "opener", "scopes": ["*"] })).await;
    let opener = program.api_with(&made.text("/secret"));
    let mut sessions = Vec::new();
    for api in [&opener, &opener, &api, &api] {
        let opened = open(api, "acme", json!({})).await;
        let id = opened.text("/id");
        let path = format!("/v1/tenants/acme/portal-sessions/{id}");
        sessions.push((program.api_with(&opened.text("/token")), path));
    }
    let alive = async || {
        let mut alive = Vec::new();
        for (session, _) in &sessions {
            alive.push(session.get("/v1/deliveries").await.status);
        }
        alive
    };
    assert_eq!(alive().await, [200; 4]);
    assert_eq!(api.get(&sessions[0].1).await.expect(200)["opened_by"], made.json()["id"]);
    api.delete(&sessions[0].1).await.expect(204);
    assert_eq!(alive().await, [401, 200, 200, 200]);
    api.get(&sessions[0].1).await.problem(404, "not_found");
    api.delete(&sessions[0].1).await.problem(404, "not_found");
    // One of another tenant is not there.
    api.delete(&sessions[1].1.replace("acme", "beta")).await.problem(404, "not_found");
    api.delete(&format!("/v1/api-keys/{}?end_sessions=true", made.text("/id"))).await.expect(204);
    assert_eq!(alive().await, [401, 401, 200, 200]);
    let ended = api.post("/v1/tenants/acme/portal-sessions/end-all", json!({})).await;
    assert_eq!(ended.expect(200), json!({ "ended": 2 }));
    assert_eq!(alive().await, [401; 4]);
    let list = api.get("/v1/tenants/acme/portal-sessions").await.json();
    assert_eq!(list["data"], json!([]));

    let last = open(&api, "beta", json!({})).await;
    api.delete("/v1/tenants/beta").await.expect(204);
    program.api_with(&last.text("/token")).get("/v1/deliveries").await.problem(401, "unauthenticated");
    exchange(&api, &last.text("/id"), &code(&last)).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn what_is_wrong_with_a_session_is_named_and_nothing_is_opened() {
    let (_program, api) = scene().await;
    let path = "/v1/tenants/acme/portal-sessions";
    for (wrong, pointer) in [
        (json!({ "expires_in": 59 }), "/expires_in"),
        (json!({ "expires_in": 86_401 }), "/expires_in"),
        (json!({ "expires_in": "8h" }), "/expires_in"),
        (json!({ "scopes": [] }), "/scopes"),
        (json!({ "scopes": ["events:fly"] }), "/scopes"),
        (json!({ "scopes": ["*"] }), "/scopes"),
        (json!({ "scopes": ["keys:write"] }), "/scopes"),
        (json!({ "origins": ["https://*.acme.example"] }), "/origins/0"),
        (json!({ "origins": ["https://acme.example", "http://acme.example"] }), "/origins/1"),
        (json!({ "origins": vec!["https://acme.example"; 21] }), "/origins"),
        (json!({ "theme": { "accent": "red" } }), "/theme/accent"),
        (json!({ "theme": { "scheme": "blue" } }), "/theme/scheme"),
        (json!({ "theme": { "name": "a\nb" } }), "/theme/name"),
        (json!({ "theme": { "color": "#000000" } }), "/theme/color"),
        (json!({ "locale": "en_US" }), "/locale"),
        (json!({ "page": "//evil.example" }), "/page"),
        (json!({ "page": "/../console" }), "/page"),
        (json!({ "tenant": "beta" }), "/tenant"),
    ] {
        let refused = api.post(path, wrong.clone()).await;
        assert_eq!(refused.problem(422, "invalid_request"), [pointer], "{wrong}");
    }
    let list = api.get(path).await.json();
    assert_eq!(list["data"], json!([]));
}

#[tokio::test]
async fn a_repeated_opening_gets_the_same_link_and_no_list_shows_it() {
    let (_program, api) = scene().await;
    let path = "/v1/tenants/acme/portal-sessions";
    let request = || api.request("POST", path).header("idempotency-key", "open-1").json(&json!({}));
    let (first, again) = (api.send(request()).await, api.send(request()).await);
    first.expect(201);
    assert_eq!(again.json(), first.json());
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    // What is shown once is kept by nobody on its way.
    assert_eq!([&first, &again].map(|answer| answer.header("cache-control")), [Some("no-store"); 2]);
    let shown = format!("{}{}", api.get(path).await.json(), api.get(&location(&first)).await.json());
    for secret in [first.text("/token"), code(&first)] {
        assert!(!shown.contains(&secret), "{shown}");
    }
}

fn location(answer: &Answer) -> String {
    answer.header("location").unwrap().to_owned()
}
