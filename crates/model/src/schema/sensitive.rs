//! What is nobody's business: fields marked with `"x-sensitive": true`.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::document::{View, each_part, identity};

/// What stands in the place of a sensitive value.
pub(super) const MASK: &str = "***";

fn is_marked(part: &Value) -> bool {
    part.get("x-sensitive") == Some(&Value::Bool(true))
}

/// Whether anything in a schema is marked.
pub(super) fn has_marked(view: View<'_>) -> bool {
    let (mut parts, mut seen) = (vec![view.root], HashSet::new());
    while let Some(part) = parts.pop() {
        if is_marked(part) {
            return true;
        }
        if seen.insert(identity(part)) {
            each_part(part, |_, inner| parts.push(inner));
            parts.extend(view.target(part));
        }
    }
    false
}

/// The data, masked as a schema wants it.
pub(super) fn masked(data: &Value, view: View<'_>) -> Value {
    mask(data, &[view.root], view)
}

fn mask<'a>(data: &Value, parts: &[&'a Value], view: View<'a>) -> Value {
    let mut here = Vec::new();
    let mut seen = HashSet::new();
    parts.iter().for_each(|part| in_place(part, view, &mut here, &mut seen));
    if here.iter().any(|part| is_marked(part)) {
        return Value::from(MASK);
    }
    match data {
        Value::Object(members) => {
            let below = |(name, value): (&String, &Value)| {
                let parts: Vec<&Value> = here.iter().flat_map(|part| of_property(view, part, name)).collect();
                (name.clone(), mask(value, &parts, view))
            };
            Value::Object(members.iter().map(below).collect())
        }
        Value::Array(items) => {
            let parts: Vec<&Value> = here.iter().flat_map(|part| view.of_items(part)).collect();
            Value::Array(items.iter().map(|item| mask(item, &parts, view)).collect())
        }
        _ => data.clone(),
    }
}

/// The part, and all that may apply to the same place: one mark is enough,
/// whichever alternative it stands in.
fn in_place<'a>(part: &'a Value, view: View<'a>, here: &mut Vec<&'a Value>, seen: &mut HashSet<usize>) {
    if seen.insert(identity(part)) {
        here.push(part);
        view.in_place(part).into_iter().for_each(|inner| in_place(inner, view, here, seen));
    }
}

fn of_property<'a>(view: View<'a>, part: &'a Value, name: &str) -> Vec<&'a Value> {
    let Some(map) = view.keywords(part) else { return Vec::new() };
    // A pattern is taken to match: rather too much is masked than too little.
    let by_pattern = map.get("patternProperties").and_then(Value::as_object);
    let by_pattern = by_pattern.into_iter().flat_map(Map::values);
    let named = map.get("properties").and_then(|properties| properties.get(name));
    let other = if named.is_none() { map.get("additionalProperties") } else { None };
    let rest = map.get("unevaluatedProperties");
    named.into_iter().chain(other).chain(rest).chain(by_pattern).collect()
}
