//! How often callers may ask.

use serde_json::json;
use testkit::{Answer, Api, Program};

use crate::common::{settings, start};

/// Asks until it is refused, and gives how often it was not, and the refusal.
async fn until_refused(api: &Api, path: &str) -> (usize, Answer) {
    for asked in 0..1_000 {
        let answer = api.get(path).await;
        if answer.status != 200 {
            return (asked, answer);
        }
    }
    panic!("never refused")
}

/// A number in a header of the form `"name";a=1;b=2`.
fn number(answer: &Answer, header: &str, name: &str) -> u64 {
    let text = answer.header(header).unwrap_or_else(|| panic!("no {header}")).to_owned();
    let found = text.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    found.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test]
async fn a_key_with_a_rate_of_its_own_is_told_what_is_left_and_when_to_come_again() {
    let mut program = start().await;
    let api = program.api();
    let wanted = json!({ "name": "slow", "scopes": ["events:read", "events:write", "keys:write"], "rate_limit_per_second": 2 });
    let made = api.post("/v1/api-keys", wanted).await;
    assert_eq!(made.expect(201)["rate_limit_per_second"], 2);
    let read = api.get(&format!("/v1/api-keys/{}", made.text("/id"))).await;
    assert_eq!(read.expect(200)["rate_limit_per_second"], 2);
    // It is kept by the store.
    program.crash_and_restart().await;

    let slow = program.api_with(&made.text("/secret"));
    let first = slow.get("/v1/events").await;
    assert_eq!(first.header("ratelimit-policy"), Some("\"key-rate\";q=2;w=1"));
    assert_eq!((number(&first, "ratelimit", "r"), number(&first, "ratelimit", "t")), (1, 1));
    let (_, refused) = until_refused(&slow, "/v1/events").await;
    refused.problem(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(number(&refused, "ratelimit", "r"), 0);
    // Publishing counts, too.
    let event = json!({ "tenant": "acme", "type": "order.paid", "subject": "ord_1", "data": {} });
    let published = testkit::until("publishing is refused", || async {
        let answer = slow.post("/v1/events", event.clone()).await;
        (answer.status == 429).then_some(answer)
    });
    published.await.problem(429, "rate_limited");
}

#[tokio::test]
async fn no_key_is_made_that_may_ask_more_often_than_its_maker() {
    let program = start().await;
    let make = async |api: &Api, rate: serde_json::Value| {
        let wanted = json!({ "name": "a key", "scopes": ["keys:write"], "rate_limit_per_second": rate });
        api.post("/v1/api-keys", wanted).await
    };
    for (rate, why) in [(json!(0), "must be 1 to 100000"), (json!(100_001), "must be 1 to 100000")] {
        let refused = make(&program.api(), rate).await;
        assert_eq!(refused.problem(422, "invalid_request"), ["/rate_limit_per_second"]);
        assert_eq!(refused.text("/errors/0/detail"), why);
    }
    for rate in [json!(-1), json!(1.5), json!("5")] {
        make(&program.api(), rate).await.problem(422, "invalid_request");
    }
    let slow = program.api_with(&make(&program.api(), json!(50)).await.text("/secret"));
    make(&slow, json!(51)).await.problem(403, "forbidden");
    assert_eq!(make(&slow, json!(50)).await.expect(201)["rate_limit_per_second"], 50);
    let inherited = make(&slow, json!(null)).await.expect(201);
    assert_eq!(inherited["rate_limit_per_second"], 50, "what limits the maker limits what it makes");
}

#[tokio::test]
async fn reads_and_changes_are_limited_for_a_key_and_for_all_of_a_tenant_and_publishing_is_not() {
    let program = Program::start(
        settings()
            .with("POSTHORN_KEY_READS_PER_SECOND", "1")
            .with("POSTHORN_KEY_CHANGES_PER_SECOND", "0")
            .with("POSTHORN_TENANT_READS_PER_SECOND", "1")
            .with("POSTHORN_TENANT_CHANGES_PER_SECOND", "1"),
    )
    .await;
    let api = program.api();
    api.create_tenant("acme").await;
    let (allowed, refused) = until_refused(&api, "/v1/tenants").await;
    assert!(allowed >= 10, "{allowed} at once");
    refused.problem(429, "rate_limited");
    assert!(refused.header("ratelimit").unwrap().starts_with("\"key-reads\";r=0;t="));
    let unlimited = api.post("/v1/tenants", json!({ "id": "beta" })).await;
    assert_eq!((unlimited.status, unlimited.header("ratelimit")), (201, None));
    for n in 0..50 {
        api.publish("acme", "order.paid", &format!("ord_{n}")).await;
    }

    let bound = async || {
        let wanted = json!({ "name": "acme's", "scopes": ["endpoints:read"], "tenant": "acme" });
        program.api_with(&api.post("/v1/api-keys", wanted).await.text("/secret"))
    };
    let (one, other) = (bound().await, bound().await);
    until_refused(&one, "/v1/tenants/acme/endpoints").await;
    // What the first has left is all that there is.
    let (_, refused) = until_refused(&other, "/v1/tenants/acme/endpoints").await;
    assert!(refused.header("ratelimit").unwrap().contains("\"tenant-reads\";r=0"));
    assert!(refused.text("/detail").contains("reads for this tenant"));
}
