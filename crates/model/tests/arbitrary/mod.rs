//! Schemas, changes of schemas, and values for them, all from one number.

#![allow(dead_code, reason = "tests and benchmarks use different parts")]

use serde_json::{Map, Value, json};

/// A source of choices that a number decides (SplitMix64).
pub(crate) struct Choices(u64);

impl Choices {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn one_of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }
}

const NAMES: [&str; 5] = ["id", "total", "status", "lines", "note"];
const PATTERNS: [&str; 3] = ["^a", "^[a-z]+$", "b"];
const FORMATS: [&str; 3] = ["date", "email", "uuid"];

fn scalar(choices: &mut Choices) -> Value {
    match choices.below(8) {
        0 => Value::Null,
        1 => json!(choices.chance(2)),
        2 | 3 => json!(choices.below(7) as i64 - 2),
        4 => json!(choices.below(9) as f64 / 2.0),
        _ => json!(*choices.one_of(&["", "a", "ab", "abc", "b", "2026-11-21", "a@b.de", "zzzzzz"])),
    }
}

/// A schema, sometimes an absurd one.
pub(crate) fn schema(choices: &mut Choices, depth: usize) -> Value {
    if choices.chance(25) {
        return Value::Bool(!choices.chance(3));
    }
    let mut schema = Map::new();
    if depth > 0 && choices.chance(6) {
        let key = *choices.one_of(&["anyOf", "oneOf", "allOf"]);
        let count = 1 + choices.below(3);
        let list: Vec<Value> = (0..count).map(|_| self::schema(choices, depth - 1)).collect();
        schema.insert(key.to_owned(), Value::Array(list));
    }
    if choices.chance(20) {
        schema.insert("not".to_owned(), self::schema(choices, 0));
    }
    if choices.chance(8) {
        let values: Vec<Value> = (0..1 + choices.below(3)).map(|_| scalar(choices)).collect();
        schema.insert("enum".to_owned(), Value::Array(values));
        return Value::Object(schema);
    }
    if choices.chance(15) {
        schema.insert("const".to_owned(), scalar(choices));
    }
    let kinds = ["object", "object", "array", "string", "integer", "number", "boolean", "null"];
    let kind = *choices.one_of(&kinds);
    match choices.below(6) {
        0 => {}
        1 => drop(schema.insert("type".to_owned(), json!([kind, "null"]))),
        _ => drop(schema.insert("type".to_owned(), json!(kind))),
    }
    match kind {
        "object" if depth > 0 => object(choices, depth, &mut schema),
        "array" if depth > 0 => {
            if !choices.chance(4) {
                schema.insert("items".to_owned(), self::schema(choices, depth - 1));
            }
            limit(choices, &mut schema, "minItems", 3);
            limit(choices, &mut schema, "maxItems", 4);
            if choices.chance(5) {
                schema.insert("uniqueItems".to_owned(), json!(choices.chance(2)));
            }
        }
        "string" => {
            limit(choices, &mut schema, "minLength", 3);
            limit(choices, &mut schema, "maxLength", 8);
            if choices.chance(5) {
                schema.insert("pattern".to_owned(), json!(*choices.one_of(&PATTERNS)));
            }
            if choices.chance(8) {
                schema.insert("format".to_owned(), json!(*choices.one_of(&FORMATS)));
            }
        }
        "integer" | "number" => {
            limit(choices, &mut schema, "minimum", 4);
            limit(choices, &mut schema, "maximum", 6);
            limit(choices, &mut schema, "exclusiveMinimum", 3);
            if choices.chance(6) {
                schema.insert("multipleOf".to_owned(), json!(1 + choices.below(3)));
            }
        }
        _ => {}
    }
    Value::Object(schema)
}

fn limit(choices: &mut Choices, schema: &mut Map<String, Value>, key: &str, below: usize) {
    if choices.chance(4) {
        schema.insert(key.to_owned(), json!(choices.below(below)));
    }
}

fn object(choices: &mut Choices, depth: usize, schema: &mut Map<String, Value>) {
    let mut properties = Map::new();
    for name in NAMES {
        if choices.chance(2) {
            properties.insert(name.to_owned(), self::schema(choices, depth - 1));
        }
    }
    let required: Vec<&str> = NAMES.into_iter().filter(|_| choices.chance(4)).collect();
    schema.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    match choices.below(5) {
        0 => drop(schema.insert("additionalProperties".to_owned(), json!(false))),
        1 => drop(schema.insert("additionalProperties".to_owned(), self::schema(choices, depth - 1))),
        _ => {}
    }
    if choices.chance(15) {
        schema.insert("patternProperties".to_owned(), json!({ "^x": self::schema(choices, 0) }));
    }
    limit(choices, schema, "maxProperties", 5);
}

/// A schema with something changed, somewhere.
pub(crate) fn changed(choices: &mut Choices, old: &Value) -> Value {
    let Value::Object(map) = old else { return schema(choices, 1) };
    let mut map = map.clone();
    let keys: Vec<String> = map.keys().cloned().collect();
    if keys.is_empty() || choices.chance(10) {
        if let Value::Object(more) = schema(choices, 1) {
            map.extend(more);
        }
        return Value::Object(map);
    }
    let key = choices.one_of(&keys).clone();
    let value = map[&key].clone();
    match (key.as_str(), value) {
        ("properties" | "patternProperties", Value::Object(mut members)) => {
            let names: Vec<String> = members.keys().cloned().collect();
            match choices.below(4) {
                0 => drop(members.insert((*choices.one_of(&NAMES)).to_owned(), schema(choices, 1))),
                1 if !names.is_empty() => drop(members.remove(choices.one_of(&names))),
                _ => {
                    if !names.is_empty() {
                        let name = choices.one_of(&names).clone();
                        let inner = changed(choices, &members[&name]);
                        members.insert(name, inner);
                    }
                }
            }
            map.insert(key, Value::Object(members));
        }
        ("anyOf" | "oneOf" | "allOf", Value::Array(mut list)) => {
            let place = choices.below(list.len());
            match choices.below(3) {
                0 => list.push(schema(choices, 1)),
                1 if list.len() > 1 => drop(list.remove(place)),
                _ => list[place] = changed(choices, &list[place].clone()),
            }
            map.insert(key, Value::Array(list));
        }
        ("enum", Value::Array(mut values)) => {
            match choices.chance(2) {
                true => values.push(scalar(choices)),
                false if values.len() > 1 => drop(values.pop()),
                false => {}
            }
            map.insert(key, Value::Array(values));
        }
        ("items" | "additionalProperties" | "not", inner) => drop(map.insert(key, changed(choices, &inner))),
        ("required", Value::Array(mut names)) => {
            match choices.chance(2) {
                true => names.push(json!(*choices.one_of(&NAMES))),
                false => drop(names.pop()),
            }
            names.sort_by_key(ToString::to_string);
            names.dedup();
            map.insert(key, Value::Array(names));
        }
        (_, Value::Number(number)) => {
            let moved = (number.as_i64().unwrap_or(1) + choices.below(3) as i64 - 1).max(1);
            map.insert(key, json!(moved));
        }
        ("type", _) => {
            drop(map.insert(key, json!(*choices.one_of(&["object", "string", "integer", "number"]))))
        }
        _ => drop(map.remove(&key)),
    }
    Value::Object(map)
}

/// A value that may fit a schema: it does so often, not always.
pub(crate) fn value(choices: &mut Choices, schema: &Value, depth: usize) -> Value {
    let Value::Object(map) = schema else { return scalar(choices) };
    if choices.chance(12) {
        return scalar(choices);
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(list)) = map.get(key)
            && !list.is_empty()
            && choices.chance(2)
        {
            let chosen = list[choices.below(list.len())].clone();
            return value(choices, &chosen, depth);
        }
    }
    if let Some(Value::Array(values)) = map.get("enum") {
        return choices.one_of(values).clone();
    }
    if let Some(constant) = map.get("const") {
        return constant.clone();
    }
    let kind = match map.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        Some(Value::Array(kinds)) => choices.one_of(kinds).as_str().unwrap_or("null"),
        _ if map.contains_key("properties") => "object",
        _ if map.contains_key("items") => "array",
        _ => return scalar(choices),
    };
    let bound = |key: &str| map.get(key).and_then(Value::as_i64);
    match kind {
        "object" => Value::Object(members(choices, map, depth)),
        "array" => {
            let least = bound("minItems").unwrap_or(0).max(0) as usize;
            let most = bound("maxItems").map_or(least + 2, |most| most.max(0) as usize);
            let count = if most > least { least + choices.below(most - least + 1) } else { most };
            let items = map.get("items").cloned().unwrap_or(Value::Bool(true));
            Value::Array((0..count).map(|_| value(choices, &items, depth.saturating_sub(1))).collect())
        }
        "string" => json!(*choices.one_of(&["", "a", "ab", "abc", "b", "abcdefg", "2026-11-21", "a@b.de"])),
        "integer" => json!(
            bound("minimum").or(bound("exclusiveMinimum").map(|n| n + 1)).unwrap_or(0)
                + choices.below(5) as i64
        ),
        "number" => json!(bound("minimum").unwrap_or(0) as f64 + choices.below(9) as f64 / 2.0),
        "boolean" => json!(choices.chance(2)),
        _ => Value::Null,
    }
}

fn members(choices: &mut Choices, map: &Map<String, Value>, depth: usize) -> Map<String, Value> {
    let mut members = Map::new();
    let required: Vec<&str> = map
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let described = map.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let other = map.get("additionalProperties").cloned().unwrap_or(Value::Bool(true));
    for name in NAMES {
        let schema = described.get(name);
        if required.contains(&name) || (schema.is_some() && !choices.chance(3)) || choices.chance(12) {
            let schema = schema.unwrap_or(&other).clone();
            members.insert(name.to_owned(), value(choices, &schema, depth.saturating_sub(1)));
        }
    }
    if other != Value::Bool(false) && choices.chance(5) {
        members.insert("further".to_owned(), value(choices, &other, depth.saturating_sub(1)));
    }
    members
}
