//! Every operation, by whoever should not use it: what they are answered is the
//! same whether the thing is somebody else's or is not there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Answer, Api, Behaviour, Program, Receiver, until};

use crate::common::{from_now, start};

/// Operations that need no key.
const OPEN: [&str; 2] = ["portalSessions.exchange", "oauth.token"];

/// Operations about things that everybody in a project may name. Callers of the
/// same project are no strangers to them.
const OF_THE_PROJECT: [&str; 2] = ["eventTypes.", "retryPolicies."];

/// Operations that nobody has who is bound to a tenant.
const OF_OPERATORS: [&str; 1] = ["operationalEndpoints."];

/// Whoever may make tenants makes one of this name in their own project.
const MAKES_ITS_OWN: [&str; 1] = ["tenants.replace"];

struct Operation {
    name: String,
    scopes: Vec<String>,
    method: String,
    path: String,
}

fn operations() -> Vec<Operation> {
    let document = include_str!("../../../../docs/openapi.json");
    let document: Value = serde_json::from_str(document).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push(Operation {
                name: operation["operationId"].as_str().unwrap().to_owned(),
                scopes: serde_json::from_value(operation["x-scopes"].clone()).unwrap(),
                method: method.to_uppercase(),
                path: path.clone(),
            });
        }
    }
    operations
}

impl Operation {
    fn is_one_of(&self, beginnings: &[&str]) -> bool {
        beginnings.iter().any(|beginning| self.name.starts_with(beginning))
    }

    /// The path about these things.
    fn about(&self, things: &BTreeMap<&str, String>) -> String {
        // Two parameters stand for other things elsewhere.
        let mut path = match self.name.split('.').next() {
            Some("operationalEndpoints") => self.path.replace("{endpoint}", "{operator}"),
            Some("retryPolicies") => self.path.replace("{name}", "{policy}"),
            _ => self.path.clone(),
        };
        for (name, id) in things {
            path = path.replace(&format!("{{{name}}}"), id);
        }
        assert!(!path.contains('{'), "{}: {path} is about something that this test does not make", self.name);
        path
    }

    async fn ask(&self, caller: &Api, path: &str) -> Answer {
        let request = caller.request(&self.method, path);
        caller.send(if self.method == "GET" { request } else { request.json(&json!({})) }).await
    }
}

/// What is another in each answer: the time, the request's own id, what is left of
/// its limits, and whether the connection goes on, which depends on how a body that
/// nobody reads arrives.
const ITS_OWN: [&str; 4] = ["date", "x-request-id", "connection", "ratelimit"];

/// What an answer tells.
fn told(answer: &Answer, path: &str) -> (u16, String, Vec<String>) {
    let mut body = String::from_utf8(answer.bytes.clone()).unwrap();
    if let Some(id) = answer.header("x-request-id") {
        body = body.replace(id, "REQUEST");
    }
    let headers = answer.headers.iter().filter(|(name, _)| !ITS_OWN.contains(&name.as_str()));
    let mut headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    (answer.status, body.replace(path, "PATH"), headers)
}

/// A server on which the tenant `acme` has one of everything.
struct Scene {
    program: Program,
    _receiver: Receiver,
    api: Api,
    /// What stands for the parameters of paths.
    there: BTreeMap<&'static str, String>,
    /// The same forms, and nothing has these names.
    not_there: BTreeMap<&'static str, String>,
}

async fn scene() -> Scene {
    let program = start().await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(503)).await;
    for tenant in ["acme", "beta"] {
        api.create_tenant(tenant).await;
    }
    let (endpoint, _) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let event = api.publish("acme", "o.p", "1").await;
    let delivery = api.deliveries_of(&event).await[0]["id"].as_str().unwrap().to_owned();
    let wish = json!({ "mode": "failed", "filter": { "endpoint": endpoint } });
    let replay = api.post("/v1/replays", wish).await.text("/id");
    let key = json!({ "name": "acme's", "scopes": ["events:read"], "tenant": "acme" });
    let key = api.post("/v1/api-keys", key).await.text("/id");
    let session = api.post("/v1/tenants/acme/portal-sessions", json!({})).await.text("/id");
    let erased =
        api.post("/v1/erasures", json!({ "tenant": "acme", "subject": "nothing" })).await.text("/id");
    let declared =
        json!({ "name": "q.r", "versions": [{ "schema": { "type": "object", "required": ["x"] } }] });
    api.post("/v1/event-types", declared).await.expect(201);
    api.patch("/v1/project", json!({ "validation": "quarantine" })).await.expect(200);
    let held = json!({ "tenant": "acme", "type": "q.r", "subject": "1", "data": {} });
    let held = api.post("/v1/events", held).await.text("/id");
    let operators = json!({ "url": receiver.url() });
    let operator = api.post("/v1/operational-endpoints", operators).await.text("/id");
    let policy = json!({ "name": "slow", "initial_seconds": 60 });
    api.post("/v1/retry-policies", policy).await.expect(201);
    let there = BTreeMap::from([
        ("operator", operator),
        ("policy", "slow".to_owned()),
        ("tenant", "acme".to_owned()),
        ("endpoint", endpoint),
        ("event", event),
        ("delivery", delivery),
        ("replay", replay),
        ("key", key),
        ("session", session),
        ("erasure", erased),
        ("id", held),
        ("name", "q.r".to_owned()),
        ("version", "1".to_owned()),
    ]);
    let not_there = there.iter().map(|(name, id)| {
        let other = match id.split_once('_') {
            // The same id with another end.
            Some(_) => {
                let last = if id.ends_with('0') { '1' } else { '0' };
                format!("{}{last}", &id[..id.len() - 1])
            }
            None if *name == "version" => "9".to_owned(),
            None => format!("{id}x"),
        };
        (*name, other)
    });
    let not_there = not_there.collect();
    Scene { program, _receiver: receiver, api, there, not_there }
}

#[tokio::test]
async fn without_a_good_credential_every_operation_is_401_and_says_nothing_else() {
    let scene = scene().await;
    let make = async |more: Value| {
        let mut key = json!({ "name": "some", "scopes": ["*"] });
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = scene.api.post("/v1/api-keys", key).await;
        (made.text("/secret"), made.text("/id"))
    };
    let (revoked, id) = make(json!({})).await;
    scene.api.delete(&format!("/v1/api-keys/{id}")).await.expect(204);
    let soon = from_now(Duration::from_millis(1_500));
    let (expired, _) = make(json!({ "expires_at": soon.to_string() })).await;
    let (elsewhere, _) = make(json!({ "allowed_networks": ["192.0.2.0/24"] })).await;
    let ended = scene.api.post("/v1/tenants/beta/portal-sessions", json!({})).await.text("/token");
    scene.api.post("/v1/tenants/beta/portal-sessions/end-all", json!({})).await.expect(200);
    let expired = scene.program.api_with(&expired);
    until("the key has expired", || async { (expired.get("/v1/events").await.status == 401).then_some(()) })
        .await;
    let unknown = format!("phk_{}", "0".repeat(64));
    let mut refused = vec![expired];
    let tokens = ["", "nonsense", "phk_", "phk_short", "pht_short", &unknown, &revoked, &elsewhere, &ended];
    refused.extend(tokens.map(|token| scene.program.api_with(token)));
    let mut walked = 0;
    for operation in operations() {
        if OPEN.contains(&operation.name.as_str()) {
            continue;
        }
        // All at once: whoever is not known waits a moment for news of them.
        let asked = refused.iter().map(async |caller| {
            let (path, missing) = (operation.about(&scene.there), operation.about(&scene.not_there));
            let answer = operation.ask(caller, &path).await;
            answer.problem(401, "unauthenticated");
            assert!(answer.header("www-authenticate").is_some(), "{}", operation.name);
            let nothing = operation.ask(caller, &missing).await;
            assert_eq!(
                told(&answer, &path),
                told(&nothing, &missing),
                "{} by {:?}",
                operation.name,
                caller.key()
            );
        });
        futures_util::future::join_all(asked).await;
        walked += 1;
    }
    assert!(walked > 60, "{walked}");
}

#[tokio::test]
async fn what_belongs_to_others_is_as_if_it_were_not_there_in_every_operation() {
    let scene = scene().await;
    let bound = json!({ "name": "beta's", "scopes": ["*"], "tenant": "beta" });
    let bound = scene.program.api_with(&scene.api.post("/v1/api-keys", bound).await.text("/secret"));
    let opened = scene.api.post("/v1/tenants/beta/portal-sessions", json!({})).await;
    let path = format!("/v1/tenants/beta/portal-sessions/{}", opened.text("/id"));
    let usual: Vec<String> =
        serde_json::from_value(scene.api.get(&path).await.json()["scopes"].clone()).unwrap();
    let session = scene.program.api_with(&opened.text("/token"));
    let other = scene.program.create_key(&["--project", "other", "--scopes", "*"]).await;
    let other = scene.program.api_with(&other);
    // The other project has a catalogue of its own; the operators' endpoints of each are its own.
    let strangers = [
        ("another tenant's key", &bound, false),
        ("another tenant's session", &session, false),
        ("another project's key", &other, true),
    ];
    let mut walked = 0;
    for operation in operations() {
        let names_a_thing = operation.path.contains('{');
        if !names_a_thing || OPEN.contains(&operation.name.as_str()) {
            continue;
        }
        if operation.method == "GET" {
            // Its owner finds it: the comparison below is about something.
            operation.ask(&scene.api, &operation.about(&scene.there)).await.expect(200);
        }
        for (who, caller, is_of_another_project) in &strangers {
            let may_name_it = match is_of_another_project {
                true => operation.is_one_of(&MAKES_ITS_OWN),
                false => operation.is_one_of(&OF_THE_PROJECT),
            };
            if may_name_it {
                continue;
            }
            let (path, missing) = (operation.about(&scene.there), operation.about(&scene.not_there));
            let answer = operation.ask(caller, &path).await;
            // The scope comes first: a session lacks some, the keys lack none.
            let is_session = *who == "another tenant's session";
            let lacks = is_session && !operation.scopes.iter().all(|one| usual.contains(one));
            let lacks = lacks || (!is_of_another_project && operation.is_one_of(&OF_OPERATORS));
            let (status, code) = if lacks { (403, "forbidden") } else { (404, "not_found") };
            assert_eq!(answer.problem(status, code), Vec::<String>::new(), "{} by {who}", operation.name);
            let nothing = operation.ask(caller, &missing).await;
            assert_eq!(told(&answer, &path), told(&nothing, &missing), "{} by {who}", operation.name);
            walked += 1;
        }
    }
    assert!(walked > 90, "{walked}");
    // Nothing of it was changed.
    let path = format!("/v1/tenants/acme/endpoints/{}", scene.there["endpoint"]);
    assert_eq!(scene.api.get(&path).await.expect(200)["status"], "enabled");
    scene.api.get(&format!("/v1/api-keys/{}", scene.there["key"])).await.expect(200);
    scene.api.get(&format!("/v1/tenants/acme/portal-sessions/{}", scene.there["session"])).await.expect(200);
}

#[tokio::test]
async fn what_belongs_to_others_is_as_if_it_were_not_there_in_bodies_and_queries() {
    let scene = scene().await;
    let bound = json!({ "name": "beta's", "scopes": ["*"], "tenant": "beta" });
    let bound = scene.program.api_with(&scene.api.post("/v1/api-keys", bound).await.text("/secret"));
    let session = scene.api.post("/v1/tenants/beta/portal-sessions", json!({})).await.text("/token");
    let session = scene.program.api_with(&session);
    let other = scene.program.create_key(&["--project", "other", "--scopes", "*"]).await;
    let other = scene.program.api_with(&other);
    let event = |tenant: &str| json!({ "tenant": tenant, "type": "o.p", "subject": "1", "data": {} });
    let wish =
        |endpoint: &str| json!({ "mode": "failed", "filter": { "endpoint": endpoint }, "dry_run": true });
    for (who, caller) in [("tenant's key", &bound), ("tenant's session", &session), ("project's key", &other)]
    {
        let (own, foreign) = (&scene.not_there, &scene.there);
        for (path, body) in [
            ("/v1/events", [event(&own["tenant"]), event(&foreign["tenant"])]),
            ("/v1/replays", [wish(&own["endpoint"]), wish(&foreign["endpoint"])]),
        ] {
            let [missing, foreign] = body;
            let (missing, foreign) = (caller.post(path, missing).await, caller.post(path, foreign).await);
            assert!(foreign.status >= 400, "{who} {path}: {}", foreign.json());
            // A refusal may name what was asked for.
            let masked = |answer: &Answer, things: &BTreeMap<&str, String>| {
                let (status, body, headers) = told(answer, "none");
                let body = body.replace(&things["endpoint"], "THING").replace(&things["tenant"], "THING");
                let headers: Vec<_> =
                    headers.into_iter().filter(|one| !one.starts_with("content-length")).collect();
                (status, body, headers)
            };
            assert_eq!(masked(&foreign, &scene.there), masked(&missing, &scene.not_there), "{who} {path}");
        }
        for list in ["/v1/events?tenant=", "/v1/deliveries?tenant="] {
            let ask = async |tenant: &str| {
                let answer = caller.get(&format!("{list}{tenant}")).await;
                (answer.status, answer.json()["data"].clone())
            };
            let foreign = ask(&foreign["tenant"]).await;
            assert_eq!(foreign, ask(&own["tenant"]).await, "{who} {list}");
            assert_ne!(foreign.1.as_array().map(Vec::len), Some(1), "{who} {list}");
        }
        let foreign = caller.get(&format!("/v1/deliveries?endpoint={}", scene.there["endpoint"])).await;
        assert_eq!(foreign.expect(200)["data"], json!([]), "{who}");
    }
}
