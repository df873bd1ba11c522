//! Going back to the moment before an accident, as the guide on high
//! availability says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod common;

use common::settings;
use serde_json::json;
use testkit::{Behaviour, Postgres, Program, Receiver, until};

#[tokio::test]
async fn after_a_restore_everything_is_as_it_was_at_that_moment_and_goes_on() {
    let server = Postgres::start_with_archive();
    let url = server.new_database();
    let name = url.rsplit('/').next().unwrap();
    let start = |url: &str| settings().on(url, "all").with("POSTHORN_LOG", "error");
    let mut program = Program::start_first(start(&url)).await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    api.create_tenant("acme").await;
    let endpoint = json!({ "url": receiver.url(), "status": "paused" });
    let (endpoint, secret) = api.create_endpoint("acme", endpoint).await;
    let before_the_backup = api.publish("acme", "order.paid", "ord_1").await;
    server.back_up();
    let after_the_backup = api.publish("acme", "order.paid", "ord_2").await;
    let moment = server.sql(name, "SELECT clock_timestamp()");
    api.publish("acme", "order.paid", "ord_3").await;
    assert_eq!(api.delete("/v1/tenants/acme").await.status, 204);
    assert_eq!(program.stop().await, Some(0));
    server.sql(name, "SELECT pg_switch_wal()");
    until("the log is kept", || async {
        let kept = "SELECT last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 16777216) FROM pg_stat_archiver";
        (server.sql(name, kept) == "t").then_some(())
    })
    .await;
    server.crash();

    let restored = server.restore(&moment);
    until("the server writes", || async {
        (restored.sql("postgres", "SELECT pg_is_in_recovery()") == "f").then_some(())
    })
    .await;
    let url = restored.url(name);
    testkit::migrate(&start(&url)).await;
    let program = Program::start_beside(start(&url), api.key()).await;
    let api = program.api();
    let listed = api.get("/v1/events").await.expect(200);
    let ids: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [after_the_backup.as_str(), before_the_backup.as_str()]);
    // What waited goes on waiting, and is delivered, signed with the secret that the customer has.
    let path = format!("/v1/tenants/acme/endpoints/{endpoint}");
    api.patch(&path, json!({ "status": "enabled" })).await.expect(200);
    let received = receiver.wait_for(2).await;
    received.iter().for_each(|request| common::verify(&secret, request));
    let event = json!({ "tenant": "acme", "type": "order.paid", "subject": "ord_3", "data": {} });
    let next = api.post("/v1/events", event).await.expect(202);
    assert_eq!(next["sequence"], 3);
}
