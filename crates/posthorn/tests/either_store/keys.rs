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
