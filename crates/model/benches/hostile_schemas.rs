//! What hostile schemas, patterns and data cost: how long the longest of
//! many took, and how much memory that was.
//!
//! `cargo bench -p model --bench hostile_schemas`

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on should end where it is")]

#[path = "../tests/arbitrary/mod.rs"]
mod arbitrary;

use std::hint::black_box;
use std::time::{Duration, Instant};

use arbitrary::{Choices, changed, schema, value};
use model::schema::{Schema, Unhurried};
use serde_json::{Value, json};

/// The longest of something, and what it was.
#[derive(Default)]
struct Longest {
    took: Duration,
    what: String,
    count: u32,
    accepted: u32,
}

impl Longest {
    fn note(&mut self, began: Instant, accepted: bool, what: impl FnOnce() -> String) {
        let took = began.elapsed();
        self.count += 1;
        self.accepted += u32::from(accepted);
        if took > self.took {
            (self.took, self.what) = (took, what());
        }
    }

    fn tell(&self, name: &str) {
        let Self { took, what, count, accepted } = self;
        println!(
            "{name}: {count} ({accepted} taken), the longest {:.2} ms: {what}",
            took.as_secs_f64() * 1_000.0
        );
    }
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}

/// Pairs of schemas and values, all from one number each.
fn pairs() {
    let (mut parsing, mut comparing, mut checking) = <(Longest, Longest, Longest)>::default();
    for seed in 0..100_000 {
        let mut choices = Choices::new(seed);
        let inner = schema(&mut choices, 4);
        let root = |data: &Value| json!({ "properties": { "data": data } }).to_string();
        let text = root(&inner);
        let began = Instant::now();
        let parsed = Schema::parse(&text, &Unhurried);
        parsing.note(began, parsed.is_ok(), || short(&text));
        let Ok(parsed) = parsed else { continue };
        if let Ok(newer) = Schema::parse(&root(&changed(&mut choices, &inner)), &Unhurried) {
            let began = Instant::now();
            let breaks = parsed.breaks(&newer, &Unhurried);
            comparing.note(began, breaks.is_empty(), || short(&text));
        }
        let data = json!({ "data": value(&mut choices, &inner, 5) });
        let bytes = data.to_string().len();
        let began = Instant::now();
        let fits = black_box(parsed.validate(&data, bytes)).is_ok();
        checking.note(began, fits, || short(&text));
    }
    parsing.tell("schemas parsed");
    comparing.tell("schemas compared");
    checking.tell("values checked");
}

/// A pattern that is meant to be slow.
fn pattern(choices: &mut Choices, depth: usize) -> String {
    const ATOMS: [&str; 9] = ["a", "b", ".", "[a-z]", "\\w", "\\d", "(?i:x)", "\\p{L}", "[^b]"];
    const TIMES: [&str; 8] = ["*", "+", "?", "*?", "{2,40}", "{10}", "{0,300}", ""];
    if depth == 0 {
        return format!("{}{}", choices.one_of(&ATOMS), choices.one_of(&TIMES));
    }
    let count = 1 + choices.below(4);
    let parts: Vec<String> = (0..count).map(|_| pattern(choices, depth - 1)).collect();
    let joined = parts.join(if choices.chance(2) { "|" } else { "" });
    format!("({joined}){}", choices.one_of(&TIMES))
}

/// Patterns with the longest texts that fit into an event.
fn patterns() {
    let (mut parsing, mut checking) = <(Longest, Longest)>::default();
    let texts = ["a".repeat(250_000), "ab".repeat(125_000), format!("{}!", "aA0é".repeat(50_000))];
    for seed in 0..10_000 {
        let mut choices = Choices::new(seed);
        let depth = 1 + choices.below(3);
        let mut text = pattern(&mut choices, depth);
        if choices.chance(2) {
            text = format!("^{text}$");
        }
        let schema = json!({ "properties": { "a": { "pattern": text } } }).to_string();
        let began = Instant::now();
        let parsed = Schema::parse(&schema, &Unhurried);
        parsing.note(began, parsed.is_ok(), || short(&text));
        let Ok(parsed) = parsed else { continue };
        let data = json!({ "a": choices.one_of(&texts) });
        let began = Instant::now();
        let fits = black_box(parsed.validate(&data, 250_010)).is_ok();
        checking.note(began, fits, || short(&text));
    }
    parsing.tell("patterns parsed");
    checking.tell("long texts matched");
}

/// Schemas and data that are as deep, as wide and as manifold as they may be.
fn shapes() {
    let (mut parsing, mut comparing, mut checking) = <(Longest, Longest, Longest)>::default();
    let nested =
        |depth: usize, wrap: &dyn Fn(Value) -> Value| (0..depth).fold(json!({}), |inner, _| wrap(inner));
    let twice = |n: usize| json!({ "$ref": format!("#/$defs/d{n}") });
    let chain: serde_json::Map<String, Value> = (0..30)
        .map(|n| (format!("d{n}"), json!({ "anyOf": [twice(n + 1), twice(n + 1)] })))
        .chain([("d30".to_owned(), json!({}))])
        .collect();
    let alternatives: Vec<Value> =
        (0..100).map(|n| json!({ "properties": { "k": { "const": n } }, "required": ["k"] })).collect();
    let schemas = [
        nested(20, &|inner| json!({ "properties": { "a": inner } })),
        nested(200, &|inner| json!({ "properties": { "a": inner } })),
        nested(60, &|inner| json!({ "not": inner })),
        nested(12, &|inner| json!({ "anyOf": [inner, inner] })),
        json!({ "$ref": "#/$defs/d0", "$defs": chain }),
        json!({ "properties": { "a": { "items": { "anyOf": alternatives } } } }),
        json!({ "properties": { "a": { "items": { "oneOf": alternatives } } } }),
        json!({ "properties": { "a": { "uniqueItems": true } } }),
        json!({ "properties": { "a": { "items": { "enum": (0..3_000).collect::<Vec<_>>() } } } }),
        json!({ "properties": { "a": { "contains": { "const": -1 }, "items": { "type": "integer" } } } }),
        json!({ "additionalProperties": { "type": "integer" }, "propertyNames": { "pattern": "^[a-z0-9]+$" } }),
        json!({ "patternProperties": { "^(a|b|aa|ab)+$": {}, "[0-9]+x": {} }, "additionalProperties": true }),
    ];
    let numbers: Vec<usize> = (0..40_000).collect();
    let members: serde_json::Map<String, Value> = (0..20_000).map(|n| (format!("m{n}"), json!(n))).collect();
    let data = [
        json!({ "a": numbers }),
        json!({ "a": vec![json!({ "k": 299 }); 25_000] }),
        json!({ "a": vec![json!([]); 80_000] }),
        Value::Object(members),
        nested(60, &|inner| json!({ "a": inner })),
    ];
    for schema in &schemas {
        let text = schema.to_string();
        let began = Instant::now();
        let parsed = Schema::parse(&text, &Unhurried);
        parsing.note(began, parsed.is_ok(), || short(&text));
        let Ok(parsed) = parsed else { continue };
        for other in &schemas {
            let newer = other.to_string();
            if let Ok(other) = Schema::parse(&newer, &Unhurried) {
                let began = Instant::now();
                let breaks = black_box(parsed.breaks(&other, &Unhurried));
                comparing.note(began, breaks.is_empty(), || {
                    let (older, newer): (String, String) =
                        (text.chars().take(60).collect(), newer.chars().take(60).collect());
                    format!("{older} and {newer}")
                });
            }
        }
        for value in &data {
            let bytes = value.to_string().len();
            let began = Instant::now();
            let fits = black_box(parsed.validate(value, bytes)).is_ok();
            checking.note(began, fits, || short(&text));
        }
    }
    parsing.tell("shapes parsed");
    comparing.tell("shapes compared");
    checking.tell("large data checked");
}

fn main() {
    if std::env::args().all(|argument| argument != "--short") {
        pairs();
    }
    patterns();
    shapes();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let most = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: not known");
    println!("memory at its highest: {}", most.trim_start_matches("VmHWM:").trim());
}
