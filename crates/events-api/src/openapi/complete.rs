//! What holds for every operation of its kind, said once and added to each:
//! the scope that is needed, problems, headers, and what a patch may leave out.

use api_types::ProblemCode;
use serde_json::{Map, Value, json};

type Object = Map<String, Value>;

/// Completes the document.
pub(super) fn complete(document: &mut Value) {
    name_pages(document);
    let schemas = document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    let mut patches = Object::new();
    let examples: Object = serde_json::from_str(EXAMPLES).expect("the examples are an object");
    for (path, item) in object(&mut document["paths"]) {
        for (method, operation) in object(item) {
            let operation = object(operation);
            describe(operation);
            leave_out_nulls(operation);
            if method == "patch" {
                take_a_patch(operation, &schemas, &mut patches);
            }
            if shows_one_thing(operation) {
                operation["responses"]["304"] = json!({"description": "It is what you have."});
            }
            add_headers(method, operation);
            // The RFC that it follows has errors of its own.
            if text(operation, "operationId") != "oauth.token" {
                add_problems(path, method, operation);
            }
            show_examples(operation, &examples);
        }
    }
    let used = document["paths"].to_string();
    let components = object(&mut document["components"]);
    components.insert("headers".to_owned(), headers());
    let shown = examples.into_iter().map(|(name, value)| (name, json!({ "value": value })));
    components.insert("examples".to_owned(), Value::Object(shown.collect()));
    let mut problems = problems();
    problems.retain(|name, _| used.contains(&format!("/{name}\"")));
    components.insert("responses".to_owned(), problems.into());
    object(&mut components["schemas"]).extend(patches);
    // What is only ever patched is not sent as it stands.
    let used = document.to_string();
    object(&mut document["components"]["schemas"]).retain(|name, _| used.contains(&format!("/{name}\"")));
}

fn object(value: &mut Value) -> &mut Object {
    value.as_object_mut().expect("this part of the document is an object")
}

fn text<'a>(object: &'a Object, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// `Page_Event` is an `EventPage`.
fn name_pages(document: &mut Value) {
    let schemas = object(&mut document["components"]["schemas"]);
    let pages: Vec<String> = schemas.keys().filter(|name| name.starts_with(PAGE)).cloned().collect();
    let mut text = document.to_string();
    for page in pages {
        text = text.replace(&page, &format!("{}Page", &page[PAGE.len()..]));
    }
    *document = serde_json::from_str(&text).expect("names changed alone");
}

const PAGE: &str = "Page_";

fn has_parameter(operation: &Object, name: &str) -> bool {
    let mut parameters = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
    parameters.any(|parameter| parameter["name"] == name)
}

/// The name of the schema that one refers to.
fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str().and_then(|to| to.rsplit('/').next())
}

/// Whether an operation reads one thing that has an `ETag`.
fn shows_one_thing(operation: &Object) -> bool {
    has_parameter(operation, "If-None-Match")
}

/// The summary is the first sentence; the description has all of them, and the
/// scopes that a key needs.
fn describe(operation: &mut Object) {
    let whole = format!("{}\n\n{}", text(operation, "summary"), text(operation, "description"));
    let whole = whole.trim().to_owned();
    let one_line = whole.replace("\n\n", " ").replace('\n', " ");
    let first = one_line.split_once(". ").map_or(one_line.as_str(), |(first, _)| first);
    operation.insert("summary".to_owned(), first.replace('`', "").trim_end_matches('.').into());
    let security = operation.remove("security");
    let is_open = security.as_ref().is_some_and(|all| all[0] == json!({}));
    let scopes = security.and_then(|all| all[0]["api_key"].as_array().cloned()).unwrap_or_default();
    let names: Vec<String> = scopes.iter().map(|scope| scope.to_string().replace('"', "`")).collect();
    // OpenAPI lets scopes stand beside OAuth alone.
    operation.insert("x-scopes".to_owned(), scopes.into());
    if is_open {
        operation.insert("security".to_owned(), json!([]));
    }
    let needs = match names.as_slice() {
        [] if is_open => "Needs no key.".to_owned(),
        [] => "Any key may ask.".to_owned(),
        [one] => format!("Needs the scope {one}."),
        many => format!("Needs the scopes {}.", many.join(" and ")),
    };
    operation.insert("description".to_owned(), format!("{whole}\n\n{needs}").into());
}

/// What may be left out is not sent as null.
fn leave_out_nulls(operation: &mut Object) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some([kind, Value::String(null)]) = parameter["schema"]["type"].as_array().map(Vec::as_slice)
            && null == "null"
        {
            parameter["schema"]["type"] = kind.clone();
        }
    }
    if let Some(body) = operation.get_mut("requestBody")
        && body["content"].get("application/json").is_some()
    {
        let schema = &mut body["content"]["application/json"]["schema"];
        if schema["oneOf"][1] == json!({"type": "null"}) {
            *schema = schema["oneOf"][0].take();
            body["required"] = false.into();
        }
    }
}

/// What a patch of a schema cannot change, and what cannot be taken away.
const FIXED: [(&str, &[&str], &[&str]); 5] = [
    ("EndpointPatch", &["secret"], &["url"]),
    ("EventTypePatch", &["name", "versions"], &[]),
    ("RetryPolicyPatch", &["name"], &[]),
    ("TenantPatch", &["id"], &[]),
    ("VersionPatch", &["number"], &[]),
];

/// A merge patch (RFC 7396) may leave out everything; null takes a value away,
/// or sets what is usual.
fn take_a_patch(operation: &mut Object, schemas: &Object, patches: &mut Object) {
    let schema = &mut operation["requestBody"]["content"]["application/json"]["schema"];
    let Some(name) = referred(schema).map(str::to_owned) else { return };
    let patch = format!("{}Patch", name.trim_end_matches("Request").trim_end_matches("Change"));
    *schema = json!({"$ref": format!("#/components/schemas/{patch}")});
    let mut patched = schemas[&name].clone();
    let members = object(&mut patched);
    members.remove("required");
    members.insert(
        "description".to_owned(),
        "What is to change. What is not given stays; null takes a value away.".into(),
    );
    let fixed = FIXED.into_iter().find(|(name, ..)| *name == patch);
    let (cannot_change, cannot_go) = fixed.map_or((&[][..], &[][..]), |(_, change, go)| (change, go));
    let properties = object(&mut members["properties"]);
    properties.retain(|name, _| !cannot_change.contains(&name.as_str()));
    for (name, member) in properties {
        if !cannot_go.contains(&name.as_str())
            && let Some(kind) = member.get("type").and_then(Value::as_str).map(str::to_owned)
        {
            member["type"] = json!([kind, "null"]);
        }
    }
    patches.insert(patch, patched);
}

/// What requests and answers look like, by their schemas; recorded from a server.
const EXAMPLES: &str = include_str!("examples.json");

/// Shows an example of what is sent and of what is answered.
fn show_examples(operation: &mut Object, examples: &Object) {
    let show = |of: &mut Value| {
        for body in
            of.get_mut("content").and_then(Value::as_object_mut).into_iter().flat_map(Object::values_mut)
        {
            if let Some(name) = referred(&body["schema"]).filter(|name| examples.contains_key(*name)) {
                body["examples"] = json!({"usual": {"$ref": format!("#/components/examples/{name}")}});
            }
        }
    };
    operation.get_mut("requestBody").map(show);
    object(&mut operation["responses"]).values_mut().for_each(show);
}

/// The headers of answers, by what they are.
fn add_headers(method: &str, operation: &mut Object) {
    let lists = has_parameter(operation, "cursor");
    let is_limited = operation.get("security") != Some(&json!([]));
    let repeatable = has_parameter(operation, "Idempotency-Key");
    // What was changed, or is known to be of one state, has a tag.
    let shows_state = shows_one_thing(operation)
        || matches!(method, "patch" | "put")
        || STATES.iter().any(|verb| text(operation, "operationId").ends_with(verb));
    for (status, response) in object(&mut operation["responses"]) {
        let mut names = vec!["x-request-id"];
        let good = status.starts_with('2') && response.get("content").is_some();
        for (name, is_sent) in [
            ("link", good && lists),
            ("etag", good && (shows_state || status == "201")),
            ("location", matches!(status.as_str(), "201" | "202")),
            ("idempotency-replayed", good && repeatable),
            ("ratelimit", good && is_limited),
            ("ratelimit-policy", good && is_limited),
        ] {
            if is_sent {
                names.push(name);
            }
        }
        if response.get("content").is_some() || status == "204" || status == "304" {
            response["headers"] =
                names.into_iter().map(|name| (name.to_owned(), header(name))).collect::<Object>().into();
        }
    }
}

/// How the names of operations end that answer with the state of what they changed.
const STATES: [&str; 5] = [".pause", ".resume", ".rotate", "deliveries.cancel", "deliveries.replay"];

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

fn headers() -> Value {
    let described = [
        ("x-request-id", "Names the request in Posthorn's logs: yours, if you sent one."),
        ("link", "The next page, as `rel=\"next\"` (RFC 8288), if there is one."),
        ("etag", "Names the state that the answer shows, for `If-Match` and `If-None-Match`."),
        ("location", "Where it is read."),
        (
            "idempotency-replayed",
            "`true` where the request was a repetition and this is the first answer to it.",
        ),
        ("retry-after", "After how many seconds to try again."),
        (
            "ratelimit",
            "What is left of each limit: `r` requests now, and all of them again after `t` seconds \
             (draft-ietf-httpapi-ratelimit-headers).",
        ),
        ("ratelimit-policy", "The limits that the request counts for: `q` requests in `w` seconds."),
        ("www-authenticate", "How to authenticate (RFC 6750)."),
    ];
    let all = described
        .map(|(name, about)| (name.to_owned(), json!({"description": about, "schema": {"type": "string"}})));
    Value::Object(all.into_iter().collect())
}

/// The problems that an operation can be answered with. Those that it names
/// itself keep their words.
fn add_problems(path: &str, method: &str, operation: &mut Object) {
    let changes = method != "get";
    let takes_a_body = operation.contains_key("requestBody");
    let mut possible = vec![
        ProblemCode::MalformedRequest,
        ProblemCode::Unauthenticated,
        ProblemCode::Forbidden,
        ProblemCode::InvalidRequest,
        ProblemCode::RateLimited,
        ProblemCode::Internal,
        ProblemCode::Unavailable,
    ];
    if path.contains('{') || has_parameter(operation, "tenant") || takes_a_body {
        possible.push(ProblemCode::NotFound);
    }
    let is_open = operation.get("security") == Some(&json!([]));
    if is_open {
        possible.retain(|code| {
            !matches!(code, ProblemCode::Forbidden | ProblemCode::NotFound | ProblemCode::RateLimited)
        });
    }
    if changes {
        possible.extend([
            ProblemCode::Timeout,
            ProblemCode::PreconditionFailed,
            ProblemCode::PayloadTooLarge,
        ]);
    }
    if takes_a_body {
        possible.push(ProblemCode::UnsupportedMediaType);
    }
    for code in possible {
        let to = format!("#/components/responses/{}", component(code.status()));
        object(&mut operation["responses"]).insert(code.status().to_string(), json!({"$ref": to}));
    }
    for (status, response) in object(&mut operation["responses"]) {
        if status.as_str() >= "400" && response.get("$ref").is_none() {
            let about = response["description"].clone();
            let about = about.as_str().unwrap_or_default();
            *response = problem(ProblemCode::Conflict, about, about, &["x-request-id"]);
        }
    }
}

fn component(status: u16) -> String {
    format!("Problem{status}")
}

/// A problem as an answer, with an example whose `detail` is given.
fn problem(code: ProblemCode, about: &str, detail: &str, names: &[&str]) -> Value {
    let headers: Object = names.iter().map(|name| ((*name).to_owned(), header(name))).collect();
    let example = match code {
        // With what is wrong where, as it was recorded.
        ProblemCode::InvalidRequest => json!({"$ref": "#/components/examples/Problem"}),
        _ => json!({"value": {
            "type": format!("urn:posthorn:problem:{code}"), "title": code.title(), "status": code.status(),
            "code": code.as_str(), "detail": detail, "request_id": "req-91cd017b68a50127",
        }}),
    };
    json!({
        "description": about,
        "headers": headers,
        "content": {"application/problem+json": {
            "schema": {"$ref": "#/components/schemas/Problem"},
            "examples": {"usual": example},
        }},
    })
}

fn problems() -> Object {
    let mut all = Object::new();
    for (code, meaning) in ProblemCode::ALL.iter().zip(ProblemCode::MEANINGS) {
        let said = format!("`{code}`: {}", meaning.trim());
        let entry = all.entry(component(code.status())).or_insert_with(|| {
            let names: &[&str] = match code {
                ProblemCode::Unauthenticated => &["x-request-id", "www-authenticate"],
                ProblemCode::Unavailable => &["x-request-id", "retry-after"],
                ProblemCode::RateLimited => &["x-request-id", "retry-after", "ratelimit", "ratelimit-policy"],
                _ => &["x-request-id"],
            };
            problem(*code, "", code.title(), names)
        });
        let before = entry["description"].as_str().unwrap_or_default();
        entry["description"] = format!("{before}\n\n{said}").trim().into();
    }
    all
}
