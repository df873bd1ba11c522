//! Callers that do not trust one another: what one of them may do says nothing
//! about the others, and no key gives more than it has.

use std::collections::BTreeSet;

use crate::common::start;
use serde_json::{Value, json};
use testkit::{Answer, Api, Behaviour, Program, Receiver};

/// A server with the tenants `acme` and `beta`.
async fn scene() -> (Program, Api) {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    api.create_tenant("beta").await;
    (program, api)
}

/// A client with a new key.
async fn with_key(program: &Program, maker: &Api, key: Value) -> (Api, String) {
    let made = maker.post("/v1/api-keys", key).await;
    made.expect(201);
    (program.api_with(&made.text("/secret")), format!("/v1/api-keys/{}", made.text("/id")))
}

async fn post_once(api: &Api, path: &str, key: &str, body: &Value) -> Answer {
    api.send(api.request("POST", path).header("idempotency-key", key).json(body)).await
}

#[tokio::test]
async fn idempotency_keys_of_tenants_projects_and_the_platform_do_not_meet() {
    let (program, api) = scene().await;
    let bound = |tenant: &str| json!({ "name": tenant, "scopes": ["*"], "tenant": tenant });
    let (acme, _) = with_key(&program, &api, bound("acme")).await;
    let (beta, _) = with_key(&program, &api, bound("beta")).await;
    let endpoint = json!({ "url": "http://127.0.0.1:9/" });
    let event = |tenant: &str| json!({ "tenant": tenant, "type": "a.b", "subject": "s", "data": {} });
    // One key, used for other things by other callers: each is the first of its own.
    for (caller, tenant) in [(&acme, "acme"), (&beta, "beta")] {
        let path = format!("/v1/tenants/{tenant}/endpoints");
        post_once(caller, &path, "outbox-900", &endpoint).await.expect(201);
        let again = post_once(caller, &path, "outbox-900", &endpoint).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        post_once(caller, "/v1/events", "outbox-900", &event(tenant)).await.expect(202);
    }
    let first = post_once(&api, "/v1/events", "outbox-900", &event("beta")).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (202, None));
    post_once(&api, "/v1/api-keys", "outbox-900", &bound("beta")).await.expect(201);
    let again = post_once(&api, "/v1/events", "outbox-900", &event("beta")).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.text("/id"), first.text("/id"));
    // Within a space, another request under the same key is still a mistake.
    post_once(&api, "/v1/events", "outbox-900", &event("acme")).await.problem(422, "idempotency_mismatch");

    // A key that looks like the platform's own does not keep an event in quarantine.
    api.patch("/v1/project", json!({ "validation": "quarantine" })).await.expect(200);
    let schema = json!({ "type": "object", "required": ["total"] });
    let declared = json!({ "name": "o.p", "versions": [{ "schema": schema }] });
    api.post("/v1/event-types", declared).await.expect(201);
    let held = json!({ "tenant": "acme", "type": "o.p", "subject": "s", "data": {} });
    let held = api.post("/v1/events", held).await;
    assert_eq!(held.expect(202)["status"], "quarantined");
    let id = held.text("/id");
    for key in [format!("quarantine:{id}"), id.clone()] {
        for caller in [&acme, &api] {
            post_once(caller, "/v1/events", &key, &event("acme")).await.expect(202);
        }
    }
    let released = api.post(&format!("/v1/quarantine/{id}/release"), json!({ "data": { "total": 1 } })).await;
    assert_eq!(released.expect(200)["state"], "released");
}

#[tokio::test]
async fn a_key_gets_nothing_through_another_that_it_does_not_have() {
    let (program, api) = scene().await;
    let all = json!({ "name": "owner's", "scopes": ["*"] });
    let (owner, owners_key) = with_key(&program, &api, all).await;
    let limits = [
        ("scopes", json!(["keys:write"])),
        ("expires_at", json!("2100-01-01T00:00:00Z")),
        ("allowed_networks", json!(["127.0.0.0/8"])),
    ];
    for (limit, value) in limits {
        let mut limited = json!({ "name": limit, "scopes": ["*"] });
        limited[limit] = value.clone();
        let (caller, own) = with_key(&program, &api, limited.clone()).await;
        for refused in [
            caller.post(&format!("{owners_key}/rotate"), json!({ "overlap_seconds": 0 })).await,
            caller.delete(&owners_key).await,
        ] {
            refused.problem(403, "forbidden");
        }
        // Wider than itself in any respect is refused; as wide as itself is not.
        let wider = match limit {
            "scopes" => Some(json!({ "name": "x", "scopes": ["*"] })),
            "allowed_networks" => {
                Some(json!({ "name": "x", "scopes": ["*"], "allowed_networks": ["0.0.0.0/0"] }))
            }
            _ => None,
        };
        if let Some(wider) = wider {
            caller.post("/v1/api-keys", wider).await.problem(403, "forbidden");
        }
        let mut same = limited.clone();
        same["name"] = json!("same");
        let (_, same) = with_key(&program, &caller, same).await;
        let rotated = caller.post(&format!("{same}/rotate"), json!({})).await.expect(200);
        assert_eq!(rotated[limit], api.get(&own).await.expect(200)[limit]);
        assert_eq!(caller.delete(&same).await.status, 204);
        // What is not asked for is inherited.
        let scopes = limited["scopes"].clone();
        let inherited = caller.post("/v1/api-keys", json!({ "name": "x", "scopes": scopes })).await;
        assert_eq!(inherited.expect(201)[limit], api.get(&own).await.expect(200)[limit]);
    }
    owner.get("/v1/events").await.expect(200);
}

#[tokio::test]
async fn of_parallel_rotations_of_a_key_one_wins_and_the_others_are_told() {
    let (program, api) = scene().await;
    let (_, key) = with_key(&program, &api, json!({ "name": "k", "scopes": ["*"] })).await;
    let path = format!("{key}/rotate");
    let seen = api.get(&key).await.header("etag").unwrap().to_owned();
    let rotate = || async {
        let request = api.request("POST", &path).header("if-match", &seen).json(&json!({}));
        api.send(request).await
    };
    let answers = futures_util::future::join_all((0..6).map(|_| rotate())).await;
    let mut won = answers.iter().filter(|answer| answer.status == 200);
    let winner = won.next().expect("one wins");
    assert!(won.next().is_none(), "only one");
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        lost.problem(412, "precondition_failed");
    }
    program.api_with(&winner.text("/secret")).get("/v1/events").await.expect(200);
    // Its answer names the state that there is now.
    let again = api.request("POST", &path).header("if-match", winner.header("etag").unwrap());
    api.send(again.json(&json!({}))).await.expect(200);
}

/// A certificate for a client and its key, in PEM, from openssl.
fn client_certificate() -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "30", "-subj", "/CN=posthorn", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (std::fs::read_to_string(certificate).unwrap(), std::fs::read_to_string(key).unwrap())
}

#[tokio::test]
async fn no_credential_of_an_endpoint_follows_it_to_another_place() {
    let (_program, api) = scene().await;
    let (certificate, private_key) = client_certificate();
    let oauth = json!({
        "token_url": "http://127.0.0.1:7/token", "client_id": "posthorn", "client_secret": "sesame",
        "scope": "hooks.write",
    });
    let certificates = json!({ "certificate": certificate, "private_key": private_key });
    let endpoint = json!({
        "url": "http://127.0.0.1:9/hook", "headers": { "x-key": "sesame" }, "oauth": oauth,
        "client_certificate": certificates,
    });
    let (id, _) = api.create_endpoint("acme", endpoint).await;
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    let needs = |pointers: &[&str]| pointers.iter().map(|one| (*one).to_owned()).collect::<BTreeSet<_>>();
    let everything = needs(&["/headers/x-key", "/oauth/client_secret", "/client_certificate/private_key"]);
    let token = needs(&["/oauth/client_secret"]);
    let refused = [
        (json!({ "url": "http://127.0.0.1:10/hook" }), &everything),
        (json!({ "url": "https://127.0.0.1:9/hook" }), &everything),
        (
            json!({ "url": "http://localhost:9/hook", "client_certificate": { "certificate": certificate } }),
            &everything,
        ),
        (json!({ "oauth": { "token_url": "http://127.0.0.1:8/token" } }), &token),
        (json!({ "oauth": { "token_url": "http://127.0.0.1:7/other" } }), &token),
        (json!({ "oauth": { "client_id": "somebody" } }), &token),
        (json!({ "oauth": { "scope": "hooks.write admin" } }), &token),
        (json!({ "oauth": { "scope": "" } }), &token),
        (json!({ "oauth": { "scope": null } }), &token),
        (
            json!({ "url": "http://127.0.0.1:10/", "headers": { "x-key": "new" },
                "client_certificate": certificates }),
            &token,
        ),
    ];
    let before = api.get(&path).await.expect(200);
    for (patch, pointers) in refused {
        let found = api.patch(&path, patch.clone()).await.problem(422, "invalid_request");
        assert_eq!(&found.into_iter().collect::<BTreeSet<_>>(), pointers, "{patch}");
    }
    assert_eq!(api.get(&path).await.expect(200), before);
    // Another path of the same host, and what is given again or taken away.
    for patch in [
        json!({ "url": "http://127.0.0.1:9/other" }),
        json!({ "oauth": { "scope": "hooks.write" } }),
        json!({ "oauth": { "token_url": "http://127.0.0.1:8/token", "client_secret": "sesame" } }),
        json!({ "url": "http://127.0.0.1:10/", "headers": { "x-key": "new" }, "client_certificate": null,
            "oauth": { "client_secret": "sesame" } }),
        json!({ "url": "http://127.0.0.1:11/", "headers": { "x-key": null }, "oauth": null }),
    ] {
        api.patch(&path, patch).await.expect(200);
    }
}

/// The paths and methods of the API that change something, each with the path
/// of a thing that is there and a body that would do.
async fn changing_routes(api: &Api) -> Vec<(&'static str, String, Value)> {
    let receiver = Receiver::always(Behaviour::Hang).await;
    let (endpoint, _) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let event = api.publish("acme", "a.b", "s").await;
    let delivery = api.deliveries_of(&event).await[0]["id"].as_str().unwrap().to_owned();
    let key = api.post("/v1/api-keys", json!({ "name": "k", "scopes": ["events:read"] })).await.text("/id");
    let operators = api.post("/v1/operational-endpoints", json!({ "url": receiver.url() })).await.text("/id");
    api.post("/v1/retry-policies", json!({ "name": "mine" })).await.expect(201);
    let strict = json!({ "name": "strict.one", "versions": [{ "schema": { "required": ["total"] } }] });
    api.post("/v1/event-types", strict).await.expect(201);
    api.patch("/v1/project", json!({ "validation": "quarantine" })).await.expect(200);
    let held = json!({ "tenant": "acme", "type": "strict.one", "subject": "s", "data": {} });
    let held = api.post("/v1/events", held).await.text("/id");
    let wanted = json!({ "mode": "all", "filter": { "endpoint": endpoint }, "rate_per_second": 1 });
    let replay = api.post("/v1/replays", wanted.clone()).await.text("/id");
    let session = api.post("/v1/tenants/acme/portal-sessions", json!({})).await.text("/id");
    let at = format!("/v1/tenants/acme/endpoints/{endpoint}");
    let new_event = json!({ "tenant": "acme", "type": "a.b", "subject": "s", "data": {} });
    vec![
        ("PATCH", "/v1/project".into(), json!({ "retention_days": 20 })),
        ("POST", "/v1/project/pause".into(), json!({})),
        ("POST", "/v1/project/resume".into(), json!({})),
        ("POST", "/v1/operational-endpoints".into(), json!({ "url": "http://127.0.0.1:9/" })),
        ("PATCH", format!("/v1/operational-endpoints/{operators}"), json!({ "description": "x" })),
        ("DELETE", format!("/v1/operational-endpoints/{operators}"), json!({})),
        ("POST", "/v1/retry-policies".into(), json!({ "name": "other" })),
        ("PATCH", "/v1/retry-policies/mine".into(), json!({ "multiplier": 3 })),
        ("DELETE", "/v1/retry-policies/mine".into(), json!({})),
        ("POST", "/v1/event-types".into(), json!({ "name": "another.one" })),
        ("PATCH", "/v1/event-types/strict.one".into(), json!({ "description": "x" })),
        ("DELETE", "/v1/event-types/strict.one".into(), json!({})),
        ("POST", "/v1/event-types/strict.one/versions".into(), json!({ "schema": {} })),
        ("PATCH", "/v1/event-types/strict.one/versions/1".into(), json!({ "changelog": "x" })),
        ("POST", "/v1/catalogue/apply".into(), json!({ "types": [{ "name": "third.one" }] })),
        ("POST", format!("/v1/quarantine/{held}/release"), json!({ "data": { "total": 1 } })),
        ("POST", format!("/v1/quarantine/{held}/drop"), json!({})),
        ("POST", "/v1/tenants".into(), json!({ "id": "gamma" })),
        ("PUT", "/v1/tenants/gamma".into(), json!({ "name": "Gamma" })),
        ("PUT", "/v1/tenants/acme".into(), json!({ "name": "Acme" })),
        ("PATCH", "/v1/tenants/acme".into(), json!({ "name": "Acme" })),
        ("DELETE", "/v1/tenants/acme".into(), json!({})),
        ("POST", "/v1/tenants/acme/pause".into(), json!({})),
        ("POST", "/v1/tenants/acme/resume".into(), json!({})),
        ("POST", "/v1/tenants/acme/endpoints".into(), json!({ "url": "http://127.0.0.1:9/" })),
        ("PATCH", at.clone(), json!({ "description": "x" })),
        ("DELETE", at.clone(), json!({})),
        ("POST", format!("{at}/secret/rotate"), json!({})),
        ("POST", format!("{at}/reset"), json!({})),
        ("POST", format!("{at}/pause"), json!({})),
        ("POST", format!("{at}/resume"), json!({})),
        ("POST", format!("{at}/test"), json!({})),
        ("POST", "/v1/events".into(), new_event.clone()),
        ("POST", "/v1/events/batch".into(), json!({ "events": [new_event] })),
        ("POST", format!("/v1/deliveries/{delivery}/replay"), json!({})),
        ("POST", format!("/v1/deliveries/{delivery}/cancel"), json!({})),
        ("POST", "/v1/replays".into(), wanted),
        ("POST", format!("/v1/replays/{replay}/pause"), json!({})),
        ("POST", format!("/v1/replays/{replay}/resume"), json!({})),
        ("POST", format!("/v1/replays/{replay}/cancel"), json!({})),
        ("POST", "/v1/api-keys".into(), json!({ "name": "n", "scopes": ["events:read"] })),
        ("DELETE", format!("/v1/api-keys/{key}"), json!({})),
        ("POST", format!("/v1/api-keys/{key}/rotate"), json!({})),
        ("POST", "/v1/erasures".into(), json!({ "tenant": "acme", "subject": "s" })),
        ("POST", "/v1/tenants/acme/portal-sessions".into(), json!({})),
        ("POST", "/v1/tenants/acme/portal-sessions/end-all".into(), json!({})),
        ("DELETE", format!("/v1/tenants/acme/portal-sessions/{session}"), json!({})),
        ("POST", format!("/v1/portal-sessions/{session}/exchange"), json!({ "code": "x" })),
    ]
}

/// What takes no condition: it changes nothing.
const ASKING: [&str; 3] = [
    "/v1/oauth/token",
    "/v1/event-types/{name}/versions/check",
    "/v1/tenants/{tenant}/endpoints/check-filter",
];

#[tokio::test]
async fn every_changing_route_heeds_if_match() {
    let (_program, api) = scene().await;
    let routes = changing_routes(&api).await;
    // None is forgotten: as many as the document describes.
    let document = api.get("/openapi.json").await.expect(200);
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys().filter(|method| *method != "get") {
            if !ASKING.contains(&path.as_str()) {
                described.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    let matches = |described: &(String, String), (method, path): (&str, &str)| {
        let (parts, wanted): (Vec<_>, Vec<_>) = (path.split('/').collect(), described.1.split('/').collect());
        let same = |(part, wanted): (&&str, &&str)| wanted.starts_with('{') || part == wanted;
        described.0 == method && parts.len() == wanted.len() && parts.iter().zip(&wanted).all(same)
    };
    for one in &described {
        let tried = routes.iter().any(|(method, path, _)| matches(one, (method, path)));
        assert!(tried, "{} {} is not tried here", one.0, one.1);
    }
    let before = api.get("/v1/tenants").await.expect(200);
    for (method, path, body) in &routes {
        let send = |values: &'static [&'static [u8]]| {
            let mut request = api.request(method, path);
            for value in values {
                request = request.header("if-match", *value);
            }
            api.send(request.json(body))
        };
        let told = |what: &str| format!("{method} {path} with {what}");
        assert_eq!(send(&[b"\"0\""]).await.status, 412, "{}", told("another state"));
        assert_eq!(send(&[b"W/\"0\""]).await.status, 412, "{}", told("a weak tag"));
        assert_eq!(send(&[b"*", b"*"]).await.status, 400, "{}", told("two headers"));
        assert_eq!(send(&[b"\"\xff"]).await.status, 400, "{}", told("a header that cannot be read"));
        assert_eq!(send(&[b"0"]).await.status, 400, "{}", told("a tag without quotes"));
    }
    assert_eq!(api.get("/v1/tenants").await.expect(200), before);
    assert_eq!(api.get("/v1/event-types/another.one").await.status, 404);
}

#[tokio::test]
async fn a_tenant_has_no_more_endpoints_than_the_operator_allows() {
    let program =
        testkit::Program::start(crate::common::settings().with("POSTHORN_MAX_ENDPOINTS_PER_TENANT", "3"))
            .await;
    let api = program.api();
    api.create_tenant("acme").await;
    api.create_tenant("beta").await;
    let endpoint = json!({ "url": "http://127.0.0.1:9/" });
    let post =
        async |tenant: &str| api.post(&format!("/v1/tenants/{tenant}/endpoints"), endpoint.clone()).await;
    // Also where many are made at once.
    let answers = futures_util::future::join_all((0..8).map(|_| post("acme"))).await;
    let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 3);
    answers.iter().filter(|answer| answer.status != 201).for_each(|answer| {
        answer.problem(409, "conflict");
    });
    post("beta").await.expect(201);
    let gone = format!("/v1/tenants/acme/endpoints/{}", made[0].text("/id"));
    assert_eq!(api.delete(&gone).await.status, 204);
    post("acme").await.expect(201);
    post("acme").await.problem(409, "conflict");
    let large = json!({ "url": "http://127.0.0.1:9/", "metadata": { "a": "x".repeat(50_000) } });
    api.post("/v1/tenants/beta/endpoints", large).await.problem(422, "invalid_request");
}
