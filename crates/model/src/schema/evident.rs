//! Schemas of which one can see that they contradict themselves nowhere.
//!
//! Most do: they say what is there, of which type, and within which limits.
//! Every part is looked at once, whoever refers to it, so that it takes no
//! longer than reading. What cannot be seen here is reasoned about.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::document::DEFINITIONS;

/// Keywords that are not looked at here: a schema with one of them is reasoned about.
const OTHERS: [&str; 27] = [
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveRef",
    "additionalItems",
    "allOf",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "maxProperties",
    "minContains",
    "minProperties",
    "multipleOf",
    "not",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "contentSchema",
];
/// Keywords that limit what a value may be.
const LIMITS: [&str; 20] = [
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "type",
];

/// Whether one can see that objects satisfy the schema, and that some value
/// satisfies each of its parts.
pub(super) fn contradicts_nowhere(root: &Value) -> bool {
    let mut walk = Walk { root, seen: HashMap::new() };
    root.get("type") == Some(&Value::from("object")) && walk.is_plain(root)
}

/// What is known of a part.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    /// It is being looked at: whoever needs it now needs itself, without end.
    Open,
    Plain,
}

struct Walk<'a> {
    root: &'a Value,
    seen: HashMap<*const Value, Known>,
}

impl<'a> Walk<'a> {
    /// Whether some value satisfies a part, and each of its own parts.
    fn is_plain(&mut self, schema: &'a Value) -> bool {
        let map = match schema {
            Value::Bool(allows) => return *allows,
            Value::Object(map) => map,
            _ => return false,
        };
        match self.seen.insert(schema, Known::Open) {
            None => {}
            Some(known) => {
                self.seen.insert(schema, known);
                return known == Known::Plain;
            }
        }
        // What it needs comes first; a value of what it only allows may be left out.
        let needed = !map.keys().any(|key| OTHERS.contains(&key.as_str()))
            && self.is_plain_value(map)
            && has_room(map)
            && self.needs_what_can_be(map);
        self.seen.insert(schema, Known::Plain);
        needed && self.allows_what_can_be(map)
    }

    /// Of a reference, a choice or fixed values: nothing else is said beside them.
    fn is_plain_value(&mut self, map: &'a Map<String, Value>) -> bool {
        let alone = |allowed: &[&str]| {
            map.keys().all(|key| !LIMITS.contains(&key.as_str()) || allowed.contains(&key.as_str()))
        };
        if let Some(Value::String(to)) = map.get("$ref") {
            let target = self.target(to);
            return alone(&["$ref"]) && target.is_some_and(|target| self.is_plain(target));
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(choices)) = map.get(key) {
                let told_apart = key == "anyOf" || self.are_told_apart(choices);
                return alone(&[key]) && told_apart && choices.iter().all(|choice| self.is_plain(choice));
            }
        }
        let fixed = map.get("enum").and_then(Value::as_array).map(Vec::as_slice);
        let fixed = fixed.or_else(|| map.get("const").map(std::slice::from_ref));
        match fixed {
            Some(values) => {
                let one = if map.contains_key("enum") { "enum" } else { "const" };
                alone(&[one, "type"])
                    && values.iter().any(|value| kinds(map).is_none_or(|kinds| kinds.contains(&kind(value))))
            }
            None => map.get("type").is_none_or(|_| kinds(map).is_some()),
        }
    }

    fn target(&self, to: &str) -> Option<&'a Value> {
        let pointer = to.strip_prefix('#')?;
        // What is escaped for a URI is left to others.
        (!pointer.contains('%')).then(|| self.root.pointer(pointer)).flatten()
    }

    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|to| self.target(to));
        target.unwrap_or(schema)
    }

    /// Whether no value satisfies two of these: their types differ, or a
    /// property that each requires has another value in each.
    fn are_told_apart(&self, choices: &'a [Value]) -> bool {
        choices.iter().enumerate().all(|(at, one)| {
            choices[..at].iter().all(|other| {
                let (one, other) = (self.resolved(one), self.resolved(other));
                let types = |schema: &'a Value| schema.as_object().and_then(kinds);
                let by_type = types(one).zip(types(other)).is_some_and(|(one, other)| {
                    let is_number = |kind: &&str| matches!(*kind, "integer" | "number");
                    let share_one = one.iter().any(|kind| other.contains(kind));
                    let share_numbers = one.iter().any(is_number) && other.iter().any(is_number);
                    !share_one && !share_numbers
                });
                by_type
                    || tags(one)
                        .any(|(name, tag)| tags(other).any(|(other, value)| name == other && tag != value))
            })
        })
    }

    /// What is required can be there, and items that must be there, too.
    fn needs_what_can_be(&mut self, map: &'a Map<String, Value>) -> bool {
        let members = map.get("properties").and_then(Value::as_object);
        let required =
            map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for name in required {
            let schema =
                members.and_then(|members| members.get(name)).or_else(|| map.get("additionalProperties"));
            if schema.is_some_and(|schema| !self.is_plain(schema)) {
                return false;
            }
        }
        let items = map.get("items").filter(|_| number(map, "minItems").is_some_and(|least| least > 0.0));
        items.is_none_or(|items| self.is_plain(items))
    }

    /// Each part can be satisfied. `false` says openly that nothing does.
    fn allows_what_can_be(&mut self, map: &'a Map<String, Value>) -> bool {
        let members = ["properties"].iter().chain(&DEFINITIONS).filter_map(|key| map.get(*key)?.as_object());
        let members = members.flat_map(Map::values).collect::<Vec<_>>();
        let others = ["items", "additionalProperties"].iter().filter_map(|key| map.get(*key));
        members.into_iter().chain(others).all(|part| part == &Value::Bool(false) || self.is_plain(part))
    }
}

/// The properties that a schema of objects requires to have one text.
fn tags(schema: &Value) -> impl Iterator<Item = (&str, &str)> {
    let required = schema.get("required").filter(|_| schema.get("type") == Some(&Value::from("object")));
    let required = required.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    required
        .filter_map(move |name| Some((name, schema.get("properties")?.get(name)?.get("const")?.as_str()?)))
}

/// The types that a schema names; none if it names none, or others than there are.
fn kinds(map: &Map<String, Value>) -> Option<Vec<&str>> {
    let named: Vec<&str> = match map.get("type")? {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    (!named.is_empty()).then_some(named)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn number(map: &Map<String, Value>, key: &str) -> Option<f64> {
    map.get(key).and_then(Value::as_f64)
}

/// Whether the limits of a schema leave room between them.
fn has_room(map: &Map<String, Value>) -> bool {
    let within = |least: &str, most: &str| {
        number(map, least).zip(number(map, most)).is_none_or(|(least, most)| least <= most)
    };
    let lower = number(map, "minimum").into_iter().chain(number(map, "exclusiveMinimum")).reduce(f64::max);
    let upper = number(map, "maximum").into_iter().chain(number(map, "exclusiveMaximum")).reduce(f64::min);
    // A whole number is between them, whether they count or not.
    let apart = lower.zip(upper).is_none_or(|(lower, upper)| upper - lower >= 2.0);
    let has_length = map.contains_key("minLength") || map.contains_key("maxLength");
    let has_form = map.contains_key("pattern") || map.contains_key("format");
    let one_form = !(map.contains_key("pattern") && map.contains_key("format"));
    let pattern = map.get("pattern").and_then(Value::as_str).is_none_or(can_match);
    within("minLength", "maxLength")
        && within("minItems", "maxItems")
        && apart
        && one_form
        && !(has_form && has_length)
        && pattern
}

/// Whether one can see that some text matches a pattern: it is made of texts,
/// classes that name what is in them, groups, choices and repetitions.
fn can_match(pattern: &str) -> bool {
    let inner = pattern.strip_prefix('^').unwrap_or(pattern);
    let inner = inner.strip_suffix('$').unwrap_or(inner);
    let mut signs = inner.chars().peekable();
    while let Some(sign) = signs.next() {
        let is_plain = match sign {
            '\\' => signs.next().is_some_and(|escaped| "dw.-/+*?()[]{}|".contains(escaped)),
            // In a class a hyphen makes a range, and ranges that are empty are no patterns.
            '[' => signs.peek() != Some(&'^') && signs.peek() != Some(&']'),
            '(' => signs.peek() != Some(&'?'),
            ')' | ']' | '{' | '}' | '|' | '.' | '*' | '+' | '?' | ',' | '-' | '_' | ':' | '/' | '@' | ' '
            | '#' => true,
            sign => sign.is_ascii_alphanumeric(),
        };
        if !is_plain {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_products_publish_can_be_seen_to_contradict_itself_nowhere() {
        for schema in [
            json!({"type": "object"}),
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 100},
                "b": {"type": ["string", "null"], "maxLength": 5}, "c": {"enum": ["x", 1]}, "d": {"type": "array",
                "items": {"type": "string", "pattern": "^[a-z0-9-]+$"}, "minItems": 1}, "e": false}}),
            json!({"type": "object", "properties": {"of": {"$ref": "#/$defs/node"}}, "$defs": {"node": {"type": "object",
                "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "parent": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}}}),
            json!({"type": "object", "required": ["of"], "properties": {"of": {"oneOf": [
                {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "a"}}},
                {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "b"}}}, {"type": "null"}]}}}),
        ] {
            assert!(contradicts_nowhere(&schema), "{schema}");
        }
    }

    fn tagged(kind: &str, tag: Value) -> Value {
        json!({"type": kind, "required": ["k"], "properties": {"k": {"const": tag}}})
    }

    #[test]
    fn nothing_is_said_of_what_contradicts_itself_or_might() {
        for part in [
            json!({"type": "integer", "minimum": 5, "maximum": 4}),
            json!({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}),
            json!({"type": "string", "minLength": 5, "maxLength": 4}),
            json!({"type": "string", "pattern": "a^b"}),
            json!({"type": "string", "pattern": "[^\\s\\S]"}),
            json!({"type": "string", "pattern": "^abc$", "maxLength": 2}),
            json!({"type": "string", "enum": [1, 2]}),
            json!({"const": "a", "minLength": 2}),
            json!({"enum": []}),
            json!({"type": "object", "required": ["x"], "additionalProperties": false}),
            json!({"type": "object", "required": ["x"], "properties": {"x": false}}),
            json!({"type": "array", "minItems": 1, "items": false}),
            json!({"type": "array", "minItems": 3, "maxItems": 2}),
            json!({"oneOf": [{"type": "string"}, {"type": "string"}]}),
            json!({"oneOf": [{"type": "integer"}, {"type": "number"}]}),
            json!({"oneOf": [tagged("string", json!("a")), tagged("string", json!("b"))]}),
            json!({"oneOf": [tagged("object", json!(1)), tagged("object", json!(1.0))]}),
            json!({"type": "string", "pattern": "[^a\\s\\S]"}),
            json!({"type": "string", "pattern": "a\\Ab"}),
            json!({"type": "string", "pattern": "a\\zb"}),
            json!({"anyOf": [{"type": "string"}], "type": "integer"}),
            json!({"allOf": [{"type": "string"}, {"type": "integer"}]}),
            json!({"not": {}}),
            json!({"$ref": "#/$defs/endless"}),
            json!({"$ref": "#/$defs/itself"}),
            json!({"$ref": "#/$defs/missing"}),
        ] {
            let schema = json!({"type": "object", "properties": {"part": part}, "$defs": {
                "endless": {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#/$defs/endless"}}},
                "itself": {"$ref": "#/$defs/itself"}}});
            assert!(!contradicts_nowhere(&schema), "{part}");
        }
        let of_texts = json!({"type": "string"});
        assert!(!contradicts_nowhere(&of_texts) && !contradicts_nowhere(&json!({})));
    }
}
