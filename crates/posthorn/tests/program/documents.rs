//! What the README, the guides and the examples say works: their commands and
//! snippets are run as they stand, but for the names that only a reader knows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::common::{settings, start};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Behaviour, NameServer, Program, Receiver, until};
use tokio::process::{Child, Command};

/// The commands that are run elsewhere, by their first words, and where.
const ELSEWHERE: [(&str, &str); 2] = [
    (
        "cargo run --release -- quickstart",
        "tests/quickstart.rs, and continuous integration runs scripts/test",
    ),
    ("cargo build --release", "whoever builds"),
];

/// A piece of a document that is code.
struct Block {
    language: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The blocks of a document in one language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(language), false) => {
                found.push(Block { language: language.to_owned(), text: String::new() });
                inside = true;
            }
            (Some(_), true) => inside = false,
            (None, true) => found.last_mut().unwrap().text.push_str(&format!("{line}\n")),
            (None, false) => {}
        }
    }
    found.into_iter().filter(|block| block.language == language).map(|block| block.text).collect()
}

/// Where commands are run: a folder, the program on the path, and what the
/// reader knows in place of what stands there.
struct Desk {
    folder: TempDir,
    known: Vec<(String, String)>,
    environment: BTreeMap<&'static str, String>,
}

impl Desk {
    fn new() -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_posthorn")).parent().unwrap().display();
        let path = format!("{program}:{}", std::env::var("PATH").unwrap());
        let environment = BTreeMap::from([("PATH", path)]);
        Self { folder: TempDir::new().unwrap(), known: Vec::new(), environment }
    }

    fn knows(&mut self, text: &str, value: impl Into<String>) {
        self.known.push((text.to_owned(), value.into()));
    }

    /// A block as a reader would type it.
    fn typed(&self, block: &str) -> String {
        let known = self.known.iter();
        let typed = known.fold(block.to_owned(), |text, (name, value)| text.replace(name, value));
        assert!(!typed.contains('…'), "something is left to be filled in: {typed}");
        typed
    }

    /// A shell in which a failed request is a failure.
    fn shell(&self, block: &str) -> Command {
        let mut shell = Command::new("bash");
        let careful = "curl() { command curl --fail-with-body \"$@\"; }\n";
        shell.arg("-euo").arg("pipefail").arg("-c").arg(format!("{careful}{}", self.typed(block)));
        shell.current_dir(self.folder.path()).envs(&self.environment).stdin(Stdio::null()).kill_on_drop(true);
        shell
    }

    /// Runs a block to its end, and gives what it printed.
    async fn run(&self, block: &str) -> String {
        let ended = self.shell(block).output().await.unwrap();
        let printed = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{block}{printed}{}", String::from_utf8_lossy(&ended.stderr));
        printed
    }
}

/// Kills everything that a shell has started, when the test is over.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.id() {
            // It leads its own group of processes.
            let _ = std::process::Command::new("kill").args(["-TERM", "--", &format!("-{id}")]).status();
        }
    }
}

#[tokio::test]
async fn the_first_steps_of_the_readme_lead_to_a_delivery_that_is_seen() {
    let mut desk = Desk::new();
    let all = blocks("README.md", "sh");
    let mut own = all.iter().filter(|block| !ELSEWHERE.iter().any(|(first, _)| block.starts_with(first)));
    let mut next = || own.next().unwrap().as_str();
    let (serve, receive, publish, over_http) = (next(), next(), next(), next());
    assert!(own.next().is_none(), "a new block: have it run here");
    assert_eq!(serve.lines().count() + receive.lines().count() + publish.lines().count(), 5, "few commands");

    // Ports of its own, beside whatever else runs on this machine.
    let output = desk.folder.path().join("output");
    let into = |name: &str| Stdio::from(std::fs::File::create(output.with_extension(name)).unwrap());
    let said = |name: &str| std::fs::read_to_string(output.with_extension(name)).unwrap_or_default();
    desk.environment.insert("POSTHORN_LISTEN", "127.0.0.1:0".to_owned());
    desk.environment.insert("POSTHORN_ADMIN_LISTEN", "127.0.0.1:0".to_owned());
    // The customer of the example is not called.
    let names = NameServer::start(|_| Vec::new()).await;
    desk.environment.insert("POSTHORN_NAME_SERVERS", names.address().to_string());
    let server = desk.shell(serve).process_group(0).stdout(into("server")).spawn().unwrap();
    let _server = Group(server);
    let url = until("the server listens", || async {
        let said = said("server");
        Some(said.split_whitespace().find(|word| word.starts_with("http"))?.to_owned())
    })
    .await;
    desk.knows("http://127.0.0.1:8400", &url);
    desk.environment.insert("POSTHORN_URL", url);
    // The receiver goes on in the background, as in a terminal.
    desk.knows(
        "--tenant acme &",
        "--tenant acme --listen 127.0.0.1:0 &\necho \"$POSTHORN_API_KEY\" >key\nwait",
    );
    let receiver =
        desk.shell(receive).process_group(0).stdout(into("seen")).stderr(into("told")).spawn().unwrap();
    let _receiver = Group(receiver);
    until("it is receiving", || async { said("told").contains("Receiving for acme").then_some(()) }).await;
    let key = std::fs::read_to_string(desk.folder.path().join("key")).unwrap().trim().to_owned();
    desk.environment.insert("POSTHORN_API_KEY", key);
    desk.run(publish).await;
    let seen =
        until("it arrives", || async { Some(said("seen")).filter(|seen| seen.lines().count() > 1) }).await;
    assert!(
        seen.starts_with("order.paid ord_1 evt_") && seen.contains("signature good, answered 204"),
        "{seen}"
    );
    assert!(seen.contains(r#""data":{"total":1.10}"#), "{seen}");
    let printed = desk.run(over_http).await;
    assert!(printed.contains("whsec_") && printed.contains(r#""status":"accepted""#), "{printed}");
    assert!(printed.contains(r#""http_status":204"#), "{printed}");
}

/// A server with what the guides speak of: a tenant with an endpoint and an
/// event, a key of one's own, a signed request that was saved.
async fn as_in_the_guides() -> (Program, Receiver, Desk) {
    let (program, receiver) = (start().await, Receiver::always(Behaviour::Answer(204)).await);
    let (api, mut desk) = (program.api(), Desk::new());
    api.create_tenant("acme").await;
    let (endpoint, secret) = api.create_endpoint("acme", json!({ "url": receiver.url() })).await;
    let event = api.publish("acme", "order.paid", "ord_1").await;
    let request = receiver.wait_for(1).await.remove(0);
    std::fs::write(desk.folder.path().join("saved-body.json"), &request.body).unwrap();
    let other = api.post("/v1/api-keys", json!({ "name": "other", "scopes": ["events:read"] })).await;
    for (name, value) in [
        ("http://127.0.0.1:8400", api.url()),
        ("https://hooks.example.com", api.url()),
        ("phk_…", api.key()),
        ("evt_01m7…", &event),
        ("evt_…", &event),
        ("ep_…", &endpoint),
        ("key_…", &other.text("/id")),
        ("whsec_…", &secret),
        ("1795262400", request.header("webhook-timestamp")),
        ("v1,…", request.header("webhook-signature")),
    ] {
        desk.knows(name, value);
    }
    let function = blocks("README.md", "sh")
        .into_iter()
        .find_map(|block| block.lines().find(|line| line.starts_with("api() {")).map(str::to_owned));
    desk.knows("api /", format!("{}\napi /", function.unwrap().replace("http://127.0.0.1:8400", api.url())));
    desk.environment.insert("POSTHORN_URL", api.url().to_owned());
    desk.environment.insert("POSTHORN_API_KEY", api.key().to_owned());
    for (name, value) in program.settings() {
        desk.environment.insert(name, value.clone());
    }
    let schema = desk.folder.path().join("events/invoice.paid");
    std::fs::create_dir_all(&schema).unwrap();
    std::fs::write(schema.join("1.json"), r#"{"type":"object"}"#).unwrap();
    (program, receiver, desk)
}

#[tokio::test]
async fn the_commands_of_the_guides_work() {
    let (program, _receiver, mut desk) = as_in_the_guides().await;
    // Keys are made in the folder of the server's data.
    for command in ["posthorn keys", "posthorn audit"] {
        desk.knows(command, format!("cd {} && {command}", program.folder().display()));
    }
    let mut count = 0;
    for guide in ["catalogue", "endpoints", "log", "operating", "portal", "publishing", "receiving"] {
        // In one terminal, one after the other: a later one uses what an earlier one found.
        let all = blocks(&format!("docs/guides/{guide}.md"), "sh");
        let printed = desk.run(&all.concat()).await;
        assert!(!printed.contains("urn:posthorn:problem"), "{guide}: {printed}");
        count += all.len();
    }
    assert_eq!(count, 18, "blocks of commands");
}

#[tokio::test]
async fn the_commands_of_the_examples_work() {
    let (program, receiver, mut desk) = as_in_the_guides().await;
    desk.knows("python3 examples/", format!("cd {} && python3 examples/", root().display()));
    let all = blocks("examples/README.md", "sh");
    assert_eq!(all.len(), 1);
    let printed = desk.run(&all[0]).await;
    assert!(printed.starts_with("accepted evt_"), "{printed}");
    assert_eq!(receiver.wait_for(2).await.len(), 2);
    drop(program);
}

#[tokio::test]
async fn the_json_of_the_guides_is_json_and_what_is_to_be_sent_is_taken() {
    let (program, _receiver, desk) = as_in_the_guides().await;
    let api = program.api();
    let (mut sent, mut others) = (Vec::new(), Vec::new());
    for guide in ["catalogue", "endpoints", "publishing", "receiving"] {
        for block in blocks(&format!("docs/guides/{guide}.md"), "json") {
            let text = desk.known.iter().fold(block.clone(), |text, (name, value)| text.replace(name, value));
            // An ellipsis stands for whatever may be there.
            let text = text.replace(", …", "").replace("\"…\"", "\"something\"").replace('…', "");
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            let (path, body) = if value.get("mode").is_some() {
                ("/v1/replays", value)
            } else if value.get("url").is_some() && value.get("type").is_none() {
                // Its certificates are somebody's own.
                let mut endpoint = value;
                endpoint.as_object_mut().unwrap().remove("client_certificate");
                ("/v1/tenants/acme/endpoints", endpoint)
            } else if value.get("events").is_some() {
                ("/v1/events/batch", value)
            } else {
                others.push(block.lines().next().unwrap().to_owned());
                continue;
            };
            let answer = api.post(path, body).await;
            assert!(answer.status < 300, "{path}: {}", answer.json());
            sent.push(path);
        }
    }
    assert_eq!(sent, ["/v1/tenants/acme/endpoints", "/v1/replays", "/v1/events/batch"]);
    // A downgrade of data that only the guide speaks of, and what Posthorn itself sends and answers.
    assert_eq!(others.len(), 7, "{others:#?}");
}

#[tokio::test]
async fn the_receiver_of_the_guide_takes_an_event_once() {
    let python = std::env::var("POSTHORN_TEST_PYTHON").expect("scripts/test sets POSTHORN_TEST_PYTHON");
    let program = Program::start(settings()).await;
    let api = program.api();
    let folder = TempDir::new().unwrap();
    let mut all = blocks("docs/guides/receiving.md", "python");
    assert_eq!(all.len(), 1);
    // On a port that is free, which it says.
    let server = "ThreadingHTTPServer((\"127.0.0.1\", 8080), Receiver).serve_forever()";
    let code = all.remove(0);
    assert!(code.contains(server));
    let on_any = "server = ThreadingHTTPServer((\"127.0.0.1\", 0), Receiver)\n\
        print(server.server_port, flush=True)\nserver.serve_forever()";
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let output = folder.path().join("output");
    let mut receiver = Command::new(python);
    receiver.arg("-u").arg("-c").arg(code.replace(server, on_any)).env("POSTHORN_SIGNING_SECRET", secret);
    receiver.current_dir(folder.path()).stdout(std::fs::File::create(&output).unwrap()).stderr(Stdio::null());
    let _receiver = receiver.kill_on_drop(true).spawn().unwrap();
    let said = || std::fs::read_to_string(&output).unwrap_or_default();
    let port = until("it listens", || async { said().lines().next().map(str::to_owned) }).await;
    api.create_tenant("acme").await;
    let url = format!("http://127.0.0.1:{port}/");
    api.create_endpoint("acme", json!({ "url": url, "secret": secret })).await;
    let event = api.publish("acme", "order.paid", "ord_1").await;
    until("it was taken", || async { said().contains("new: order.paid ord_1").then_some(()) }).await;
    // A second delivery of the same event is taken and does nothing.
    let deliveries = api.get(&format!("/v1/events/{event}/deliveries")).await;
    let delivery = deliveries.text("/data/0/id");
    until("it was delivered", || async {
        let delivery = api.get(&format!("/v1/deliveries/{delivery}")).await.expect(200);
        (delivery["status"] == "delivered").then_some(())
    })
    .await;
    api.post(&format!("/v1/deliveries/{delivery}/replay"), json!({ "force": true })).await.expect(202);
    until("it was delivered again", || async {
        let delivery = api.get(&format!("/v1/deliveries/{delivery}")).await.expect(200);
        (delivery["attempts"] == 2 && delivery["status"] == "delivered").then_some(())
    })
    .await;
    assert_eq!(said().matches("new:").count(), 1, "{}", said());
}

/// All files below a folder, by their names from the root of the repository.
fn files_below(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_ours = !path.ends_with("node_modules") && !path.ends_with("target");
        if path.is_dir() && is_ours {
            files_below(&path, found);
        } else {
            found.push(path.strip_prefix(root()).unwrap().display().to_string());
        }
    }
}

#[test]
fn each_file_that_the_documents_name_is_there() {
    let mut files = Vec::new();
    for folder in ["crates", "docs", "migrations", "scripts", "deploy", "examples"] {
        files_below(&root().join(folder), &mut files);
    }
    let mut missing = Vec::new();
    for document in ["ARCHITECTURE.md", "bounds.md", "security.md", "reliability.md", "scaling.md"] {
        let text = std::fs::read_to_string(root().join("docs").join(document)).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let is_here = |link: &str| !link.is_empty() && !link.contains("://");
        for link in links.filter(|link| is_here(link)) {
            if !root().join("docs").join(link).exists() {
                missing.push(format!("{document}: {link}"));
            }
        }
        // Places are named from the crate, or from a file named just before.
        let spans = text.split('`').skip(1).step_by(2);
        for name in spans.filter(|span| span.ends_with(".rs") && !span.contains(['{', '…', ' '])) {
            let (below, alone) = (format!("/{name}"), name.to_owned());
            if !files.iter().any(|file| file.ends_with(&below) || *file == alone) {
                missing.push(format!("{document}: {name}"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}
