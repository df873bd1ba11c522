//! A schema as it was written: its parts, and what they refer to.
//!
//! References stand for other parts of the same schema, and are followed where
//! they are met; nothing is copied. A part may refer to itself by way of a
//! property or an item, which ends where the data does, and not in the same
//! place, which would never end.

use std::collections::{HashMap, HashSet};

use jsonschema::Draft;
use serde_json::{Map, Value};

use super::{Fault, MAX_ALTERNATIVES, MAX_DEPTH, MAX_PATTERN};
use crate::json::escape;

/// How many parts a schema may have.
const MAX_PARTS: usize = 10_000;
/// How many patterns there may be.
const MAX_PATTERNS: usize = 200;
/// How many parts may apply to one place by way of one another. Together with
/// the depth of data it bounds how deep the work on a value is nested.
const MAX_CHAIN: usize = 24;
/// Keywords whose value is a schema, or for `items` of draft-07 a list of them.
pub(super) const ONE: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords whose value is a list of schemas.
pub(super) const LISTS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is an object of schemas.
pub(super) const MAPS: [&str; 4] = ["dependencies", "dependentSchemas", "patternProperties", "properties"];
/// Where schemas stand that are referred to.
pub(super) const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// Ways to refer to something that are not followed.
const REFUSED: [&str; 6] =
    ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary"];

/// What tells a part of a schema from all others.
pub(super) fn identity(part: &Value) -> usize {
    std::ptr::from_ref(part) as usize
}

/// The parts of a list at a keyword.
pub(super) fn list<'a>(map: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    map.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The parts of an object at a keyword.
fn members<'a>(map: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    map.get(key).and_then(Value::as_object).into_iter().flat_map(Map::values)
}

/// Looks at a schema and follows its references.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) root: &'a Value,
    pub(super) draft: Draft,
}

impl<'a> View<'a> {
    /// What a part refers to.
    pub(super) fn target(self, part: &Value) -> Option<&'a Value> {
        self.referred(part.get("$ref")?)
    }

    /// What a reference stands for.
    pub(super) fn referred(self, reference: &Value) -> Option<&'a Value> {
        self.root.pointer(&pointer_of(reference.as_str()?)?)
    }

    /// Whether nothing counts but the reference of a part, as in draft-07.
    pub(super) fn hides_beside_reference(self, map: &Map<String, Value>) -> bool {
        self.draft == Draft::Draft7 && map.contains_key("$ref")
    }

    /// The keywords of a part that count, without its reference.
    pub(super) fn keywords(self, part: &'a Value) -> Option<&'a Map<String, Value>> {
        part.as_object().filter(|map| !self.hides_beside_reference(map))
    }

    /// The parts that apply to the same place by way of this one.
    pub(super) fn in_place(self, part: &'a Value) -> Vec<&'a Value> {
        let mut parts: Vec<&Value> = self.target(part).into_iter().collect();
        let Some(map) = self.keywords(part) else { return parts };
        for key in ["allOf", "anyOf", "oneOf"] {
            parts.extend(list(map, key));
        }
        for key in ["not", "if", "then", "else"] {
            parts.extend(map.get(key));
        }
        for key in ["dependentSchemas", "dependencies"] {
            // "dependencies" of draft-07 may name properties.
            parts.extend(members(map, key).filter(|part| !part.is_array()));
        }
        parts
    }

    /// The parts that may apply to the items of a list by way of this one.
    pub(super) fn of_items(self, part: &'a Value) -> Vec<&'a Value> {
        let Some(map) = self.keywords(part) else { return Vec::new() };
        let one = |key: &str| match map.get(key) {
            Some(Value::Array(list)) => list.iter().collect::<Vec<_>>(),
            Some(part) => vec![part],
            None => Vec::new(),
        };
        ["items", "prefixItems", "additionalItems", "contains", "unevaluatedItems"]
            .into_iter()
            .flat_map(one)
            .collect()
    }
}

/// The JSON pointer in a reference within a schema.
fn pointer_of(reference: &str) -> Option<String> {
    let target = reference.strip_prefix('#')?;
    let encoded = format!("t={}", target.replace('+', "%2B").replace('&', "%26"));
    let plain = url::form_urlencoded::parse(encoded.as_bytes()).next().map(|(_, text)| text.into_owned())?;
    (plain.is_empty() || plain.starts_with('/')).then_some(plain)
}

/// Does something with each part that stands in this one.
pub(super) fn each_part<'a>(part: &'a Value, mut visit: impl FnMut(String, &'a Value)) {
    for (key, value) in part.as_object().into_iter().flatten() {
        let at = format!("/{}", escape(key));
        match value {
            Value::Array(list) if LISTS.contains(&key.as_str()) || key == "items" => {
                list.iter().enumerate().for_each(|(index, part)| visit(format!("{at}/{index}"), part));
            }
            Value::Object(map) if MAPS.contains(&key.as_str()) || DEFINITIONS.contains(&key.as_str()) => {
                for (name, part) in map.iter().filter(|(_, part)| !part.is_array()) {
                    visit(format!("{at}/{}", escape(name)), part);
                }
            }
            value if ONE.contains(&key.as_str()) => visit(at, value),
            _ => {}
        }
    }
}

/// Whether all that is referred to stands among the definitions.
pub(crate) fn refers_to_definitions_alone(root: &Value) -> bool {
    let own = root.get("$ref").and_then(Value::as_str);
    let defined = |text: &str| text.starts_with("#/$defs/") || text.starts_with("#/definitions/");
    let mut alone = own.is_none_or(defined);
    each_part(root, |_, part| alone &= refers_to_definitions_alone(part));
    alone
}

/// Checks the form of a schema: all that is wrong is told.
pub(super) fn check(root: &Value, draft: Draft) -> Result<(), Vec<Fault>> {
    let view = View { root, draft };
    let mut checker = Checker {
        view,
        parts: 0,
        patterns: 0,
        seen: HashSet::new(),
        targets: HashSet::new(),
        faults: Vec::new(),
    };
    checker.part(root, "", 0);
    if checker.faults.is_empty() {
        checker.check_chains();
    }
    checker.faults.dedup();
    if checker.faults.is_empty() { Ok(()) } else { Err(checker.faults) }
}

/// Whether the keywords of a part are as the draft wants them.
fn check_form(part: &Value, draft: Draft) -> Result<(), String> {
    let checked = match draft {
        Draft::Draft7 => jsonschema::draft7::meta::validate(part),
        _ => jsonschema::draft202012::meta::validate(part),
    };
    checked.map_err(|error| error.to_string())
}

struct Checker<'a> {
    view: View<'a>,
    parts: usize,
    patterns: usize,
    /// The parts that were looked at.
    seen: HashSet<usize>,
    /// Those of them that something refers to.
    targets: HashSet<usize>,
    faults: Vec<Fault>,
}

impl<'a> Checker<'a> {
    fn fault(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if self.faults.len() < super::TOLD {
            self.faults.push(Fault::new(pointer, detail));
        }
    }

    fn part(&mut self, part: &'a Value, pointer: &str, depth: usize) {
        if !self.seen.insert(identity(part)) {
            return;
        }
        self.parts += 1;
        if self.parts > MAX_PARTS || depth > MAX_DEPTH {
            self.faults.clear();
            return self
                .fault("", format!("is too large: more than {MAX_PARTS} parts or {MAX_DEPTH} levels"));
        }
        let object = match part {
            Value::Object(object) => object,
            Value::Bool(_) => return,
            _ => return self.fault(pointer, "must be a schema: an object, true or false"),
        };
        self.check_keywords(object, pointer);
        let mut within = Vec::new();
        each_part(part, |at, inner| within.push((at, inner)));
        for (at, inner) in within {
            self.part(inner, &format!("{pointer}{at}"), depth + 1);
        }
        if let Some(reference) = object.get("$ref")
            && let Some((target, at)) = self.follow(reference, pointer)
        {
            // It may stand where the draft knows of no schema.
            if self.targets.insert(identity(target))
                && let Err(detail) = check_form(target, self.view.draft)
            {
                self.fault(at.clone(), detail);
            }
            self.part(target, &at, 1);
        }
    }

    fn follow(&mut self, reference: &Value, pointer: &str) -> Option<(&'a Value, String)> {
        let here = format!("{pointer}/$ref");
        let Some(text) = reference.as_str() else {
            self.fault(here, "must be a text");
            return None;
        };
        if !text.starts_with('#') {
            self.fault(here, "points outside the schema, and nothing is fetched; copy it under $defs");
            return None;
        }
        let Some(plain) = pointer_of(text) else {
            self.fault(here, "must be a JSON pointer such as #/$defs/money");
            return None;
        };
        let target = self.view.root.pointer(&plain);
        if target.is_none() {
            self.fault(here, "points to nothing in this schema");
        }
        target.map(|target| (target, plain))
    }

    fn check_keywords(&mut self, object: &Map<String, Value>, pointer: &str) {
        for name in REFUSED {
            if object.contains_key(name) {
                self.fault(format!("{pointer}/{name}"), "is not supported; use $ref with a JSON pointer");
            }
        }
        if object.contains_key("$id") && !pointer.is_empty() {
            self.fault(format!("{pointer}/$id"), "is not supported below the root");
        }
        if object.get("format").and_then(Value::as_str) == Some("regex") {
            let detail = "is not supported: expressions in data cannot be bounded";
            self.fault(format!("{pointer}/format"), detail);
        }
        if object.get("x-sensitive").is_some_and(|marked| !marked.is_boolean()) {
            self.fault(format!("{pointer}/x-sensitive"), "must be true or false");
        }
        for key in LISTS.iter().chain(&["items"]) {
            if object.get(*key).and_then(Value::as_array).is_some_and(|list| list.len() > MAX_ALTERNATIVES) {
                let detail = format!("has more than {MAX_ALTERNATIVES} entries");
                self.fault(format!("{pointer}/{key}"), detail);
            }
        }
        self.check_patterns(object, pointer);
    }

    fn check_patterns(&mut self, object: &Map<String, Value>, pointer: &str) {
        let own = object.get("pattern").and_then(Value::as_str);
        let named = object.get("patternProperties").and_then(Value::as_object);
        self.patterns += usize::from(own.is_some()) + named.map_or(0, Map::len);
        if self.patterns > MAX_PATTERNS {
            self.fault(pointer, format!("has more than {MAX_PATTERNS} patterns, with those before it"));
        }
        let long = |pattern: &str| pattern.len() > MAX_PATTERN;
        if own.is_some_and(long) {
            self.fault(format!("{pointer}/pattern"), format!("is longer than {MAX_PATTERN} bytes"));
        }
        if named.is_some_and(|patterns| patterns.keys().any(|pattern| long(pattern))) {
            let detail = format!("has a pattern that is longer than {MAX_PATTERN} bytes");
            self.fault(format!("{pointer}/patternProperties"), detail);
        }
    }

    /// Nothing leads back to itself in the same place, and no chain is too long.
    fn check_chains(&mut self) {
        let mut chains = Chains { view: self.view, lengths: HashMap::new() };
        let mut parts = vec![(String::new(), self.view.root)];
        let mut seen = HashSet::new();
        while let Some((pointer, part)) = parts.pop() {
            if !seen.insert(identity(part)) {
                continue;
            }
            if let Err(detail) = chains.length(part, MAX_CHAIN) {
                return self.fault(pointer, detail);
            }
            each_part(part, |at, inner| parts.push((format!("{pointer}{at}"), inner)));
            let reference = part.get("$ref").and_then(Value::as_str);
            let target = reference.and_then(pointer_of).zip(self.view.target(part));
            parts.extend(target);
        }
    }
}

/// How many parts apply to one place by way of one another.
struct Chains<'a> {
    view: View<'a>,
    /// None while a part is being looked at.
    lengths: HashMap<usize, Option<usize>>,
}

impl<'a> Chains<'a> {
    fn length(&mut self, part: &'a Value, left: usize) -> Result<usize, String> {
        let too_long =
            || format!("applies more than {MAX_CHAIN} of its parts to one place, one by the other");
        match self.lengths.get(&identity(part)) {
            Some(Some(length)) if *length > left => return Err(too_long()),
            Some(Some(length)) => return Ok(*length),
            Some(None) => {
                let reference = part.get("$ref").and_then(Value::as_str).unwrap_or("a part of it");
                let detail = "leads back to itself in the same place, and would never end";
                return Err(format!("{reference} {detail}"));
            }
            None => {}
        }
        if left == 0 {
            return Err(too_long());
        }
        self.lengths.insert(identity(part), None);
        let mut longest = 0;
        for next in self.view.in_place(part) {
            longest = longest.max(self.length(next, left - 1)?);
        }
        self.lengths.insert(identity(part), Some(longest + 1));
        Ok(longest + 1)
    }
}
