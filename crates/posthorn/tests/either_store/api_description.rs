//! The description of the API is true, and one that others can use: their
//! validators take it, the clients that their generators make of it work, and
//! no request that they make up gets an answer that it does not describe.
//!
//! `scripts/test` installs the generators: Python packages in `.venv`, and what
//! `clients/package.json` names.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::common::{settings, start};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Behaviour, NameServer, Program, Receiver};
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

/// Runs a client of this server, which does all that it should: three events
/// arrive, and one of them again.
async fn use_client(client: &mut Command, program: &Program, receiver: &Receiver) {
    let said =
        run(client.env("POSTHORN_URL", program.api().url()).env("POSTHORN_API_KEY", program.api().key()));
    assert_eq!(said.await.trim(), DONE);
    assert_eq!(receiver.wait_for(4).await.len(), 4);
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
    let mut client = Command::new(of_python("python"));
    client.arg(clients().join("python_client.py")).env("PYTHONPATH", folder.path().join("client"));
    use_client(&mut client, &program, &receiver).await;
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
    let mut client = Command::new("node");
    client.arg("typescript_client.js").current_dir(at);
    use_client(&mut client, &program, &receiver).await;
}

#[tokio::test]
async fn no_request_that_a_fuzzer_makes_up_gets_an_answer_that_is_not_described() {
    // Whatever URLs it registers, nobody is called but this machine.
    let names = NameServer::start(|_| Vec::new()).await;
    let program = Program::start(settings().with("POSTHORN_NAME_SERVERS", names.address().to_string())).await;
    let api = program.api();
    api.create_tenant("acme").await;
    const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
        response_headers_conformance,response_schema_conformance";
    let folder = TempDir::new().unwrap();
    let mut fuzz = Command::new(of_python("schemathesis"));
    fuzz.args(["run", &format!("{}/openapi.json", api.url()), "--checks", CHECKS])
        .args(["--header", &format!("Authorization: Bearer {}", api.key())])
        .args(["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "15", "--seed", "7"])
        // One: with two, Python 3.11 mixes up the parsers of both now and then
        // ("AST constructor recursion depth mismatch").
        .args(["--workers", "1", "--suppress-health-check", "all", "--warnings", "off", "--no-color"])
        .current_dir(folder.path());
    let said = run(&mut fuzz).await;
    assert!(said.contains("No issues found"), "{said}");
}

#[tokio::test]
async fn each_operation_needs_the_scopes_that_it_names_and_no_others() {
    let program = start().await;
    let api = program.api();
    let document: Value = serde_json::from_str(&std::fs::read_to_string(DOCUMENT).unwrap()).unwrap();
    let known = document["components"]["schemas"]["Scope"]["enum"].as_array().unwrap();
    let known: Vec<&str> = known.iter().filter_map(Value::as_str).filter(|scope| *scope != "*").collect();
    let key = async |scopes: &[&str]| {
        let made = api.post("/v1/api-keys", json!({ "name": "some", "scopes": scopes })).await;
        program.api_with(&made.text("/secret"))
    };
    // A scope, and those that contain it.
    let with_outer = |scope: &str| match scope {
        "keys:read" => vec!["keys:read", "keys:write"],
        "contacts:write" => vec!["contacts:write", "tenants:write"],
        "endpoints:operate" => vec!["endpoints:operate", "endpoints:write"],
        other => vec![*known.iter().find(|one| **one == other).unwrap()],
    };
    let mut without = Vec::new();
    for scope in &known {
        let lacking = with_outer(scope);
        let others: Vec<&str> = known.iter().filter(|other| !lacking.contains(other)).copied().collect();
        without.push((lacking, key(&others).await));
    }
    let mut untrue = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            let needed: Vec<&str> =
                operation["x-scopes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            // No thing has such a name, so that nothing is changed.
            let at = path.replace('{', "no_such_").replace('}', "");
            let body = "not JSON";
            let ask = async |api: &testkit::Api| {
                let request =
                    api.request(&method.to_uppercase(), &at).header("content-type", "application/json");
                api.send(if method == "get" { request } else { request.body(body) }).await
            };
            for (lacking, caller) in &without {
                let answer = ask(caller).await;
                let refused = answer.status == 403;
                if refused != needed.iter().any(|one| lacking.contains(one)) {
                    untrue.push(format!("{name} without {lacking:?}: {}", answer.status));
                }
                let names_it = || lacking.iter().any(|one| answer.text("/detail").contains(one));
                assert!(!refused || names_it(), "{name}: {}", answer.json());
            }
        }
    }
    assert!(untrue.is_empty(), "{untrue:#?}");
}
