//! The keys that secrets are sealed with.

use std::path::PathBuf;

use serde_json::json;
use testkit::Program;

use crate::common::{settings, start};

const NEW_KEY: &str = "cG9zdGhvcm4tbmV3LW1hc3Rlci1rZXktZm9yLXRlc3Q=";

fn is_embedded(program: &Program) -> bool {
    !program.settings().iter().any(|(name, _)| *name == "POSTHORN_DATABASE_URL")
}

fn key_file(program: &Program) -> PathBuf {
    program.folder().join("posthorn-data/master.key")
}

/// A server with an endpoint, and where the secret of that is.
async fn with_a_secret() -> (Program, String) {
    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let (endpoint, _) = api.create_endpoint("acme", json!({ "url": "http://127.0.0.1:9/" })).await;
    (program, format!("/v1/tenants/acme/endpoints/{endpoint}/secret"))
}

async fn rotate(program: &mut Program) -> String {
    if !is_embedded(program) {
        program.change(|start| *start = start.clone().with("POSTHORN_NEW_MASTER_KEY", NEW_KEY));
    }
    let output = program.run(&["secrets", "rotate-master"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if !is_embedded(program) {
        program.change(|start| *start = start.clone().with("POSTHORN_MASTER_KEY", NEW_KEY));
    }
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_master_key_is_changed_beside_a_running_server_and_secrets_stay_what_they_were() {
    let (mut program, at) = with_a_secret().await;
    let before = program.api().get(&at).await.expect(200);
    let told = rotate(&mut program).await;
    assert!(told.starts_with("1 data keys are wrapped with the new master key"), "{told}");
    assert_eq!(program.api().get(&at).await.expect(200), before, "the server goes on");
    let (other, _) = program.api().create_endpoint("acme", json!({ "url": "http://127.0.0.1:9/" })).await;
    program.crash_and_restart().await;
    assert_eq!(program.api().get(&at).await.expect(200), before);
    let other = format!("/v1/tenants/acme/endpoints/{other}/secret");
    program.api().get(&other).await.expect(200);
    let said = program.api().get("/v1/audit-log?action=master_key.rotated").await.expect(200);
    assert_eq!(said["data"][0]["actor"], "command_line");
    let whole = program.run(&["audit", "verify"]).await;
    assert!(whole.status.success(), "the key of the log is sealed with the same data key");
}

#[tokio::test]
async fn a_change_of_the_master_key_that_was_cut_off_is_ended_at_the_next_start() {
    let (mut program, at) = with_a_secret().await;
    if !is_embedded(&program) {
        return;
    }
    let (own, next) = (key_file(&program), key_file(&program).with_extension("key.new"));
    let old = std::fs::read(&own).unwrap();
    let before = program.api().get(&at).await.expect(200);
    rotate(&mut program).await;
    let new = std::fs::read(&own).unwrap();
    assert_ne!(old, new);
    // As if the process had died before the file was renamed.
    std::fs::write(&next, &new).unwrap();
    std::fs::write(&own, &old).unwrap();
    program.crash_and_restart().await;
    assert_eq!(program.api().get(&at).await.expect(200), before);
    assert_eq!((std::fs::read(&own).unwrap(), next.exists()), (new, false));
    // As if it had died before the store was wrapped with the next one.
    std::fs::write(&next, &old).unwrap();
    program.crash_and_restart().await;
    assert_eq!(program.api().get(&at).await.expect(200), before);
}

#[tokio::test]
async fn the_master_key_may_come_from_a_command_and_what_fails_is_told_without_it() {
    let (mut program, at) = with_a_secret().await;
    let before = program.api().get(&at).await.expect(200);
    let key = match is_embedded(&program) {
        true => std::fs::read_to_string(key_file(&program)).unwrap().trim().to_owned(),
        false => {
            let own = program.settings().iter().find(|(name, _)| *name == "POSTHORN_MASTER_KEY");
            own.unwrap().1.clone()
        }
    };
    let file = program.folder().join("from-elsewhere");
    std::fs::write(&file, &key).unwrap();
    let with_command = |program: &mut Program, command: String| {
        program.change(|start| {
            *start =
                start.clone().with("POSTHORN_MASTER_KEY", "").with("POSTHORN_MASTER_KEY_COMMAND", command);
        });
    };
    if is_embedded(&program) {
        std::fs::remove_file(key_file(&program)).unwrap();
    }
    with_command(&mut program, format!("cat {}", file.display()));
    program.crash_and_restart().await;
    assert_eq!(program.api().get(&at).await.expect(200), before);
    for (command, told) in [
        ("exit 3".to_owned(), "master_key_command: the command failed (exit status: 3)"),
        ("echo short".to_owned(), "a master key must be 32 bytes in base64"),
        (format!("cat {} {}", file.display(), file.display()), "a master key must be 32 bytes in base64"),
    ] {
        with_command(&mut program, command.clone());
        let output = program.run(&["keys", "list"]).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(stderr.contains(told) && !stderr.contains(&key), "{command}: {stderr}");
    }
    let both = settings().with("POSTHORN_MASTER_KEY", NEW_KEY).with("POSTHORN_MASTER_KEY_COMMAND", "true");
    let output = testkit::run(&both, &["serve"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("are both set; one is enough"));
}
