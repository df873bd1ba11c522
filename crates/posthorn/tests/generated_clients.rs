//! The description of the API is one that others can use: their validators
//! take it, and the clients that their generators make of it work.
//!
//! `scripts/test` installs the generators: Python packages in `.venv`, and what
//! `clients/package.json` names.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::start;
use serde_json::json;
use tempfile::TempDir;
use testkit::{Behaviour, Program, Receiver};
use tokio::process::Command;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
/// What a client prints when it has done all that it should.
const DONE: &str = "published, listed, paged, replayed and read a problem";

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A program of the Python environment of the tests.
fn of_python(name: &str) -> PathBuf {
    let python = std::env::var("POSTHORN_TEST_PYTHON").expect("scripts/test sets POSTHORN_TEST_PYTHON");
    Path::new(&python).with_file_name(name)
}

/// A program that npm installed.
fn of_node(name: &str) -> PathBuf {
    let program = clients().join("node_modules/.bin").join(name);
    assert!(program.exists(), "scripts/test installs what clients/package.json names");
    program
}

/// Runs a program to its end, and gives what it said.
async fn run(command: &mut Command) -> String {
    let ended = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{command:?}: {said}");
    said
}

/// A server with a tenant whose only receiver is well.
async fn server() -> (Program, Receiver) {
    let (program, receiver) = (start().await, Receiver::always(Behaviour::Answer(204)).await);
    program.api().create_tenant("acme").await;
    program.api().create_endpoint("acme", json!({ "url": receiver.url() })).await;
    (program, receiver)
}

#[tokio::test]
async fn validators_have_no_complaint() {
    run(Command::new(of_python("openapi-spec-validator")).arg(DOCUMENT)).await;
    let rules = clients().join(".spectral.yaml");
    run(Command::new(of_node("spectral"))
        .arg("lint")
        .arg(DOCUMENT)
        .arg("-r")
        .arg(rules)
        .args(["-F", "hint"]))
    .await;
}

#[tokio::test]
async fn a_generated_python_client_works() {
    let (folder, (program, receiver)) = (TempDir::new().unwrap(), server().await);
    let config = folder.path().join("config.yaml");
    // No formatter runs over what nobody reads.
    std::fs::write(&config, "post_hooks: []\n").unwrap();
    let mut generate = Command::new(of_python("openapi-python-client"));
    generate.args(["generate", "--fail-on-warning", "--path", DOCUMENT, "--config"]).arg(config);
    run(generate.arg("--output-path").arg(folder.path().join("client"))).await;
    let said = run(Command::new(of_python("python"))
        .arg(clients().join("python_client.py"))
        .env("PYTHONPATH", folder.path().join("client"))
        .env("POSTHORN_URL", program.api().url())
        .env("POSTHORN_API_KEY", program.api().key()))
    .await;
    assert_eq!(said.trim(), DONE);
    assert_eq!(receiver.wait_for(4).await.len(), 4);
}

#[tokio::test]
async fn a_generated_typescript_client_works() {
    let (folder, (program, receiver)) = (TempDir::new().unwrap(), server().await);
    let (source, at) = (clients().join("typescript_client.ts"), folder.path());
    std::fs::copy(source, at.join("typescript_client.ts")).unwrap();
    std::os::unix::fs::symlink(clients().join("node_modules"), at.join("node_modules")).unwrap();
    run(Command::new(of_node("openapi-ts")).args(["-i", DOCUMENT, "-o", "client"]).current_dir(at)).await;
    let compile = ["--strict", "--target", "es2022", "--module", "commonjs", "--moduleResolution", "node10"];
    run(Command::new(of_node("tsc"))
        .args(compile)
        .args(["--types", "node", "--skipLibCheck", "typescript_client.ts"])
        .current_dir(at))
    .await;
    let said = run(Command::new("node")
        .arg("typescript_client.js")
        .current_dir(at)
        .env("POSTHORN_URL", program.api().url())
        .env("POSTHORN_API_KEY", program.api().key()))
    .await;
    assert_eq!(said.trim(), DONE);
    assert_eq!(receiver.wait_for(4).await.len(), 4);
}
