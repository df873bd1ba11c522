//! Questions about schemas that the library answers by reasoning, for which it
//! may take any time and any memory.
//!
//! They are asked where a schema is saved, and rarely. Whoever can be made to
//! ask them by others lets a [`Reasoner`] answer that is stopped when it takes
//! too long: a question without an answer is [`Answer::Undecided`].

use jsonschema::{Draft, canonical};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Fault, TOLD, draft, patterns};

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// What in a schema contradicts itself?
    Contradictions {
        /// The schema.
        schema: Value,
    },
    /// Does all data of the newer schema fit the older one?
    Covers {
        /// The older schema.
        older: Value,
        /// The newer one, of the same draft.
        newer: Value,
    },
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes: the schema contradicts itself nowhere, or one covers the other.
    Yes,
    /// No, with the places that say so, if they are known.
    No(Vec<Fault>),
    /// Nobody knows.
    Unknown,
    /// There was no time or no memory to find out.
    Undecided,
}

/// Answers questions about schemas.
pub trait Reasoner: Send + Sync {
    /// Answers, within a bounded time.
    fn answer(&self, question: Question) -> Answer;
}

/// Answers in the same thread, however long it takes: for tests, and for the
/// process that is stopped when it takes too long.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unhurried;

impl Reasoner for Unhurried {
    fn answer(&self, question: Question) -> Answer {
        match question {
            Question::Contradictions { schema } => contradictions(&schema),
            Question::Covers { older, newer } => covers(&older, &newer),
        }
    }
}

fn contradictions(schema: &Value) -> Answer {
    let Ok(draft) = draft(schema) else { return Answer::Unknown };
    let of_objects = options(draft).canonicalize(&of_objects(schema));
    if of_objects.is_ok_and(|schema| schema.satisfiability() == canonical::Satisfiability::No) {
        return Answer::No(vec![Fault::new("", "no JSON object can satisfy it, and data is always one")]);
    }
    let prepared = options(draft).prepare(schema);
    let Ok(empty) = prepared.and_then(|prepared| prepared.unsatisfiable()) else { return Answer::Unknown };
    let contradicts = |pointer: &String| schema.pointer(pointer) != Some(&Value::Bool(false));
    let faults: Vec<Fault> = empty
        .into_keys()
        .filter(contradicts)
        .take(TOLD)
        .map(|pointer| Fault::new(pointer, "contradicts itself: no value can satisfy it"))
        .collect();
    if faults.is_empty() { Answer::Yes } else { Answer::No(faults) }
}

fn covers(older: &Value, newer: &Value) -> Answer {
    let Ok(draft) = draft(older) else { return Answer::Unknown };
    let canonical = |schema: &Value| options(draft).canonicalize(schema).ok();
    let decided = match (canonical(older), canonical(&of_objects(newer))) {
        (Some(older), Some(newer)) => older.covers(&newer).ok(),
        _ => None,
    };
    match decided {
        Some(canonical::Containment::Yes) => Answer::Yes,
        Some(canonical::Containment::No) => Answer::No(Vec::new()),
        Some(canonical::Containment::Unknown) | None => Answer::Unknown,
    }
}

/// The schema for objects alone: whatever schemas say, data is one. References
/// go on pointing to where they did.
fn of_objects(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let Value::Object(map) = &mut schema else { return json!({ "type": "object" }) };
    let allows = |kind: &Value| match kind {
        Value::Array(kinds) => kinds.contains(&Value::from("object")),
        kind => kind == "object",
    };
    match map.get("type") {
        Some(kind) if !allows(kind) => return Value::Bool(false),
        _ if map.contains_key("$ref") => {
            // Beside a reference nothing counts in draft-07.
            let target = map.remove("$ref").unwrap_or_default();
            let part = json!({ "$ref": target });
            match map.get_mut("allOf").and_then(Value::as_array_mut) {
                Some(all) => all.push(part),
                None => drop(map.insert("allOf".to_owned(), json!([part]))),
            }
            map.insert("type".to_owned(), Value::from("object"));
        }
        _ => drop(map.insert("type".to_owned(), Value::from("object"))),
    }
    schema
}

fn options(draft: Draft) -> canonical::CanonicalizeOptions<'static> {
    canonical::options()
        .with_draft(draft)
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(patterns())
}
