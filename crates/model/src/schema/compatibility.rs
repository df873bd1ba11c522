//! Whether data of a newer schema can surprise a receiver of an older one.
//!
//! The newer schema must take nothing that the older one refuses. What is
//! asked of each keyword of the older one is whether the newer one implies it;
//! every place where it does not is named. Keywords beyond those that are
//! understood here must stand in both in the same way, or the question is left
//! undecided, which is as good as a no.
//!
//! Schemas stand here without references ([`super::inline`]).

mod alternatives;
mod facts;
mod limits;

use jsonschema::Draft;
use serde_json::{Map, Value, json};

use facts::Facts;

use crate::json::escape;

/// How much work is done before the question is left undecided: comparisons,
/// some tens of milliseconds of them.
const BUDGET: usize = 4_000;
/// What trying single values counts for, in comparisons.
const TRYING: usize = 10;
/// How many differences are named.
const NAMED: usize = 50;

/// How sure it is that a difference breaks a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakKind {
    /// Some data of the newer schema is refused by the older one.
    Breaks,
    /// It cannot be told, so it is not promised.
    Undecided,
}

/// A difference that speaks against using the newer schema in the older one's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// Where in the data, as a place of the schema: `/properties/total`.
    pub pointer: String,
    /// How sure it is.
    pub kind: BreakKind,
    /// What changed.
    pub detail: String,
}

impl Break {
    pub(super) fn undecided(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), kind: BreakKind::Undecided, detail: detail.into() }
    }

    fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), kind: BreakKind::Breaks, detail: detail.into() }
    }
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pointer = if self.pointer.is_empty() { "/" } else { &self.pointer };
        write!(f, "{pointer}: {}", self.detail)
    }
}

/// What speaks against giving data of the newer schema to receivers of the older one.
pub(super) fn compare(older: &Value, newer: &Value, draft: Draft) -> Vec<Break> {
    let mut comparison = Comparison { left: BUDGET, draft };
    // Whatever the schemas say: data is an object.
    let object = json!({ "type": "object" });
    let mut known = Facts::of(newer);
    known.learn(&object);
    let mut breaks = comparison.implies(&known, older, "");
    if comparison.left == 0 {
        breaks.push(too_complex(""));
    }
    breaks.dedup();
    breaks.truncate(NAMED);
    breaks
}

/// The work that may be done is done.
fn too_complex(at: &str) -> Break {
    Break::undecided(at, "the schemas are too complex to be compared")
}

struct Comparison {
    left: usize,
    /// Of the older schema, for its values.
    draft: Draft,
}

/// Annotations, which take and refuse nothing, and what is understood together
/// with another keyword.
fn says_nothing(key: &str) -> bool {
    const ANNOTATIONS: [&str; 12] = [
        "$comment",
        "$defs",
        "$id",
        "$schema",
        "default",
        "definitions",
        "deprecated",
        "description",
        "examples",
        "readOnly",
        "title",
        "writeOnly",
    ];
    ANNOTATIONS.contains(&key) || key.starts_with("x-")
}

/// Keywords that are not looked into: both schemas must have the same. Each
/// with those that it means something together with.
fn opaque(key: &str) -> Option<&'static [&'static str]> {
    Some(match key {
        "if" | "then" | "else" => &["if", "then", "else"],
        "contains" | "minContains" | "maxContains" => &["contains", "minContains", "maxContains"],
        "prefixItems" | "additionalItems" => &["prefixItems", "items", "additionalItems"],
        "not" => &["not"],
        "propertyNames" => &["propertyNames"],
        "dependencies" => &["dependencies"],
        "dependentRequired" => &["dependentRequired"],
        "dependentSchemas" => &["dependentSchemas"],
        "contentEncoding" | "contentMediaType" | "contentSchema" => {
            &["contentEncoding", "contentMediaType", "contentSchema"]
        }
        _ => return None,
    })
}

impl Comparison {
    fn spend(&mut self, work: usize) {
        self.left = self.left.saturating_sub(work);
    }

    /// Why not everything that fits `newer` fits `older`; nothing if it does.
    fn implies(&mut self, newer: &Facts<'_>, older: &Value, at: &str) -> Vec<Break> {
        if self.left == 0 {
            return vec![too_complex(at)];
        }
        self.spend(newer.maps.len().max(1));
        if newer.is_never() || newer.maps.iter().any(|map| is_same(map, older)) {
            return Vec::new();
        }
        let found = match older {
            Value::Bool(true) => return Vec::new(),
            Value::Object(older) => self.implies_keywords(newer, older, at),
            _ => vec![Break::new(at, "was not allowed, and now is")],
        };
        if found.is_empty() || self.left == 0 {
            return found;
        }
        // Alternatives of the newer one are looked at one by one.
        match newer.alternatives() {
            None => found,
            Some(each) => each.iter().flat_map(|one| self.implies(one, older, at)).collect(),
        }
    }

    fn implies_keywords(&mut self, newer: &Facts<'_>, older: &Map<String, Value>, at: &str) -> Vec<Break> {
        let mut found = Vec::new();
        if let Some(values) = newer.values() {
            return self.takes_values(&values, older, at);
        }
        for (key, wanted) in older {
            match key.as_str() {
                "type" => found.extend(newer.check_type(wanted, at)),
                "enum" => found.push(Break::new(at, "was limited to some values, and is not any more")),
                "const" => found.push(Break::new(at, format!("was always {wanted}, and is not any more"))),
                "allOf" => {
                    for part in wanted.as_array().into_iter().flatten() {
                        found.extend(self.implies(newer, part, at));
                    }
                }
                "anyOf" => found.extend(self.implies_any(newer, wanted, at)),
                "oneOf" => found.extend(self.implies_one(newer, wanted, at)),
                "properties" => found.extend(self.implies_properties(newer, wanted, at)),
                "required" => found.extend(newer.check_required(wanted, at)),
                "additionalProperties" => found.extend(self.implies_others(newer, older, wanted, at)),
                "items" if !wanted.is_array() && !older.contains_key("prefixItems") => {
                    found.extend(self.implies_items(newer, wanted, at));
                }
                "items" => found.extend(self.implies_same(
                    newer,
                    older,
                    &["prefixItems", "items", "additionalItems"],
                    at,
                )),
                "patternProperties" => found.extend(newer.check_pattern_properties(wanted, at)),
                "unevaluatedProperties" | "unevaluatedItems" => {
                    found.push(Break::undecided(
                        format!("{at}/{key}"),
                        "cannot be compared unless nothing changes",
                    ));
                }
                limit if limits::is_limit(limit) => found.extend(limits::check(newer, limit, wanted, at)),
                name => {
                    if let Some(together) = opaque(name) {
                        found.extend(self.implies_same(newer, older, together, at));
                    } else if !says_nothing(name) {
                        found.extend(self.implies_same(newer, older, &[name], at));
                    }
                }
            }
        }
        found
    }

    /// Every one of these values must fit.
    fn takes_values(&mut self, values: &[&Value], older: &Map<String, Value>, at: &str) -> Vec<Break> {
        self.spend(TRYING + values.len());
        let schema = Value::Object(older.clone());
        let Ok(validator) = super::build(&schema, self.draft) else {
            return vec![Break::undecided(at, "cannot be compared")];
        };
        let refused = values.iter().filter(|value| !validator.is_valid(value));
        refused.map(|value| Break::new(at, format!("may now be {value}, which was not allowed"))).collect()
    }

    fn implies_properties(&mut self, newer: &Facts<'_>, wanted: &Value, at: &str) -> Vec<Break> {
        if !newer.may_be("object") {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (name, schema) in wanted.as_object().into_iter().flatten() {
            let at = format!("{at}/properties/{}", escape(name));
            if is_anything(schema) {
                continue;
            }
            match newer.property(Some(name)) {
                None => found.push(Break::new(at, "is not described any more, so any value may come")),
                Some(facts) => found.extend(self.implies(&facts, schema, &at)),
            }
        }
        found
    }

    /// Properties that the older schema does not name.
    fn implies_others(
        &mut self,
        newer: &Facts<'_>,
        older: &Map<String, Value>,
        wanted: &Value,
        at: &str,
    ) -> Vec<Break> {
        if is_anything(wanted) || !newer.may_be("object") {
            return Vec::new();
        }
        if older.contains_key("patternProperties") || newer.has("patternProperties") {
            return self.implies_same(
                newer,
                older,
                &["properties", "patternProperties", "additionalProperties"],
                at,
            );
        }
        let known = older.get("properties").and_then(Value::as_object);
        let mut found = Vec::new();
        for name in newer.names() {
            if known.is_some_and(|known| known.contains_key(name)) {
                continue;
            }
            let at = format!("{at}/properties/{}", escape(name));
            let Some(facts) = newer.property(Some(name)) else { continue };
            if facts.is_never() {
                continue;
            }
            match wanted {
                Value::Bool(false) => {
                    found.push(Break::new(at, "is new, and further properties were not allowed"));
                }
                wanted => found.extend(self.implies(&facts, wanted, &at)),
            }
        }
        let at = format!("{at}/additionalProperties");
        match newer.property(None) {
            None => found.push(Break::new(at, "further properties were limited, and now may be anything")),
            Some(facts) => found.extend(self.implies(&facts, wanted, &at)),
        }
        found
    }

    fn implies_items(&mut self, newer: &Facts<'_>, wanted: &Value, at: &str) -> Vec<Break> {
        if is_anything(wanted) || !newer.may_be("array") || limits::at_most(newer, "maxItems", 0) {
            return Vec::new();
        }
        let at = format!("{at}/items");
        if newer.has("prefixItems") || newer.has("additionalItems") || newer.has_list_of_items() {
            return vec![Break::undecided(at, "items that are described one by one cannot be compared")];
        }
        match newer.items() {
            None => vec![Break::new(at, "are not described any more, so any value may come")],
            Some(facts) => self.implies(&facts, wanted, &at),
        }
    }

    /// Keywords that are not looked into must stand in the newer one in the same way.
    fn implies_same(
        &mut self,
        newer: &Facts<'_>,
        older: &Map<String, Value>,
        keys: &[&str],
        at: &str,
    ) -> Vec<Break> {
        let same = |map: &&&Map<String, Value>| keys.iter().all(|key| map.get(*key) == older.get(*key));
        if newer.maps.iter().any(|map| same(&map)) {
            return Vec::new();
        }
        let there = keys.iter().find(|key| older.contains_key(**key)).unwrap_or(&keys[0]);
        vec![Break::undecided(format!("{at}/{there}"), "has changed in a way that cannot be compared")]
    }
}

/// Whether a schema takes everything.
fn is_anything(schema: &Value) -> bool {
    match schema {
        Value::Bool(takes) => *takes,
        Value::Object(object) => object.keys().all(|key| says_nothing(key)),
        _ => false,
    }
}

fn is_same(map: &Map<String, Value>, older: &Value) -> bool {
    older.as_object() == Some(map)
}
