//! The first command of the README, and what is generated from the code.

use std::process::Stdio;

use tokio::process::Command;

#[tokio::test]
async fn the_quickstart_delivers_and_verifies_everything_and_goes_on_with_its_data() {
    let folder = tempfile::TempDir::new().unwrap();
    for run in 1..=2 {
        let output = Command::new(env!("CARGO_BIN_EXE_posthorn"))
            .args(["quickstart", "--exit", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .current_dir(folder.path())
            .stderr(Stdio::inherit())
            .output()
            .await
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "run {run}: {printed}");
        let summary = "20 events published, 20 delivered, 4 of them after a retry, 20 verified";
        assert!(printed.contains(summary), "run {run}: {printed}");
    }
}

/// Compares a committed file with what the program prints.
fn assert_generated(file: &str, command: &str) {
    let path = format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_posthorn")).arg(command).output().unwrap();
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let generated = String::from_utf8(output.stdout).unwrap();
    assert!(committed == generated, "{file} is out of date: cargo run -q -- {command} > {file}");
}

#[test]
fn the_committed_openapi_document_is_that_of_the_code() {
    assert_generated("docs/openapi.json", "openapi");
}
