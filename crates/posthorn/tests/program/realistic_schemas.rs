//! Schemas as large products have them: 100 types of 20 to 60 KB each, whose
//! definitions are shared, nested and within themselves, in three versions.

use std::collections::BTreeSet;
use std::process::Command;

use crate::common::start;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How many events are in a batch.
const BATCH: usize = 200;

#[tokio::test]
async fn verdicts_are_those_of_the_python_library_and_point_at_what_is_wrong() {
    let python = std::env::var("POSTHORN_TEST_PYTHON").expect("scripts/test sets POSTHORN_TEST_PYTHON");
    let folder = TempDir::new().unwrap();
    let generator = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/schemas/generate.py");
    let generated = Command::new(python).arg(generator).arg(folder.path()).args(["100", "10000"]).status();
    assert!(generated.unwrap().success());

    let program = start().await;
    let api = program.api();
    api.create_tenant("acme").await;
    let catalogue = folder.path().join("catalogue");
    let applied = program.run_with_client(&["catalogue", "apply", catalogue.to_str().unwrap()]).await;
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stdout));
    let types = api.get("/v1/event-types").await.expect(200);
    let types = types["data"].as_array().unwrap();
    assert_eq!(types.len(), 100);
    for one in types {
        let relations: Vec<&Value> =
            one["versions"].as_array().unwrap().iter().map(|version| &version["relation"]).collect();
        assert_eq!(relations, ["first", "compatible", "downgrade"], "{}", one["name"]);
    }

    let documents = std::fs::read_to_string(folder.path().join("documents.ndjson")).unwrap();
    let documents: Vec<Value> = documents.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut taken, mut refused) = (0, 0);
    for batch in documents.chunks(BATCH) {
        let events: Vec<Value> = batch
            .iter()
            .map(|one| {
                json!({ "tenant": "acme", "type": one["type"], "subject": "s", "schema_version": one["version"],
                    "data": one["data"] })
            })
            .collect();
        let answer = api.post("/v1/events/batch", json!({ "events": events })).await.expect(200);
        for (one, result) in batch.iter().zip(answer["results"].as_array().unwrap()) {
            let wrong: BTreeSet<String> = one["wrong"]
                .as_array()
                .unwrap()
                .iter()
                .map(|at| format!("/data{}", at.as_str().unwrap()))
                .collect();
            if wrong.is_empty() {
                assert_eq!(result["status"], 202, "{result} for {one}");
                taken += 1;
                continue;
            }
            assert_eq!(result["status"], 422, "{result} for {one}");
            let errors = result["problem"]["errors"].as_array().unwrap();
            let told: BTreeSet<String> =
                errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect();
            assert!(!told.is_empty() && told.is_subset(&wrong), "told {told:?}, wrong {wrong:?}: {one}");
            refused += 1;
        }
    }
    assert_eq!(taken + refused, 10_000);
    assert!(refused > 2_000, "{refused} of them were wrong");
}
