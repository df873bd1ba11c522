//! Which part of Posthorn may know which: `docs/ARCHITECTURE.md` draws it,
//! and this test holds it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Each crate, and what it may depend on of the others.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("posthorn", &["api-types", "bench", "client", "delivery-log", "dispatcher", "events-api", "model"]),
    ("bench", &["api-types", "client"]),
    ("client", &["api-types"]),
    ("events-api", &["api-types", "delivery-log", "model"]),
    ("dispatcher", &["delivery-log", "model"]),
    ("delivery-log", &["model"]),
    ("api-types", &["model"]),
    ("model", &[]),
    ("testkit", &[]),
];

/// A package that one crate alone may name.
const OWNED: [(&str, &[&str]); 3] =
    [("sqlx", &["delivery-log"]), ("actix-web", &["events-api"]), ("hickory-resolver", &["dispatcher"])];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let all = package["dependencies"].as_array().unwrap().iter();
            // What only tests need is no arrow.
            let used = all.filter(|dependency| dependency["kind"].is_null());
            let names = used.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect();
            (package["name"].as_str().unwrap().to_owned(), names)
        })
        .collect()
}

#[test]
fn the_arrows_between_the_crates_are_those_of_the_architecture() {
    let found = dependencies();
    assert_eq!(found.len(), ALLOWED.len(), "a crate was added: say here what it may know");
    for (name, allowed) in ALLOWED {
        let ours = found[name].iter().filter(|other| found.contains_key(*other));
        for other in ours {
            assert!(allowed.contains(&other.as_str()), "{name} must not depend on {other}");
        }
    }
}

#[test]
fn the_database_the_web_server_and_the_resolver_each_have_one_owner() {
    for (name, packages) in dependencies() {
        for (package, owners) in OWNED {
            let allowed = owners.contains(&name.as_str());
            assert!(allowed || !packages.contains(package), "{name} must not name {package}");
        }
    }
}
