//! What a newcomer does and sees: every refusal says what to do next.

use std::process::{Output, Stdio};

use crate::common::{settings, start};
use serde_json::json;
use tempfile::TempDir;
use testkit::Program;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

fn posthorn(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthorn"));
    command.current_dir(folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What a command that failed said.
#[track_caller]
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn keys_are_not_made_in_a_store_that_nobody_serves() {
    let folder = TempDir::new().unwrap();
    let arguments = ["keys", "create", "--project", "shop", "--scopes", "*"];
    let said = refusal(&posthorn(&folder).args(arguments).output().await.unwrap());
    assert!(said.contains("start `posthorn serve`") && said.contains("--database-url"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}

#[tokio::test]
async fn an_address_that_is_taken_is_refused_with_what_to_do() {
    let program = start().await;
    let taken = program.api().url().trim_start_matches("http://").to_owned();
    let folder = TempDir::new().unwrap();
    let said = refusal(&posthorn(&folder).args(["serve", "--listen", &taken]).output().await.unwrap());
    let what_to_do = ["already", "--listen", "POSTHORN_LISTEN", "127.0.0.1:0"];
    assert!(what_to_do.iter().all(|word| said.contains(word)), "{said}");
}

#[tokio::test]
async fn what_goes_into_a_file_has_no_colour_codes() {
    let folder = TempDir::new().unwrap();
    let mut serve = posthorn(&folder);
    serve
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("POSTHORN_LOG", "info");
    let mut server = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    said.next_line().await.unwrap().unwrap();
    testkit::signal(&server, "TERM").await;
    let output = server.wait_with_output().await.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("shutting down") && !log.contains('\u{1b}'), "{log}");
}

#[tokio::test]
async fn options_of_servers_stand_where_they_are_used() {
    let folder = TempDir::new().unwrap();
    for (command, has_store, listens) in [
        ("serve", true, true),
        ("quickstart", true, true),
        ("migrate", true, false),
        ("keys", true, false),
        ("publish", false, false),
        ("verify", false, false),
        ("catalogue", false, false),
    ] {
        let help = posthorn(&folder).args([command, "--help"]).output().await.unwrap().stdout;
        let help = String::from_utf8(help).unwrap();
        assert_eq!(help.contains("--database-url"), has_store, "{help}");
        assert_eq!(help.contains("--admin-listen"), listens, "{help}");
    }
    let help = posthorn(&folder).arg("--help").output().await.unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    assert!(help.starts_with("Posthorn delivers webhooks") && help.contains("First steps"), "{help}");
}

#[tokio::test]
async fn a_local_address_is_refused_with_the_settings_that_allow_it() {
    let strict = settings().with("POSTHORN_ALLOW_TARGETS", "").with("POSTHORN_ALLOW_HTTP", "");
    let program = Program::start(strict).await;
    let api = program.api();
    api.create_tenant("acme").await;
    for (url, setting) in [
        ("http://127.0.0.1:9000/", "POSTHORN_ALLOW_HTTP=true"),
        ("https://127.0.0.1:9000/", "POSTHORN_ALLOW_TARGETS"),
        ("https://localhost/", "POSTHORN_ALLOW_TARGETS"),
        ("https://10.1.2.3/", "POSTHORN_ALLOW_TARGETS"),
    ] {
        let refused = api.post("/v1/tenants/acme/endpoints", json!({ "url": url })).await;
        assert_eq!(refused.problem(422, "invalid_request"), ["/url"]);
        assert!(refused.text("/detail").contains(setting), "{url}: {}", refused.json());
    }
}

/// A receiver of the command line.
struct Receiving {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
    told: Lines<BufReader<ChildStderr>>,
}

impl Receiving {
    async fn start(program: &Program, arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut receive = posthorn(&folder);
        receive.args(["receive", "--listen", "127.0.0.1:0"]).args(arguments);
        receive.env("POSTHORN_URL", program.api().url()).env("POSTHORN_API_KEY", program.api().key());
        let mut process = receive.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let told = BufReader::new(process.stderr.take().unwrap()).lines();
        Self { process, said, told }
    }

    async fn next(&mut self) -> String {
        self.said.next_line().await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn what_is_published_is_seen_arriving_with_a_single_address_allowed() {
    let program = Program::start(settings().with("POSTHORN_ALLOW_TARGETS", "127.0.0.1")).await;
    let mut receiving = Receiving::start(&program, &["--tenant", "acme", "--answer", "503,204"]).await;
    let ready = receiving.told.next_line().await.unwrap().unwrap();
    assert!(ready.starts_with("Receiving for acme at http://127.0.0.1:"), "{ready}");
    let event = program.api().publish("acme", "order.paid", "ord_1").await;
    for (attempt, answer) in [(1, 503), (2, 204)] {
        let line = receiving.next().await;
        let expected =
            format!("order.paid ord_1 {event}  attempt {attempt}, signature good, answered {answer}");
        assert_eq!(line, expected);
        assert!(receiving.next().await.contains(r#""subject":"ord_1""#));
    }
    // It leaves nothing behind, also when its terminal is closed.
    testkit::signal(&receiving.process, "HUP").await;
    assert!(receiving.process.wait().await.unwrap().success());
    let left = program.api().get("/v1/tenants/acme/endpoints").await.expect(200);
    assert_eq!(left["data"], json!([]));
}

#[tokio::test]
async fn what_is_not_signed_with_its_secret_is_shown_and_refused() {
    let program = start().await;
    let mut receiving =
        Receiving::start(&program, &["--json", "--secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]).await;
    let ready = receiving.told.next_line().await.unwrap().unwrap();
    let url = ready.split_whitespace().find(|word| word.starts_with("http")).unwrap().trim_end_matches(',');
    program.api().create_tenant("acme").await;
    program.api().create_endpoint("acme", json!({ "url": url })).await;
    program.api().publish("acme", "order.paid", "ord_1").await;
    let line: serde_json::Value = serde_json::from_str(&receiving.next().await).unwrap();
    assert_eq!((&line["verified"], &line["answered"]), (&json!(false), &json!(401)), "{line}");
}

#[tokio::test]
async fn examples_end_with_a_sentence_when_something_is_missing() {
    let python = std::env::var("POSTHORN_TEST_PYTHON").expect("scripts/test sets POSTHORN_TEST_PYTHON");
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    for (arguments, environment, word) in [
        (vec!["publisher.py"], ("X", ""), "usage:"),
        (vec!["publisher.py", "acme", "ord_1"], ("X", ""), "POSTHORN_API_KEY"),
        (vec!["receiver.py"], ("X", ""), "POSTHORN_SIGNING_SECRET"),
        (vec!["receiver.py"], ("POSTHORN_SIGNING_SECRET", "whsec_%"), "POSTHORN_SIGNING_SECRET"),
    ] {
        let mut example = Command::new(&python);
        example.args(&arguments).current_dir(examples).env_clear().env(environment.0, environment.1);
        let said = refusal(&example.output().await.unwrap());
        assert!(said.contains(word) && said.trim().lines().count() == 1, "{arguments:?}: {said}");
    }
}
