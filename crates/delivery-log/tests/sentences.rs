//! Each method of a store is in a sentence that both backends pass.

use std::collections::BTreeSet;
use std::path::Path;

/// The text of all files of a folder but these.
fn text_of(folder: &Path, except: &[&str]) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let is_wanted = !except.iter().any(|name| path.ends_with(name));
        if is_wanted && path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&std::fs::read_to_string(path).expect("a text"));
        }
    }
    text
}

/// The methods of the traits that a store has, as its files declare them.
fn methods(source: &str) -> BTreeSet<&str> {
    let traits = source.split("pub trait ").skip(1).filter_map(|rest| rest.split("\n}\n").next());
    let lines = traits.flat_map(str::lines).map(str::trim_start);
    let functions = lines.filter_map(|line| line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn "));
    functions.filter_map(|function| function.split(['(', '<']).next()).collect()
}

#[test]
fn each_method_of_a_store_is_in_a_sentence() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    // The one is what a store calls, the other what the suite asks of a backend.
    let stores = text_of(&source, &["hand_off.rs", "conformance.rs"]);
    let sentences = text_of(&source.join("conformance"), &[]);
    let methods = methods(&stores);
    assert!(methods.contains("publish") && methods.contains("claim_due"), "{methods:?}");
    let is_named = |method: &&&str| sentences.contains(&format!(".{method}("));
    let missing: Vec<&&str> = methods.iter().filter(|method| !is_named(method)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
}
