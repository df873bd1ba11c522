//! JSON Schemas of event data: what they may say, and what data they take.
//!
//! A schema is checked when it is saved, so that no data can make it slow: it
//! refers to nothing outside itself, its patterns run in linear time, and what
//! it costs to look at a value is known and bounded.
//!
//! Drafts 2020-12 and 07 of <https://json-schema.org/specification>; `format`
//! counts.

mod compatibility;
mod cost;
mod document;
mod evident;
mod reasoning;
mod sensitive;
mod telling;

use std::sync::{Arc, OnceLock};

use jsonschema::{Draft, PatternOptions, Validator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use compatibility::{Break, BreakKind};
pub use reasoning::{Answer, Question, Reasoner, Unhurried};

use cost::Cost;
pub(crate) use document::refers_to_definitions_alone;
use document::{DEFINITIONS, View, each_part};

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
/// How long two schemas may be together, in bytes, for the library to be asked
/// whether one covers the other: of larger ones, with references in each other,
/// it takes seconds to say that it does not know.
const MAX_COVERED: usize = 32 * 1024;
/// How many faults of data are told.
const TOLD: usize = 20;

/// Something about a schema, or about data, that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    root: Value,
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
    pub fn parse(text: &str, reasoner: &dyn Reasoner) -> Result<Self, Vec<Fault>> {
        with_deep_stack(|| Self::parse_here(text, reasoner))
    }

    fn parse_here(text: &str, reasoner: &dyn Reasoner) -> Result<Self, Vec<Fault>> {
        if text.len() > MAX_TEXT {
            let detail = format!("is longer than {MAX_TEXT} bytes");
            return Err(vec![Fault::new("", detail)]);
        }
        let root = read(text)?;
        if !root.is_object() {
            return Err(vec![Fault::new("", "must be a JSON object")]);
        }
        let draft = draft(&root)?;
        // Before the library gets to see it: what is slow to use is slow to read.
        let cost = check(&root, draft)?;
        let validator = build(&root, draft).map_err(|error| {
            let pointer = match error.instance_path().as_str() {
                "" => error.schema_path().to_string(),
                path => path.to_owned(),
            };
            vec![Fault::new(pointer, error.to_string())]
        })?;
        let schema =
            Self { text: text.into(), draft, root, cost, validator: OnceLock::from(Some(validator)) };
        schema.check_satisfiable(reasoner)?;
        Ok(schema)
    }

    /// A schema that was checked when it was saved, perhaps by other rules: one
    /// that would be refused today checks no data.
    pub fn from_stored(text: &str) -> Result<Self, Vec<Fault>> {
        let root = read(text)?;
        let draft = draft(&root)?;
        let cost = with_deep_stack(|| check(&root, draft)).unwrap_or(Cost::UNBOUNDED);
        Ok(Self { text: text.into(), draft, root, cost, validator: OnceLock::new() })
    }

    fn view(&self) -> View<'_> {
        View { root: &self.root, draft: self.draft }
    }

    /// Nothing in it contradicts itself.
    fn check_satisfiable(&self, reasoner: &dyn Reasoner) -> Result<(), Vec<Fault>> {
        if evident::contradicts_nowhere(&self.root) || alternatives(&self.root) > MAX_REASONED {
            return Ok(());
        }
        match reasoner.answer(Question::Contradictions { schema: self.root.clone() }) {
            Answer::Yes | Answer::Unknown => Ok(()),
            Answer::No(faults) => Err(faults),
            Answer::Undecided => {
                let detail = "is too complex: whether it contradicts itself cannot be told in the time there is; \
                              say less in dependent…, if and not";
                Err(vec![Fault::new("", detail)])
            }
        }
    }

    /// The schema as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn validator(&self) -> Option<&Validator> {
        self.validator.get_or_init(|| with_deep_stack(|| build(&self.root, self.draft).ok())).as_ref()
    }

    /// Checks data, whose text has so many bytes. Faults point into the data.
    pub fn validate(&self, data: &Value, bytes: usize) -> Result<(), Vec<Fault>> {
        let only = |detail: &str| Err(vec![Fault::new("", detail)]);
        if self.cost == Cost::UNBOUNDED {
            return only("its schema is too complex to be used; save a simpler one");
        }
        if !self.cost.allows(data, bytes) {
            return only("is too large to be checked against its schema in the time there is");
        }
        let Some(validator) = self.validator() else {
            return only("its schema cannot be used any more; save it anew");
        };
        if validator.is_valid(data) {
            return Ok(());
        }
        if !self.cost.allows_telling(data, bytes) {
            return only("does not satisfy its schema, and is too large to tell where");
        }
        let mut faults = telling::faults(validator.iter_errors(data), TOLD);
        if faults.is_empty() {
            faults.push(Fault::new("", "does not satisfy its schema"));
        }
        Err(faults)
    }

    /// What breaks for a receiver that goes by `self` when data comes that
    /// satisfies `newer`. None if every such value satisfies `self`, too.
    pub fn breaks(&self, newer: &Self, reasoner: &dyn Reasoner) -> Vec<Break> {
        if self.draft != newer.draft {
            return vec![Break::undecided("/$schema", "schemas of different drafts are not compared")];
        }
        if self.cost == Cost::UNBOUNDED || newer.cost == Cost::UNBOUNDED {
            return vec![Break::undecided("", "the schemas are too complex to be compared")];
        }
        let found = with_deep_stack(|| compatibility::compare(self.view(), self.cost.looks(), newer.view()));
        if found.iter().any(|one| one.kind == BreakKind::Breaks) {
            return found;
        }
        match (found.is_empty(), self.covers(newer, reasoner)) {
            // Two ways to decide it: what either of them doubts is not promised.
            (true, Some(false)) => vec![Break::undecided("", "the two schemas cannot be compared")],
            (false, Some(true)) => Vec::new(),
            _ => found,
        }
    }

    /// Whether the library proves or refutes that all data of `newer` satisfies this one.
    fn covers(&self, newer: &Self, reasoner: &dyn Reasoner) -> Option<bool> {
        if self.text.len() + newer.text.len() > MAX_COVERED
            || alternatives(&self.root) + alternatives(&newer.root) > 2 * MAX_REASONED
        {
            return None;
        }
        let question = Question::Covers { older: self.root.clone(), newer: newer.root.clone() };
        match reasoner.answer(question) {
            Answer::Yes => Some(true),
            Answer::No(_) => Some(false),
            Answer::Unknown | Answer::Undecided => None,
        }
    }

    /// Whether anything in it is marked as sensitive.
    pub fn has_sensitive(&self) -> bool {
        sensitive::has_marked(self.view())
    }

    /// The data with `"***"` in the place of everything that the schema marks
    /// with `"x-sensitive": true`; of data that is too large for that, nothing.
    pub fn masked(&self, data: &Value) -> Value {
        match self.cost.allows_looking(data) {
            true => sensitive::masked(data, self.view()),
            false => Value::from(sensitive::MASK),
        }
    }

    /// The schema as it may stand in another document, at the place that a
    /// reference such as `#/components/schemas/order` names.
    pub fn standing_at(&self, place: &str) -> Value {
        let mut schema = moved(&self.root, place);
        if let Value::Object(object) = &mut schema {
            object.remove("$id");
            object.remove("$schema");
            if self.draft == Draft::Draft7 {
                let uri = "http://json-schema.org/draft-07/schema#";
                object.insert("$schema".to_owned(), Value::from(uri));
            }
        }
        schema
    }

    /// The schema as JSON.
    pub(crate) fn root(&self) -> &Value {
        &self.root
    }

    /// What a part of the schema refers to.
    pub(crate) fn target(&self, part: &Value) -> Option<&Value> {
        self.view().target(part)
    }

    /// Where definitions stand in a schema of this draft.
    pub(crate) fn definitions(&self) -> &'static str {
        if self.draft == Draft::Draft7 { DEFINITIONS[1] } else { DEFINITIONS[0] }
    }

    /// A schema made of another, for comparing.
    pub(crate) fn derived(&self, root: Value) -> Option<Self> {
        let cost = check(&root, self.draft).ok()?;
        let text = root.to_string().into();
        Some(Self { text, draft: self.draft, root, cost, validator: OnceLock::new() })
    }
}

fn read(text: &str) -> Result<Value, Vec<Fault>> {
    serde_json::from_str(text).map_err(|error| vec![Fault::new("", format!("is not JSON: {error}"))])
}

/// Checks the form of a schema, and gives what it costs.
fn check(root: &Value, draft: Draft) -> Result<Cost, Vec<Fault>> {
    document::check(root, draft)?;
    Cost::of(View { root, draft })
}

/// A part whose references begin at another place.
fn moved(part: &Value, place: &str) -> Value {
    let mut copy = part.clone();
    if let Some(Value::String(reference)) = copy.get_mut("$ref")
        && let Some(rest) = reference.strip_prefix('#')
    {
        *reference = format!("{place}{rest}");
    }
    each_part(part, |at, inner| {
        if let Some(there) = copy.pointer_mut(&at) {
            *there = moved(inner, place);
        }
    });
    copy
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

/// How much stack reading a schema may take, in bytes: definitions that refer to
/// one another are as deep as all of them together, 6,000 levels in 64 KiB of
/// text, and the library goes down all of them. What is not used costs nothing.
const STACK: usize = 128 * 1024 * 1024;

/// Does work on a schema that may go deep.
fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let done = thread.expect("the system has room for a thread").join();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
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
