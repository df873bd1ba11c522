//! A database with a synchronous standby, whose machine is lost: what was
//! acknowledged is there after the failover, and what is not safe yet is not
//! acknowledged.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod common;

use common::settings;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use testkit::{Answer, Api, Postgres, Program, until};

/// A server with a standby, without which nothing is committed, and Posthorn on
/// it.
struct Scene {
    primary: Postgres,
    standby: Postgres,
    database: String,
    program: Program,
}

impl Scene {
    async fn start() -> Self {
        let primary = Postgres::start(&[("fsync", "off"), ("synchronous_standby_names", "*")]);
        let standby = primary.standby();
        let url = primary.new_database();
        let start = settings().on(&url, "all").with("POSTHORN_LOG", "error");
        testkit::migrate(&start).await;
        let mut program = Program::start_beside(start, "").await;
        let key = program.create_key(&["--project", "test", "--scopes", "*"]).await;
        program.use_key(&key);
        let api = program.api();
        api.create_tenant("acme").await;
        // Connections are made when they are wanted first.
        api.publish("acme", "order.paid", "ord_0").await;
        let database = url.rsplit('/').next().unwrap().to_owned();
        Self { primary, standby, database, program }
    }

    /// Sends a request while the standby is away, breaks off by this function
    /// the waits of commits for it until the primary has what this statement
    /// counts, and gives the answer.
    async fn answer_to(&self, request: RequestBuilder, function: &str, count: &str) -> Answer {
        self.standby.crash();
        let break_off = format!(
            "SELECT count({function}(pid)) FROM pg_stat_activity \
             WHERE application_name = 'posthorn' AND wait_event = 'SyncRep' \
             AND clock_timestamp() - state_change > interval '200 ms'"
        );
        let is_there = until("the primary has it", || async {
            self.primary.sql(&self.database, &break_off);
            (self.primary.sql(&self.database, count) == "1").then_some(())
        });
        let api = self.program.api();
        tokio::join!(api.send(request), is_there).0
    }
}

fn event() -> Value {
    json!({ "tenant": "acme", "type": "order.paid", "subject": "ord_1", "data": {} })
}

fn publish(api: &Api) -> RequestBuilder {
    api.request("POST", "/v1/events").header("idempotency-key", "outbox-1").json(&event())
}

/// Whoever breaks off the wait, the publisher is told 202 only when the standby
/// has the event, also when it asks again with its key.
async fn is_acknowledged_with_the_standby_alone(function: &str) {
    let scene = Scene::start().await;
    let api = scene.program.api();
    let count = "SELECT count(*) FROM events WHERE subject = 'ord_1'";
    scene.answer_to(publish(&api), function, count).await.problem(503, "unavailable");
    api.send(publish(&api)).await.problem(503, "unavailable");
    scene.standby.resume();
    until("the event is acknowledged", || async {
        (api.send(publish(&api)).await.status == 202).then_some(())
    })
    .await;
    assert_eq!(scene.standby.sql(&scene.database, count), "1", "the standby has it");
    scene.primary.crash();
    scene.standby.promote();
    assert_eq!(scene.standby.sql(&scene.database, count), "1", "it is there after the failover");
}

#[tokio::test]
async fn an_event_that_one_machine_has_is_not_acknowledged_when_its_connection_ended() {
    is_acknowledged_with_the_standby_alone("pg_terminate_backend").await;
}

#[tokio::test]
async fn an_event_that_one_machine_has_is_not_acknowledged_when_its_wait_was_cancelled() {
    is_acknowledged_with_the_standby_alone("pg_cancel_backend").await;
}

#[tokio::test]
async fn a_change_that_one_machine_has_is_not_answered_and_not_when_it_is_asked_for_again() {
    for function in ["pg_terminate_backend", "pg_cancel_backend"] {
        let scene = Scene::start().await;
        let api = scene.program.api();
        let create = || {
            let request = api.request("POST", "/v1/tenants").header("idempotency-key", "tenant-2");
            request.json(&json!({ "id": "other" }))
        };
        let count = "SELECT count(*) FROM tenants WHERE handle = 'other'";
        scene.answer_to(create(), function, count).await.problem(503, "unavailable");
        api.send(create()).await.problem(503, "unavailable");
        scene.standby.resume();
        until("the change is answered", || async {
            Some(api.send(create()).await).filter(|answer| answer.status == 201)
        })
        .await;
        assert_eq!(scene.standby.sql(&scene.database, count), "1", "the standby has it");
    }
}
