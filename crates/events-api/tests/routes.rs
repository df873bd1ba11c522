//! A URL stands in three places: where it is served, in the description of the
//! API, and at the top of the file that answers it. They agree.

use std::collections::BTreeSet;
use std::path::Path;

/// An operation as `routes.rs` serves it.
#[derive(Debug)]
struct Served {
    method: String,
    path: String,
    /// Modules and function, such as `["events", "publish", "handle"]`.
    handler: Vec<String>,
}

/// What stands between two texts, and what follows.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<(&'a str, &'a str)> {
    text.split_once(start)?.1.split_once(end)
}

/// The operations below `/v1`, as the source of `routes.rs` has them.
fn served() -> Vec<Served> {
    let source = include_str!("../src/routes.rs");
    let (table, _) = between(source, r#"web::scope("/v1")"#, ".default_service").expect("a table of URLs");
    let mut served = Vec::new();
    for row in table.split(r#"at(""#).skip(1) {
        let (path, methods) = row.split_once('"').expect("a path");
        for method in ["get", "post", "put", "patch", "delete"] {
            if let Some((handler, _)) = between(methods, &format!(".{method}("), ")") {
                served.push(Served {
                    method: method.to_uppercase(),
                    path: format!("/v1{path}"),
                    handler: handler.split("::").map(str::to_owned).collect(),
                });
            }
        }
    }
    served
}

#[test]
fn what_is_served_is_described_and_the_other_way_round() {
    let document: serde_json::Value =
        serde_json::from_str(&events_api::openapi_document()).expect("the description is JSON");
    let paths = document["paths"].as_object().expect("paths");
    let described: BTreeSet<String> = paths
        .iter()
        .filter(|(path, _)| path.starts_with("/v1/"))
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("operations");
            methods.keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let served: BTreeSet<String> =
        served().iter().map(|one| format!("{} {}", one.method, one.path)).collect();
    assert!(served.len() > 50, "{served:?}");
    assert_eq!(served, described);
}

#[test]
fn the_first_line_of_a_file_says_which_url_it_answers() {
    for Served { method, path, handler } in served() {
        let (function, modules) = handler.split_last().expect("a function");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(modules.join("/") + ".rs");
        let text = std::fs::read_to_string(&file).expect("a file for the handler");
        let first = text.lines().next().unwrap_or_default();
        let said = match function.as_str() {
            // Alone in its file.
            "handle" => first.starts_with(&format!("//! `{method} {path}`")),
            // One of several: named by its whole path, its end or its beginning.
            _ => {
                let end = path.rsplit('/').next().unwrap_or_default();
                let beginning = between(first, "`", "`").map_or("", |(text, _)| text);
                let beginning = beginning.split(' ').next_back().unwrap_or_default();
                first.contains(&path)
                    || first.contains(&format!("`/{end}`"))
                    || (beginning.len() > 3 && path.starts_with(beginning))
            }
        };
        assert!(said, "{method} {path}: {} begins with {first}", file.display());
    }
}
