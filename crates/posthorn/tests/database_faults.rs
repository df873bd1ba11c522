//! A PostgreSQL database that cannot be used is told apart in words, and one
//! that goes away comes back by itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod common;

use common::settings;
use serde_json::json;
use testkit::{Behaviour, Postgres, Program, Proxy, Receiver, Start, Store, until};

fn on(url: &str) -> Start {
    settings().on(url, "all")
}

/// What `serve` says of a database that it refuses.
async fn refusal(start: &Start) -> String {
    let output = testkit::run(start, &["serve"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn a_wrong_address_is_named() {
    let nobody = Receiver::refusing().await;
    let message = refusal(&on(&format!("postgres://postgres@{nobody}/posthorn"))).await;
    assert!(message.contains("cannot connect to PostgreSQL"), "{message}");
    let message = refusal(&on("postgres://postgres@[not-an-address/posthorn")).await;
    assert!(message.contains("the address of the database is not valid"), "{message}");
    let message = refusal(&on("mysql://root@127.0.0.1/posthorn")).await;
    assert!(message.contains("must begin with sqlite:// or postgres://"), "{message}");
    let server = Postgres::shared();
    let message = refusal(&on(&server.url("nothing_there"))).await;
    assert!(
        message.contains("cannot connect to PostgreSQL") && message.contains("nothing_there"),
        "{message}"
    );
}

#[tokio::test]
async fn a_database_that_is_not_migrated_or_newer_is_refused() {
    let server = Postgres::shared();
    let url = server.new_database();
    let name = url.rsplit('/').next().unwrap();
    let message = refusal(&on(&url)).await;
    assert!(message.contains("run `posthorn migrate` first"), "{message}");
    testkit::migrate(&on(&url)).await;
    server.sql(
        name,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of the future', true, '', 0)",
    );
    let message = refusal(&on(&url)).await;
    assert!(message.contains("a newer Posthorn"), "{message}");
    let migrated = testkit::run(&on(&url), &["migrate"]).await;
    assert_eq!(migrated.status.code(), Some(1));
    assert!(String::from_utf8(migrated.stderr).unwrap().contains("a newer Posthorn"));
}

#[tokio::test]
async fn a_running_server_stays_ready_when_a_newer_version_has_migrated() {
    let server = Postgres::shared();
    let url = server.new_database();
    let name = url.rsplit('/').next().unwrap();
    let program = Program::start_first(on(&url)).await;
    let api = program.api();
    api.until_ready().await;
    server.sql(
        name,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of the next version', true, '', 0)",
    );
    assert_eq!(api.get("/readyz").await.status, 200);
    api.create_tenant("acme").await;
    api.publish("acme", "order.paid", "ord_1").await;
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    let server = Postgres::shared();
    let url = server.new_database();
    // A real server, whose answer is changed on its way: it says that it is a 13.
    let number: i32 = server.sql("postgres", "SHOW server_version_num").parse().unwrap();
    let proxy = Proxy::rewriting(server.port(), &number.to_be_bytes(), &130_011_i32.to_be_bytes()).await;
    let old = url.replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
    for command in ["serve", "migrate"] {
        let output = testkit::run(&on(&old), &[command]).await;
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("is too old; 14 or newer is needed"), "{message}");
    }
}

#[tokio::test]
async fn missing_rights_are_named() {
    let server = Postgres::shared();
    let url = server.new_database();
    let name = url.rsplit('/').next().unwrap();
    testkit::migrate(&on(&url)).await;
    server.sql(name, &format!("CREATE ROLE guest_of_{name} LOGIN"));
    let guest = url.replace("postgres@", &format!("guest_of_{name}@"));
    let message = refusal(&on(&guest)).await;
    assert!(message.contains("the database user lacks a right"), "{message}");
}

#[tokio::test]
async fn a_standby_and_a_wrong_or_missing_master_key_are_refused() {
    let server = Postgres::start(&[("fsync", "off")]);
    let url = server.new_database();
    testkit::migrate(&on(&url)).await;
    let message = refusal(&on(&url).with("POSTHORN_MASTER_KEY", "A".repeat(43) + "=")).await;
    assert!(message.contains("master key is not the one"), "{message}");
    let message = refusal(&on(&url).with("POSTHORN_MASTER_KEY", "")).await;
    assert!(message.contains("openssl rand -base64 32"), "{message}");
    let standby = server.standby();
    let message = refusal(&on(&standby.url(url.rsplit('/').next().unwrap()))).await;
    assert!(message.contains("read-only standby"), "{message}");
}

#[tokio::test]
async fn a_server_proves_who_it_is_before_it_is_told_anything() {
    let server = Postgres::start_with_tls();
    let url = server.new_database();
    let with = |host: &str, options: &str| format!("{}?{options}", url.replace("127.0.0.1", host));
    let authority = server.directory().join("data/ca.crt").display().to_string();
    let known = format!("sslmode=verify-full&sslrootcert={authority}");
    let _program = Program::start_first(on(&with("localhost", &known))).await;

    let message = refusal(&on(&with("localhost", "sslmode=verify-full"))).await;
    assert!(message.contains("cannot connect to PostgreSQL") && message.contains("certificate"), "{message}");
    // The certificate is for another name.
    let message = refusal(&on(&with("127.0.0.1", &known))).await;
    assert!(message.contains("cannot connect to PostgreSQL") && message.contains("certificate"), "{message}");
}

#[tokio::test]
async fn a_role_needs_a_database_that_can_be_shared() {
    let start = Start { role: "api", store: Store::Embedded, ..settings() };
    let output = testkit::run(&start, &["serve", "--role", "dispatcher"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr).unwrap().contains("several processes share a PostgreSQL database")
    );
}

#[tokio::test]
async fn a_database_that_goes_away_is_503_and_all_goes_on_when_it_returns() {
    let server = Postgres::start(&[("fsync", "off")]);
    let url = server.new_database();
    let program = Program::start_first(on(&url).with("POSTHORN_LOG", "off")).await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    api.create_tenant("acme").await;
    api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let before = api.publish("acme", "order.paid", "ord_1").await;
    api.delivery_with_status(&before, "delivered").await;

    server.crash();
    let event = json!({ "tenant": "acme", "type": "order.paid", "subject": "ord_2", "data": {} });
    let refused = api.post("/v1/events", event.clone()).await;
    refused.problem(503, "unavailable");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(api.get("/readyz").await.status, 503);
    assert_eq!(api.get("/healthz").await.status, 200);

    server.resume();
    api.until_ready().await;
    let accepted = until("publishing goes on", || async {
        Some(api.post("/v1/events", event.clone()).await).filter(|answer| answer.status == 202)
    })
    .await;
    api.delivery_with_status(&accepted.text("/id"), "delivered").await;
}

#[tokio::test]
async fn a_server_that_gives_too_few_connections_leaves_the_program_not_ready() {
    let server = Postgres::start(&[("fsync", "off")]);
    let url = server.new_database();
    let database = url.rsplit('/').next().unwrap();
    server.sql("postgres", &format!("CREATE ROLE few LOGIN; ALTER DATABASE {database} OWNER TO few"));
    let mut program = Program::start_first(on(&url.replace("postgres@", "few@"))).await;
    let api = program.api();
    let receiver = Receiver::always(Behaviour::Answer(204)).await;
    api.create_tenant("acme").await;
    api.create_endpoint("acme", json!({ "url": receiver.url() })).await;

    // Enough to publish, and not to claim and to write heartbeats as well.
    server.sql("postgres", "ALTER ROLE few CONNECTION LIMIT 2");
    program.crash_and_restart().await;
    let api = program.api();
    // Which part of it has no connection is chance.
    api.until_not_ready().await;
    assert_eq!(api.get("/healthz").await.status, 200);

    server.sql("postgres", "ALTER ROLE few CONNECTION LIMIT -1");
    api.until_ready().await;
    let event = api.publish("acme", "order.paid", "ord_1").await;
    api.delivery_with_status(&event, "delivered").await;
}
