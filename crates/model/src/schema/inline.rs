//! References, which stand only for other parts of the same schema.

use jsonschema::Draft;
use serde_json::{Map, Value, json};

use super::{Fault, MAX_ALTERNATIVES, MAX_DEPTH, MAX_PATTERN};
use crate::json::escape;

/// How many places a schema may have when everything stands where it is
/// referred to.
const MAX_PLACES: usize = 5_000;
/// How many patterns there may be, counted in the same way.
const MAX_PATTERNS: usize = 200;
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
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// Ways to refer to something that are not followed.
const REFUSED: [&str; 6] =
    ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary"];

struct Inliner<'a> {
    root: &'a Value,
    draft: Draft,
    places: usize,
    patterns: usize,
    /// Where the references point that are being followed.
    following: Vec<String>,
    faults: Vec<Fault>,
}

/// The schema with everything that it refers to in its place.
pub(super) fn inline(root: &Value, draft: Draft) -> Result<Value, Vec<Fault>> {
    let mut inliner =
        Inliner { root, draft, places: 0, patterns: 0, following: Vec::new(), faults: Vec::new() };
    let inlined = inliner.schema(root, "", 0);
    for name in DEFINITIONS {
        // What nobody refers to is checked all the same.
        for (key, definition) in root.get(name).and_then(Value::as_object).into_iter().flatten() {
            inliner.schema(definition, &format!("/{name}/{}", escape(key)), 1);
        }
    }
    inliner.faults.dedup();
    if inliner.faults.is_empty() { Ok(inlined) } else { Err(inliner.faults) }
}

impl Inliner<'_> {
    fn fault(&mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Value {
        if self.faults.len() < super::TOLD {
            self.faults.push(Fault::new(pointer, detail));
        }
        Value::Bool(true)
    }

    fn schema(&mut self, schema: &Value, pointer: &str, depth: usize) -> Value {
        self.places += 1;
        if self.places > MAX_PLACES || depth > MAX_DEPTH {
            self.faults.clear();
            let detail = format!("is too large: more than {MAX_PLACES} places or {MAX_DEPTH} levels");
            return self.fault("", detail);
        }
        let object = match schema {
            Value::Object(object) => object,
            Value::Bool(_) => return schema.clone(),
            _ => return self.fault(pointer, "must be a schema: an object, true or false"),
        };
        self.check_keywords(object, pointer);
        let target = object.get("$ref").map(|reference| self.follow(reference, pointer, depth));
        match target {
            // In draft-07 nothing counts beside a reference.
            Some(target) if self.draft == Draft::Draft7 => match object.get("x-sensitive") {
                // This mark is our own, and counts wherever it stands.
                Some(Value::Bool(true)) => json!({ "allOf": [target], "x-sensitive": true }),
                _ => target,
            },
            Some(target) => {
                let mut rest = self.parts(object, pointer, depth);
                rest.remove("$ref");
                if rest.is_empty() {
                    return target;
                }
                match rest.get_mut("allOf").and_then(Value::as_array_mut) {
                    Some(all) => all.push(target),
                    None => drop(rest.insert("allOf".to_owned(), json!([target]))),
                }
                Value::Object(rest)
            }
            None => Value::Object(self.parts(object, pointer, depth)),
        }
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
            self.fault(
                format!("{pointer}/format"),
                "is not supported: expressions in data cannot be bounded",
            );
        }
        if object.get("x-sensitive").is_some_and(|marked| !marked.is_boolean()) {
            self.fault(format!("{pointer}/x-sensitive"), "must be true or false");
        }
        let own = usize::from(object.contains_key("pattern"));
        self.patterns += own + object.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
        if self.patterns > MAX_PATTERNS {
            self.fault(pointer, format!("has more than {MAX_PATTERNS} patterns, with what it refers to"));
        }
        let long = |pattern: &str| pattern.len() > MAX_PATTERN;
        if object.get("pattern").and_then(Value::as_str).is_some_and(long) {
            self.fault(format!("{pointer}/pattern"), format!("is longer than {MAX_PATTERN} bytes"));
        }
        let patterns = object.get("patternProperties").and_then(Value::as_object);
        if patterns.is_some_and(|patterns| patterns.keys().any(|pattern| long(pattern))) {
            let detail = format!("has a pattern that is longer than {MAX_PATTERN} bytes");
            self.fault(format!("{pointer}/patternProperties"), detail);
        }
    }

    fn follow(&mut self, reference: &Value, pointer: &str, depth: usize) -> Value {
        let here = format!("{pointer}/$ref");
        let Some(text) = reference.as_str() else { return self.fault(here, "must be a text") };
        let Some(target) = text.strip_prefix('#') else {
            return self
                .fault(here, "points outside the schema, and nothing is fetched; copy it under $defs");
        };
        let plain = url::form_urlencoded::parse(format!("t={}", target.replace('+', "%2B")).as_bytes())
            .next()
            .map(|(_, text)| text.into_owned())
            .unwrap_or_default();
        if !plain.is_empty() && !plain.starts_with('/') {
            return self.fault(here, "must be a JSON pointer such as #/$defs/money");
        }
        let Some(schema) = self.root.pointer(&plain) else {
            return self.fault(here, "points to nothing in this schema");
        };
        if self.following.contains(&plain) || plain.is_empty() || is_within(pointer, &plain) {
            return self.fault(here, "leads back to itself; a schema that contains itself is not supported");
        }
        self.following.push(plain.clone());
        let inlined = self.schema(schema, &plain, depth + 1);
        self.following.pop();
        inlined
    }

    fn parts(&mut self, object: &Map<String, Value>, pointer: &str, depth: usize) -> Map<String, Value> {
        let mut parts = Map::new();
        for (key, value) in object {
            if DEFINITIONS.contains(&key.as_str()) || key == "$schema" || key == "$id" {
                continue;
            }
            let at = format!("{pointer}/{}", escape(key));
            let inlined = match (key.as_str(), value) {
                (name, Value::Array(list)) if LISTS.contains(&name) || name == "items" => {
                    self.list(list, &at, depth)
                }
                (name, Value::Object(map)) if MAPS.contains(&name) => self.map(map, &at, depth),
                (name, schema) if ONE.contains(&name) => self.schema(schema, &at, depth + 1),
                _ => value.clone(),
            };
            parts.insert(key.clone(), inlined);
        }
        parts
    }

    fn list(&mut self, list: &[Value], pointer: &str, depth: usize) -> Value {
        if list.len() > MAX_ALTERNATIVES {
            return self.fault(pointer, format!("has more than {MAX_ALTERNATIVES} entries"));
        }
        let place =
            |(index, schema): (usize, &Value)| self.schema(schema, &format!("{pointer}/{index}"), depth + 1);
        Value::Array(list.iter().enumerate().map(place).collect())
    }

    fn map(&mut self, map: &Map<String, Value>, pointer: &str, depth: usize) -> Value {
        let mut inlined = Map::new();
        for (key, schema) in map {
            let schema = match schema {
                // "dependencies" of draft-07 may name properties.
                Value::Array(_) => schema.clone(),
                schema => self.schema(schema, &format!("{pointer}/{}", escape(key)), depth + 1),
            };
            inlined.insert(key.clone(), schema);
        }
        Value::Object(inlined)
    }
}

/// Whether a place is the other one or stands in it.
fn is_within(place: &str, outer: &str) -> bool {
    place.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
