//! JSON Schemas of event data: what they may say, and what data they take.
//!
//! A schema is checked when it is saved, so that no data can make it slow: it
//! refers to nothing outside itself and never to itself, its patterns run in
//! linear time, and what it costs to look at a value is bounded.
//!
//! Drafts 2020-12 and 07 of <https://json-schema.org/specification>; `format`
//! counts.

mod compatibility;
mod cost;
mod inline;
mod places;
mod sensitive;

use std::sync::{Arc, OnceLock};

use jsonschema::canonical;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Value, json};

pub use compatibility::{Break, BreakKind};

use cost::Cost;

/// The greatest length of a schema, in bytes.
pub const MAX_TEXT: usize = 64 * 1024;
/// How deep a schema may be nested.
pub const MAX_DEPTH: usize = 64;
/// How many schemas may stand in one `allOf`, `anyOf`, `oneOf` or `prefixItems`.
pub const MAX_ALTERNATIVES: usize = 100;
/// The longest pattern, in bytes.
pub const MAX_PATTERN: usize = 512;
/// What a compiled pattern may take, in bytes.
const PATTERN_SIZE: usize = 48 * 1024;
/// What a pattern may keep in memory of its own work, in bytes.
const PATTERN_MEMORY: usize = 256 * 1024;
/// With how many alternatives, all together, it is reasoned about what a schema
/// as a whole takes: each may double the work.
const MAX_REASONED: usize = 24;
/// How many faults of data are told.
const TOLD: usize = 20;

/// Something about a schema, or about data, that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What, and what to do about it. Never a value of the data.
    pub detail: String,
}

impl Fault {
    fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// A schema that was checked.
pub struct Schema {
    text: Arc<str>,
    draft: Draft,
    /// The schema with everything that it refers to in its place.
    inlined: Value,
    cost: Cost,
    /// Made when it is needed first. None if the library does not take the schema any more.
    validator: OnceLock<Option<Validator>>,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Schema {
    /// Checks a schema. All that is wrong with it is told.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        if text.len() > MAX_TEXT {
            let detail = format!("is longer than {MAX_TEXT} bytes");
            return Err(vec![Fault::new("", detail)]);
        }
        let root: Value = serde_json::from_str(text)
            .map_err(|error| vec![Fault::new("", format!("is not JSON: {error}"))])?;
        let schema = Self::check(text, &root)?;
        schema.check_satisfiable(&root)?;
        Ok(schema)
    }

    /// A schema that was checked when it was saved.
    pub fn from_stored(text: &str) -> Result<Self, Vec<Fault>> {
        let root: Value = serde_json::from_str(text)
            .map_err(|error| vec![Fault::new("", format!("is not JSON: {error}"))])?;
        let draft = draft(&root)?;
        let inlined = inline::inline(&root, draft)?;
        let cost = Cost::of(&inlined)?;
        Ok(Self { text: text.into(), draft, inlined, cost, validator: OnceLock::new() })
    }

    fn check(text: &str, root: &Value) -> Result<Self, Vec<Fault>> {
        if !root.is_object() {
            return Err(vec![Fault::new("", "must be a JSON object")]);
        }
        let draft = draft(root)?;
        let inlined = inline::inline(root, draft)?;
        let cost = Cost::of(&inlined)?;
        // As it was written, so that faults point to where they are.
        if let Err(error) = build(root, draft) {
            let pointer = match error.instance_path().as_str() {
                "" => error.schema_path().to_string(),
                path => path.to_owned(),
            };
            return Err(vec![Fault::new(pointer, error.to_string())]);
        }
        // What is used; it has more places than those that the draft knows of.
        let validator = build(&inlined, draft).map_err(|error| vec![Fault::new("", error.to_string())])?;
        Ok(Self { text: text.into(), draft, inlined, cost, validator: OnceLock::from(Some(validator)) })
    }

    /// Nothing in it contradicts itself.
    fn check_satisfiable(&self, root: &Value) -> Result<(), Vec<Fault>> {
        if alternatives(&self.inlined) > MAX_REASONED {
            return Ok(());
        }
        let object = json!({ "allOf": [self.inlined, { "type": "object" }] });
        let of_objects = canonical_options(self.draft).canonicalize(&object);
        if of_objects.is_ok_and(|schema| schema.satisfiability() == canonical::Satisfiability::No) {
            return Err(vec![Fault::new("", "no JSON object can satisfy it, and data is always one")]);
        }
        let prepared = canonical_options(self.draft).prepare(root);
        let Ok(empty) = prepared.and_then(|prepared| prepared.unsatisfiable()) else { return Ok(()) };
        let contradicts = |pointer: &String| root.pointer(pointer) != Some(&Value::Bool(false));
        let faults: Vec<Fault> = empty
            .into_keys()
            .filter(contradicts)
            .take(TOLD)
            .map(|pointer| Fault::new(pointer, "contradicts itself: no value can satisfy it"))
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// The schema as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn validator(&self) -> Option<&Validator> {
        self.validator.get_or_init(|| build(&self.inlined, self.draft).ok()).as_ref()
    }

    /// Checks data, whose text has so many bytes. Faults point into the data.
    pub fn validate(&self, data: &Value, bytes: usize) -> Result<(), Vec<Fault>> {
        if !self.cost.allows(data, bytes) {
            let detail = "is too large to be checked against its schema in the time there is";
            return Err(vec![Fault::new("", detail)]);
        }
        let Some(validator) = self.validator() else {
            return Err(vec![Fault::new("", "its schema cannot be used any more; save it anew")]);
        };
        if validator.is_valid(data) {
            return Ok(());
        }
        let fault = |error: jsonschema::ValidationError<'_>| {
            // The value may be nobody's business.
            Fault::new(error.instance_path().to_string(), error.masked_with("the value").to_string())
        };
        let mut faults: Vec<Fault> = validator.iter_errors(data).take(TOLD).map(fault).collect();
        if faults.is_empty() {
            faults.push(Fault::new("", "does not satisfy its schema"));
        }
        Err(faults)
    }

    /// What breaks for a receiver that goes by `self` when data comes that
    /// satisfies `newer`. None if every such value satisfies `self`, too.
    pub fn breaks(&self, newer: &Self) -> Vec<Break> {
        if self.draft != newer.draft {
            return vec![Break::undecided("/$schema", "schemas of different drafts are not compared")];
        }
        let found = compatibility::compare(&self.inlined, &newer.inlined, self.draft);
        if found.iter().any(|one| one.kind == BreakKind::Breaks) {
            return found;
        }
        match (found.is_empty(), self.covers(newer)) {
            // Two ways to decide it: what either of them doubts is not promised.
            (true, Some(false)) => vec![Break::undecided("", "the two schemas cannot be compared")],
            (false, Some(true)) => Vec::new(),
            _ => found,
        }
    }

    /// Whether the library proves or refutes that all data of `newer` satisfies this one.
    fn covers(&self, newer: &Self) -> Option<bool> {
        if alternatives(&self.inlined) + alternatives(&newer.inlined) > 2 * MAX_REASONED {
            return None;
        }
        let canonical = |schema: &Value| canonical_options(self.draft).canonicalize(schema).ok();
        // Whatever the schemas say: data is an object.
        let newer = json!({ "allOf": [newer.inlined, { "type": "object" }] });
        match canonical(&self.inlined)?.covers(&canonical(&newer)?).ok()? {
            canonical::Containment::Yes => Some(true),
            canonical::Containment::No => Some(false),
            canonical::Containment::Unknown => None,
        }
    }

    /// Whether anything in it is marked as sensitive.
    pub fn has_sensitive(&self) -> bool {
        sensitive::is_marked(&self.inlined)
    }

    /// The data with `"***"` in the place of everything that the schema marks
    /// with `"x-sensitive": true`.
    pub fn masked(&self, data: &Value) -> Value {
        sensitive::masked(data, &self.inlined)
    }

    /// The schema as it may stand in another document: without references.
    pub fn standalone(&self) -> Value {
        let mut schema = self.inlined.clone();
        if let (Draft::Draft7, Value::Object(object)) = (self.draft, &mut schema) {
            object.insert("$schema".to_owned(), Value::from("http://json-schema.org/draft-07/schema#"));
        }
        schema
    }

    /// The schema with everything that it refers to in its place.
    pub(crate) fn inlined(&self) -> &Value {
        &self.inlined
    }

    /// A schema made of another, for comparing.
    pub(crate) fn derived(&self, inlined: Value) -> Option<Self> {
        let cost = Cost::of(&inlined).ok()?;
        let validator = OnceLock::new();
        Some(Self { text: inlined.to_string().into(), draft: self.draft, inlined, cost, validator })
    }
}

/// How many alternatives there are in a schema, all together. Values weigh less.
fn alternatives(schema: &Value) -> usize {
    match schema {
        Value::Object(map) => {
            let lists = ["anyOf", "oneOf"].into_iter().filter_map(|key| map.get(key)?.as_array());
            let values = map.get("enum").and_then(Value::as_array).map_or(0, |values| values.len() / 16);
            values + lists.map(Vec::len).sum::<usize>() + map.values().map(alternatives).sum::<usize>()
        }
        Value::Array(list) => list.iter().map(alternatives).sum(),
        _ => 0,
    }
}

/// The draft that a schema says it follows.
fn draft(root: &Value) -> Result<Draft, Vec<Fault>> {
    match root.get("$schema") {
        None => Ok(Draft::Draft202012),
        Some(Value::String(uri)) => match uri.trim_end_matches('#') {
            "https://json-schema.org/draft/2020-12/schema" => Ok(Draft::Draft202012),
            "http://json-schema.org/draft-07/schema" | "https://json-schema.org/draft-07/schema" => {
                Ok(Draft::Draft7)
            }
            _ => Err(vec![Fault::new("/$schema", "must be that of draft 2020-12 or draft-07")]),
        },
        Some(_) => Err(vec![Fault::new("/$schema", "must be a text")]),
    }
}

fn patterns() -> PatternOptions<jsonschema::Regex> {
    PatternOptions::regex().size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_MEMORY)
}

fn build(schema: &Value, draft: Draft) -> Result<Validator, jsonschema::ValidationError<'static>> {
    jsonschema::options()
        .with_draft(draft)
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(patterns())
        .build(schema)
}

fn canonical_options(draft: Draft) -> canonical::CanonicalizeOptions<'static> {
    canonical::options()
        .with_draft(draft)
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(patterns())
}
