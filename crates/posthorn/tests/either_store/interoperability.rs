//! The official Standard Webhooks libraries verify real deliveries: the Rust
//! one here, the Python one in the receiver of `examples/`.

use std::process::Stdio;

use crate::common::start;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use testkit::{Api, Behaviour, Received, Receiver};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

/// Numbers that a JSON library would change, spaces, and letters of all kinds.
const DATA: &str = r#"{ "price": 1.10, "big": 12345678901234567890123, "safe": 9007199254740993, "e": 1E-30, "text": "žluťoučký 🐎 \u0041\/" }"#;

async fn publish(api: &Api) {
    let body = format!(r#"{{"tenant":"acme","type":"order.paid","subject":"ord_1","data":{DATA}}}"#);
    api.post_bytes("/v1/events", body).await.expect(202);
}

fn headers_of(request: &Received) -> HeaderMap {
    let pairs = request.headers.iter();
    pairs
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .collect()
}

#[tokio::test]
async fn the_rust_library_verifies_what_arrives() {
    let program = start().await;
    let (api, receiver) = (program.api(), Receiver::always(Behaviour::Answer(204)).await);
    api.create_tenant("acme").await;
    let (_, secret) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    publish(&api).await;
    let request = receiver.wait_for(1).await.remove(0);
    let webhook = standardwebhooks::Webhook::new(&secret).unwrap();
    webhook.verify(&request.body, &headers_of(&request)).unwrap();
    let body = String::from_utf8(request.body.clone()).unwrap();
    assert!(body.ends_with(&format!(r#","data":{DATA}}}"#)), "{body}");
    let mut changed = request.body.clone();
    changed[0] = b' ';
    assert!(webhook.verify(&changed, &headers_of(&request)).is_err());
}

#[tokio::test]
async fn the_python_library_verifies_what_arrives() {
    let python = std::env::var("POSTHORN_TEST_PYTHON").expect(
        "POSTHORN_TEST_PYTHON names a Python with the package standardwebhooks; scripts/test sets it",
    );
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/receiver.py");
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let mut receiver = Command::new(python)
        .args([example, "--port", "0"])
        .env("POSTHORN_SIGNING_SECRET", secret)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(receiver.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    let url = first.split_whitespace().last().unwrap().to_owned();
    api.create_endpoint("acme", json!({ "url": url, "secret": secret, "payload": "data" })).await;
    publish(&api).await;
    let line = tokio::time::timeout(testkit::PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert_eq!(line, format!("verified {DATA}"));
}

#[tokio::test]
async fn the_command_line_verifies_a_saved_request() {
    let program = start().await;
    let (api, receiver) = (program.api(), Receiver::always(Behaviour::Answer(204)).await);
    api.create_tenant("acme").await;
    let (_, secret) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    publish(&api).await;
    let request = receiver.wait_for(1).await.remove(0);
    let file = program.folder().join("body.json");
    let check = async |body: &[u8]| {
        let mut saved = tokio::fs::File::create(&file).await.unwrap();
        saved.write_all(body).await.unwrap();
        saved.flush().await.unwrap();
        let arguments = [
            "verify",
            "--secret",
            &secret,
            "--id",
            request.header("webhook-id"),
            "--timestamp",
            request.header("webhook-timestamp"),
            "--signature",
            request.header("webhook-signature"),
            "--body",
            file.to_str().unwrap(),
        ];
        program.run(&arguments).await.status.code()
    };
    assert_eq!(check(&request.body).await, Some(0));
    assert_eq!(check(b"{}").await, Some(1));
    assert_eq!(program.run(&["verify"]).await.status.code(), Some(2));
}
