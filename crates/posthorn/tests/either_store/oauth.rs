//! Short-lived tokens for API keys.

use serde_json::{Value, json};
use testkit::{Answer, Api};

use crate::common::start;

/// Asks for a token with a form.
async fn ask(api: &Api, client: Option<(&str, &str)>, form: &[(&str, &str)]) -> Answer {
    let request = api.with_key("").request("POST", "/v1/oauth/token").form(form);
    let request = match client {
        Some((id, secret)) => request.basic_auth(id, Some(secret)),
        None => request,
    };
    api.send(request).await
}

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

#[tokio::test]
async fn a_key_is_exchanged_for_a_token_that_has_its_scopes_or_some_for_a_quarter_of_an_hour() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let made =
        json!({ "name": "k", "scopes": ["tenants:read", "endpoints:write", "keys:write"], "tenant": "acme" });
    let made = api.post("/v1/api-keys", made).await;
    let (id, secret) = (made.text("/id"), made.text("/secret"));
    let in_form = [GRANT, ("client_id", &id), ("client_secret", &secret)];
    for (client, form) in [(Some((id.as_str(), secret.as_str())), &[GRANT][..]), (None, &in_form)] {
        let answer = ask(&api, client, form).await;
        let token = answer.expect(200);
        assert_eq!((&token["token_type"], &token["expires_in"]), (&json!("Bearer"), &json!(900)));
        assert_eq!(token["scope"], "tenants:read endpoints:write keys:write");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let with = program.api_with(token["access_token"].as_str().unwrap());
        with.get("/v1/tenants/acme").await.expect(200);
        with.get("/v1/events").await.problem(403, "forbidden");
        assert_eq!(
            with.get("/v1/tenants").await.json()["data"].as_array().map(Vec::len),
            Some(1),
            "its tenant"
        );
    }
    let narrow = ask(&api, Some((&id, &secret)), &[GRANT, ("scope", "endpoints:operate keys:write")]).await;
    let narrow = program.api_with(&narrow.text("/access_token"));
    narrow.get("/v1/tenants/acme").await.problem(403, "forbidden");
    // A key that it makes ends with it.
    let child = narrow.post("/v1/api-keys", json!({ "name": "child", "scopes": ["keys:write"] })).await;
    assert!(child.expect(201)["expires_at"].is_string());
    // It is no key: nothing longer is made of it.
    let again = ask(&api, Some((&id, narrow.key())), &[GRANT]).await;
    assert_eq!(again.expect(401)["error"], "invalid_client");
    // One that was exchanged for a secret ends with that secret.
    let rotated = api.post(&format!("/v1/api-keys/{id}/rotate"), json!({ "overlap_seconds": 0 })).await;
    narrow.get("/v1/api-keys").await.problem(401, "unauthenticated");
    let narrow = ask(&api, Some((&id, &rotated.text("/secret"))), &[GRANT]).await;
    let narrow = program.api_with(&narrow.text("/access_token"));
    narrow.get("/v1/api-keys").await.expect(200);
    // It ends with its key.
    api.delete(&format!("/v1/api-keys/{id}")).await.expect(204);
    narrow.get("/v1/api-keys").await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_request_that_is_not_as_the_rfc_has_it_is_refused_as_the_rfc_has_it() {
    let program = start().await;
    let api = program.api();
    let made = api.post("/v1/api-keys", json!({ "name": "k", "scopes": ["events:read"] })).await;
    let (id, secret) = (made.text("/id"), made.text("/secret"));
    let other = api.post("/v1/api-keys", json!({ "name": "k", "scopes": ["events:read"] })).await.text("/id");
    let session = "pht_0000000000000000000000000000000000000000000000000000000000000000";
    let client = Some((id.as_str(), secret.as_str()));
    for (client, form, status, error) in [
        (client, vec![], 400, "invalid_request"),
        (client, vec![("grant_type", "")], 400, "invalid_request"),
        (client, vec![("grant_type", "password")], 400, "unsupported_grant_type"),
        (client, vec![GRANT, GRANT], 400, "invalid_request"),
        (client, vec![GRANT, ("scope", "events:write")], 400, "invalid_scope"),
        (client, vec![GRANT, ("scope", "*")], 400, "invalid_scope"),
        (client, vec![GRANT, ("scope", "events:fly")], 400, "invalid_scope"),
        (client, vec![GRANT, ("client_id", &id), ("client_secret", &secret)], 400, "invalid_request"),
        (None, vec![GRANT], 401, "invalid_client"),
        (None, vec![GRANT, ("client_secret", &secret)], 401, "invalid_client"),
        (Some((other.as_str(), secret.as_str())), vec![GRANT], 401, "invalid_client"),
        (Some((id.as_str(), "phk_nonsense")), vec![GRANT], 401, "invalid_client"),
        (Some((id.as_str(), session)), vec![GRANT], 401, "invalid_client"),
    ] {
        let answer = ask(&api, client, &form).await;
        let body = answer.expect(status);
        assert_eq!(body["error"], error, "{form:?}");
        assert!(
            body["error_description"].as_str().is_some_and(|why| why.is_ascii() && !why.is_empty()),
            "{body}"
        );
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{form:?}");
    }
    let as_json = api
        .with_key("")
        .request("POST", "/v1/oauth/token")
        .json(&json!({ "grant_type": "client_credentials" }));
    assert_eq!(api.send(as_json).await.expect(400)["error"], "invalid_request");
    let bearer = api.request("POST", "/v1/oauth/token").form(&[GRANT]);
    assert_eq!(api.send(bearer).await.expect(401)["error"], "invalid_client");
    // What nobody gave out opens nothing.
    for token in ["pha_", "pha_AAAA", "pha_!", &format!("pha_{}", "A".repeat(200))] {
        program.api_with(token).get("/v1/events").await.problem(401, "unauthenticated");
    }
    let unharmed: Value = ask(&api, client, &[GRANT]).await.expect(200);
    assert_eq!(unharmed["scope"], "events:read");
}
