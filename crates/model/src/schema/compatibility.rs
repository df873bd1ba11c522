//! Whether data of a newer schema can surprise a receiver of an older one.
//!
//! The newer schema must take nothing that the older one refuses. What is
//! asked of each keyword of the older one is whether the newer one implies it;
//! every place where it does not is named. Keywords beyond those that are
//! understood here must stand in both in the same way, or the question is left
//! undecided, which is as good as a no.
//!
//! References are followed where they are met. A pair of places that is
//! compared already is not compared again: what is described by way of itself
//! differs only where it differs on the way.

mod alternatives;
mod facts;
mod limits;

use std::collections::{HashMap, HashSet};

use jsonschema::Validator;
use serde_json::{Map, Value};

use facts::Facts;

use super::cost::places;
use super::document::{DEFINITIONS, View, identity, refers_to_definitions_alone};
use crate::json::escape;

/// How much work is done before the question is left undecided: comparisons,
/// some tens of milliseconds of them.
const BUDGET: usize = 20_000;
/// What trying single values counts for, in comparisons.
const TRYING: usize = 10;
/// How many looks at a value count as much as a comparison.
const LOOKS: u64 = 20;
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

    /// The same, found below a place.
    fn below(&self, at: &str) -> Self {
        Self { pointer: format!("{at}{}", self.pointer), ..self.clone() }
    }

    /// The same, told from a place on that it was found below.
    fn without(&self, at: &str) -> Self {
        let pointer = self.pointer.strip_prefix(at).unwrap_or(&self.pointer).to_owned();
        Self { pointer, ..self.clone() }
    }
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pointer = if self.pointer.is_empty() { "/" } else { &self.pointer };
        write!(f, "{pointer}: {}", self.detail)
    }
}

/// What speaks against giving data of the newer schema to receivers of the older one.
pub(super) fn compare(older: View<'_>, looks: u64, newer: View<'_>) -> Vec<Break> {
    let mut comparison = Comparison { left: BUDGET, looks, older, pairs: HashMap::new(), learnt: false };
    let mut known = Facts::of(newer, newer.root);
    // Whatever the schemas say: data is an object.
    known.narrow_to_objects();
    let mut breaks = loop {
        comparison.learnt = false;
        let breaks = comparison.implies(&known, older.root, "");
        // What speaks against a pair was found although nothing else was
        // believed to speak against it, so it stays. That nothing does was
        // perhaps found by believing so of a pair that was then found to break.
        if !breaks.is_empty() || !comparison.learnt {
            break breaks;
        }
        comparison.pairs.retain(|_, found| !found.is_empty());
    };
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

/// A place of the older schema, and what is known of the values there.
type Pair = (usize, facts::Identity);

struct Comparison<'a> {
    left: usize,
    /// What the older schema costs for each place of a value.
    looks: u64,
    older: View<'a>,
    /// What speaks against each pair, told from there on. Where a pair is met
    /// again while it is compared, nothing is believed to.
    pairs: HashMap<Pair, Vec<Break>>,
    /// Whether a pair was found to break that was not known to before.
    learnt: bool,
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

impl Comparison<'_> {
    fn spend(&mut self, work: usize) {
        self.left = self.left.saturating_sub(work);
    }

    /// Why not everything that fits `newer` fits `older`; nothing if it does.
    fn implies(&mut self, newer: &Facts<'_>, older: &Value, at: &str) -> Vec<Break> {
        if self.left == 0 {
            return vec![too_complex(at)];
        }
        self.spend(newer.maps.len().max(1));
        if newer.is_never() || older == &Value::Bool(true) {
            return Vec::new();
        }
        let pair = (identity(older), newer.identity());
        if let Some(found) = self.pairs.get(&pair) {
            return found.iter().map(|one| one.below(at)).collect();
        }
        self.pairs.insert(pair.clone(), Vec::new());
        let mut found = self.implies_here(newer, older, at);
        found.truncate(NAMED);
        if !found.is_empty() {
            self.learnt = true;
            self.pairs.insert(pair, found.iter().map(|one| one.without(at)).collect());
        }
        found
    }

    fn implies_here(&mut self, newer: &Facts<'_>, older: &Value, at: &str) -> Vec<Break> {
        let Value::Object(map) = older else {
            return vec![Break::new(at, "was not allowed, and now is")];
        };
        if newer.maps.iter().any(|known| self.is_same_object(newer.view(), known, map)) {
            return Vec::new();
        }
        let mut found = match self.older.target(older) {
            Some(target) => self.implies(newer, target, at),
            None => Vec::new(),
        };
        if !self.older.hides_beside_reference(map) {
            found.extend(self.implies_keywords(newer, map, at));
        }
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
                "patternProperties" => found.extend(self.implies_patterns(newer, wanted, at)),
                // It was followed.
                "$ref" => {}
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
        if !self.can_try(values) {
            return vec![too_complex(at)];
        }
        let Some(validator) = self.validator(&Value::Object(older.clone())) else {
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

    /// The older schema describes properties by patterns.
    fn implies_patterns(&self, newer: &Facts<'_>, wanted: &Value, at: &str) -> Vec<Break> {
        let same = |map: &&Map<String, Value>| {
            let there = map.get("patternProperties").filter(|_| !map.contains_key("properties"));
            there.is_some_and(|there| self.is_same(newer.view(), there, wanted))
        };
        if !newer.may_be("object") || newer.maps.iter().any(same) {
            return Vec::new();
        }
        vec![Break::undecided(format!("{at}/patternProperties"), "properties by pattern cannot be compared")]
    }

    /// Keywords that are not looked into must stand in the newer one in the same way.
    fn implies_same(
        &mut self,
        newer: &Facts<'_>,
        older: &Map<String, Value>,
        keys: &[&str],
        at: &str,
    ) -> Vec<Break> {
        let same = |map: &Map<String, Value>| {
            keys.iter().all(|key| match (map.get(*key), older.get(*key)) {
                (Some(one), Some(other)) => self.is_same(newer.view(), one, other),
                (one, other) => one.is_none() && other.is_none(),
            })
        };
        if newer.maps.iter().any(|map| same(map)) {
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

impl Comparison<'_> {
    /// Whether there is time to try single values on a part of the older
    /// schema, which is then spent.
    fn can_try(&mut self, values: &[&Value]) -> bool {
        let places: u64 = values.iter().map(|value| places(value)).sum();
        let work = places.saturating_mul(self.looks) / LOOKS + TRYING as u64;
        let work = usize::try_from(work).unwrap_or(usize::MAX);
        let enough = work <= self.left;
        self.spend(work);
        enough
    }

    /// Whether two parts say the same, also in what they refer to.
    fn is_same(&self, newer: View<'_>, one: &Value, older: &Value) -> bool {
        is_same((newer, one), (self.older, older), &mut HashSet::new())
    }

    fn is_same_object(&self, newer: View<'_>, one: &Map<String, Value>, older: &Map<String, Value>) -> bool {
        is_same_object((newer, one), (self.older, older), &mut HashSet::new())
    }

    /// A validator for a part of the older schema; none if it refers to what
    /// stands elsewhere than among the definitions.
    fn validator(&self, part: &Value) -> Option<Validator> {
        let mut alone = part.clone();
        if let (Value::Object(alone), Value::Object(root)) = (&mut alone, self.older.root)
            && has_reference(part)
        {
            if !refers_to_definitions_alone(self.older.root) {
                return None;
            }
            for key in DEFINITIONS {
                if let Some(definitions) = root.get(key) {
                    alone.insert(key.to_owned(), definitions.clone());
                }
            }
        }
        super::build(&alone, self.older.draft).ok()
    }
}

fn has_reference(part: &Value) -> bool {
    match part {
        Value::Object(map) => map.contains_key("$ref") || map.values().any(has_reference),
        Value::Array(list) => list.iter().any(has_reference),
        _ => false,
    }
}

/// Whether two parts have the same text, and so has what they refer to. `seen`
/// are pairs that are being compared: by way of themselves they do not differ.
fn is_same<'a>(
    (newer, one): (View<'a>, &'a Value),
    (older, other): (View<'a>, &'a Value),
    seen: &mut HashSet<(usize, usize)>,
) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => is_same_object((newer, one), (older, other), seen),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same((newer, one), (older, other), seen))
        }
        (one, other) => one == other,
    }
}

fn is_same_object<'a>(
    (newer, one): (View<'a>, &'a Map<String, Value>),
    (older, other): (View<'a>, &'a Map<String, Value>),
    seen: &mut HashSet<(usize, usize)>,
) -> bool {
    if one.len() != other.len() {
        return false;
    }
    for (key, value) in one {
        let Some(wanted) = other.get(key) else { return false };
        if !is_same((newer, value), (older, wanted), seen) {
            return false;
        }
        // Where definitions stand says nothing of what they are used for.
        if key == "$ref" {
            let targets = (newer.referred(value), older.referred(wanted));
            let (Some(target), Some(wanted)) = targets else {
                return targets.0.is_none() && targets.1.is_none();
            };
            let is_new = seen.insert((identity(target), identity(wanted)));
            if is_new && !is_same((newer, target), (older, wanted), seen) {
                return false;
            }
        }
    }
    true
}
