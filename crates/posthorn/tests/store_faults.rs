//! A disk that is full or a database that is locked is never a false 202.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod common;

use std::process::Stdio;

use serde_json::json;
use testkit::{Behaviour, Program, Receiver, Start, Store, until};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

/// What is tested here is the embedded store, whichever the others run on.
fn settings() -> Start {
    Start { store: Store::Embedded, ..common::settings() }
}

async fn start() -> Program {
    Program::start(settings()).await
}

#[tokio::test]
async fn a_full_disk_is_503_and_what_was_acknowledged_is_delivered_later() {
    let mut program = Program::start(settings()).await;
    let receiver = Receiver::always(Behaviour::Answer(200)).await;
    let api = program.api();
    api.create_tenant("acme").await;
    api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    assert_eq!(program.stop().await, Some(0));
    // From now on no file may grow beyond this.
    program.change(|start| start.file_limit_kib = Some(2_048));
    program.restart().await;
    let api = program.api();
    let filling = json!({ "text": "x".repeat(100_000) });
    let mut accepted = Vec::new();
    let refused = loop {
        let event = json!({ "tenant": "acme", "type": "a.b", "subject": "s", "data": filling });
        let answer = api.post("/v1/events", event).await;
        if answer.status != 202 {
            break answer;
        }
        accepted.push(answer.text("/id"));
        assert!(accepted.len() < 1_000, "the disk should be full by now");
    };
    refused.problem(503, "unavailable");
    assert!(refused.header("retry-after").is_some());
    assert!(!accepted.is_empty());
    // There is room again.
    program.change(|start| start.file_limit_kib = None);
    program.crash_and_restart().await;
    let api = program.api();
    for event in &accepted {
        api.delivery_with_status(event, "delivered").await;
    }
    let listed = api.get("/v1/events?limit=250").await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), accepted.len());
}

#[tokio::test]
async fn a_locked_database_is_503_and_publishing_goes_on_when_it_is_free() {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let mut shell = Command::new("sqlite3")
        .arg(program.folder().join("posthorn-data/posthorn.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sqlite3 is installed; scripts/test does that");
    let mut input = shell.stdin.take().unwrap();
    let mut output = BufReader::new(shell.stdout.take().unwrap()).lines();
    input.write_all(b"BEGIN IMMEDIATE; SELECT 'locked';\n").await.unwrap();
    assert_eq!(output.next_line().await.unwrap().as_deref(), Some("locked"));
    let event = json!({ "tenant": "acme", "type": "a.b", "subject": "s", "data": {} });
    let refused = api.post("/v1/events", event.clone()).await;
    refused.problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), Some("1"));
    input.write_all(b"ROLLBACK;\n").await.unwrap();
    drop(input);
    shell.wait().await.unwrap();
    let accepted = until("publishing goes on", || async {
        Some(api.post("/v1/events", event.clone()).await).filter(|answer| answer.status == 202)
    })
    .await;
    assert_eq!(accepted.json()["sequence"], 1, "nothing of the refused one was kept");
}

#[tokio::test]
async fn a_second_server_on_the_same_store_is_refused() {
    let program = start().await;
    let second = program.run(&["serve"]).await;
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains("another Posthorn server is using"), "{message}");
}

#[tokio::test]
async fn a_wrong_or_lost_master_key_is_refused() {
    let mut program = start().await;
    assert_eq!(program.stop().await, Some(0));
    let key = program.folder().join("posthorn-data/master.key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&key).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let kept = std::fs::read(&key).unwrap();
    std::fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
    let wrong = program.run(&["serve"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("master key is not the one"));
    std::fs::remove_file(&key).unwrap();
    let lost = program.run(&["serve"]).await;
    assert_eq!(lost.status.code(), Some(1));
    assert!(!key.exists(), "no new key is made beside an old database");
    std::fs::write(&key, kept).unwrap();
    program.restart().await;
    program.api().get("/v1/tenants").await.expect(200);
}

#[tokio::test]
async fn a_second_server_on_the_same_file_by_another_name_is_refused() {
    let program = start().await;
    let data = program.folder().join("posthorn-data");
    for (name, link) in [("symbolic.db", true), ("hard.db", false)] {
        let other = data.join(name);
        match link {
            true => std::os::unix::fs::symlink(data.join("posthorn.db"), &other).unwrap(),
            false => std::fs::hard_link(data.join("posthorn.db"), &other).unwrap(),
        }
        let url = format!("sqlite://{}", other.display());
        let second = program.run(&["serve", "--database-url", &url]).await;
        assert_eq!(second.status.code(), Some(1));
        let message = String::from_utf8(second.stderr).unwrap();
        assert!(message.contains("another Posthorn server is using"), "{message}");
    }
    // Whatever lies beside it says nothing.
    for entry in std::fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "lock") {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(program.run(&["serve"]).await.status.code(), Some(1));
    // Keys are made beside it.
    program.run(&["keys", "create", "--project", "shop", "--scopes", "*"]).await;
    program.api().create_tenant("acme").await;
}

#[tokio::test]
async fn nothing_is_acknowledged_once_the_files_are_gone_or_others() {
    use std::os::unix::fs::PermissionsExt as _;
    for (file, replaced) in
        [("posthorn.db", false), ("posthorn.db", true), ("posthorn.db-wal", false), ("posthorn.db-wal", true)]
    {
        let program = start().await;
        let api = program.api();
        api.create_tenant("acme").await;
        api.publish("acme", "a.b", "before").await;
        let path = program.folder().join("posthorn-data").join(file);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
        let copy = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        if replaced {
            std::fs::write(&path, copy).unwrap();
        }
        let event = json!({ "tenant": "acme", "type": "a.b", "subject": "after", "data": {} });
        let refused = api.post("/v1/events", event).await;
        refused.problem(503, "unavailable");
        assert!(refused.text("/detail").contains("was removed or replaced"), "{}", refused.json());
        let ready = program.admin().get("/readyz").await;
        ready.problem(503, "unavailable");
        program.admin().get("/healthz").await.expect(200);
    }
}
