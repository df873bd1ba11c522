//! What a downgrade makes of a schema: what can be promised of the data that
//! comes out of it.
//!
//! Data is taken to have what its schema describes. Members that nobody
//! describes pass through a downgrade, and each event is checked in the end.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Part, Place, Step};
use crate::schema::{Fault, Schema, refers_to_definitions_alone};

/// Keywords beside which a step cannot tell what it does.
const HARD: [&str; 9] = [
    "allOf",
    "anyOf",
    "dependencies",
    "dependentSchemas",
    "if",
    "not",
    "oneOf",
    "patternProperties",
    "unevaluatedProperties",
];

/// What a step could not do.
enum Stuck {
    /// There is no such place in the schema.
    Missing,
    /// Nothing can be told.
    Unknown,
}

/// The schema of what comes out; none if it cannot be told.
pub(super) fn promised(steps: &[Step], newer: &Schema) -> Result<Option<Value>, Vec<Fault>> {
    // A step changes one place, and not all that refers to it.
    if !refers_to_definitions_alone(newer.root()) {
        return Ok(None);
    }
    let mut schema = Closing { newer, named: BTreeMap::new() }.close();
    let definitions = json!({ "$defs": schema.get("$defs"), "definitions": schema.get("definitions") });
    let mut faults = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        match run(step, &definitions, &mut schema) {
            Ok(()) => {}
            Err(Stuck::Unknown) => return if faults.is_empty() { Ok(None) } else { Err(faults) },
            Err(Stuck::Missing) => faults.push(Fault {
                pointer: format!("/steps/{index}"),
                detail: "is about a place that the newer schema does not describe".to_owned(),
            }),
        }
    }
    if faults.is_empty() { Ok(Some(schema)) } else { Err(faults) }
}

/// Makes the schema of data that has nothing but what is described.
struct Closing<'a> {
    newer: &'a Schema,
    /// The closed forms of definitions, by their references.
    named: BTreeMap<String, Value>,
}

impl Closing<'_> {
    fn close(mut self) -> Value {
        let mut schema = self.closed(self.newer.root());
        if let (Value::Object(schema), false) = (&mut schema, self.named.is_empty()) {
            let definitions = schema.entry(self.newer.definitions()).or_insert_with(|| json!({}));
            if let Value::Object(definitions) = definitions {
                let named = self.named.into_iter();
                definitions.extend(named.map(|(reference, closed)| (closed_name(&reference), closed)));
            }
        }
        schema
    }

    fn closed(&mut self, schema: &Value) -> Value {
        let Value::Object(map) = schema else { return schema.clone() };
        if let (Some(Value::String(reference)), Some(target)) = (map.get("$ref"), self.newer.target(schema)) {
            if !self.named.contains_key(reference) {
                self.named.insert(reference.clone(), Value::Bool(true));
                let closed = self.closed(target);
                self.named.insert(reference.clone(), closed);
            }
            let mut copy = schema.clone();
            copy["$ref"] = Value::from(format!("#/{}/{}", self.newer.definitions(), closed_name(reference)));
            return copy;
        }
        let mut closed_map = Map::new();
        for (key, value) in map {
            let inner = match (key.as_str(), value) {
                ("properties", Value::Object(members)) => {
                    let closed = members.iter().map(|(name, schema)| (name.clone(), self.closed(schema)));
                    Value::Object(closed.collect())
                }
                ("items", schema) if !schema.is_array() => self.closed(schema),
                _ => value.clone(),
            };
            closed_map.insert(key.clone(), inner);
        }
        let simple = !HARD.iter().any(|key| map.contains_key(*key));
        if simple && map.contains_key("properties") && !map.contains_key("additionalProperties") {
            closed_map.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
        Value::Object(closed_map)
    }
}

/// The name of the closed form of what a reference stands for.
fn closed_name(reference: &str) -> String {
    reference.bytes().fold("closed_".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// Puts what a part refers to in its place, so that it can be changed there
/// and nowhere else.
fn copy_target(root: &Value, part: &mut Value) -> Result<(), Stuck> {
    // Definitions may refer to one another, and not in a circle.
    while let Some(reference) = part.get("$ref").and_then(Value::as_str) {
        let beside =
            part.as_object().is_some_and(|map| map.keys().any(|key| !SAYS_NOTHING.contains(&key.as_str())));
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        let (Some(target), false) = (target, beside) else { return Err(Stuck::Unknown) };
        *part = target.clone();
    }
    Ok(())
}

/// What may stand beside a reference and says nothing of the data.
const SAYS_NOTHING: [&str; 6] = ["$ref", "description", "title", "$comment", "deprecated", "x-sensitive"];

/// The schema of the object at a place. What is referred to on the way is
/// copied from the definitions.
fn container<'a>(
    definitions: &Value,
    schema: &'a mut Value,
    way: &[Part],
) -> Result<&'a mut Map<String, Value>, Stuck> {
    copy_target(definitions, schema)?;
    let Value::Object(map) = schema else { return Err(Stuck::Unknown) };
    if HARD.iter().any(|key| map.contains_key(*key)) {
        return Err(Stuck::Unknown);
    }
    let Some((next, rest)) = way.split_first() else { return Ok(map) };
    let inner = match next {
        Part::Name(name) => map.get_mut("properties").and_then(|properties| properties.get_mut(name)),
        Part::Each => map.get_mut("items").filter(|items| !items.is_array()),
    };
    container(definitions, inner.ok_or(Stuck::Missing)?, rest)
}

fn properties(container: &mut Map<String, Value>) -> Result<&mut Map<String, Value>, Stuck> {
    container.entry("properties").or_insert_with(|| json!({})).as_object_mut().ok_or(Stuck::Unknown)
}

fn is_required(container: &Map<String, Value>, name: &str) -> bool {
    let required = container.get("required").and_then(Value::as_array);
    required.is_some_and(|required| required.iter().any(|known| known == name))
}

fn set_required(container: &mut Map<String, Value>, name: &str, wanted: bool) {
    let required = container.entry("required").or_insert_with(|| json!([]));
    if let Value::Array(names) = required {
        names.retain(|known| known != name);
        if wanted {
            names.push(Value::from(name));
        }
    }
}

/// Takes a member away. Gives its schema and whether it was always there.
fn take(definitions: &Value, schema: &mut Value, place: &Place) -> Result<(Value, bool), Stuck> {
    let (way, name) = place.split();
    let container = container(definitions, schema, way)?;
    let was_required = is_required(container, name);
    let taken = properties(container)?.remove(name).filter(|taken| taken != &Value::Bool(false));
    set_required(container, name, false);
    properties(container)?.insert(name.to_owned(), Value::Bool(false));
    Ok((taken.ok_or(Stuck::Missing)?, was_required))
}

/// Whether everything on the way is always there, from a place of the way on.
fn is_always_there(
    definitions: &Value,
    schema: &mut Value,
    way: &[Part],
    since: usize,
) -> Result<bool, Stuck> {
    for place in since..way.len() {
        if let Part::Name(name) = &way[place] {
            if !is_required(container(definitions, schema, &way[..place])?, name) {
                return Ok(false);
            }
            // One that may be null as well has no members then.
            if container(definitions, schema, &way[..=place])?.get("type") != Some(&json!("object")) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn put(
    definitions: &Value,
    schema: &mut Value,
    place: &Place,
    member: Value,
    always: bool,
) -> Result<(), Stuck> {
    let (way, name) = place.split();
    // Objects that are missing on the way are made.
    for end in 0..way.len() {
        if let Part::Name(next) = &way[end] {
            let parent = container(definitions, schema, &way[..end])?;
            let described = properties(parent)?.get(next).is_some_and(|known| known != &Value::Bool(false));
            if !described {
                let made = json!({ "type": "object", "properties": {}, "additionalProperties": false });
                properties(parent)?.insert(next.clone(), made);
            }
            if always {
                set_required(parent, next, true);
            }
        }
    }
    let container = container(definitions, schema, way)?;
    let there = properties(container)?.get(name).cloned().filter(|known| known != &Value::Bool(false));
    let after = match there {
        Some(there) if !always => json!({ "anyOf": [member, there] }),
        _ => member,
    };
    let required = always || is_required(container, name);
    properties(container)?.insert(name.to_owned(), after);
    set_required(container, name, required);
    Ok(())
}

fn run(step: &Step, definitions: &Value, schema: &mut Value) -> Result<(), Stuck> {
    match step {
        Step::Drop { at } => take(definitions, schema, at).map(|_| ()),
        Step::Move { from, to } => {
            let (way, _) = from.split();
            let reached = is_always_there(definitions, schema, way, from.shared()).unwrap_or(false);
            let (member, required) = take(definitions, schema, from)?;
            put(definitions, schema, to, member, required && reached)
        }
        Step::Default { at, value } => {
            let (way, name) = at.split();
            let container = container(definitions, schema, way)?;
            let there =
                properties(container)?.get(name).cloned().filter(|known| known != &Value::Bool(false));
            let new = json!({ "const": value });
            let after = match there {
                Some(there) if is_required(container, name) => there,
                Some(there) => json!({ "anyOf": [there, new] }),
                None => new,
            };
            properties(container)?.insert(name.to_owned(), after);
            set_required(container, name, true);
            Ok(())
        }
        Step::Map { at, values, otherwise } => {
            let (way, name) = at.split();
            let member =
                properties(container(definitions, schema, way)?)?.get_mut(name).ok_or(Stuck::Missing)?;
            copy_target(definitions, member)?;
            let known = match (member.get("const"), member.get("enum")) {
                (Some(one), _) => Some(vec![one.clone()]),
                (None, Some(Value::Array(values))) => Some(values.clone()),
                _ => None,
            };
            let key = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            *member = match (known, otherwise) {
                (Some(known), _) => {
                    let mapped = known.into_iter().map(|value| {
                        values.get(&key(&value)).or(otherwise.as_ref()).cloned().unwrap_or(value)
                    });
                    json!({ "enum": mapped.collect::<Vec<_>>() })
                }
                (None, Some(otherwise)) => {
                    json!({ "enum": values.values().chain([otherwise]).collect::<Vec<_>>() })
                }
                (None, None) => {
                    json!({ "anyOf": [member.clone(), { "enum": values.values().collect::<Vec<_>>() }] })
                }
            };
            Ok(())
        }
    }
}
