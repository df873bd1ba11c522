//! What is nobody's business: fields marked with `"x-sensitive": true`.

use serde_json::Value;

use super::places::of_items;

/// What stands in the place of a sensitive value.
const MASK: &str = "***";

/// Whether anything in a schema is marked.
pub(super) fn is_marked(schema: &Value) -> bool {
    match schema {
        Value::Object(object) => {
            object.get("x-sensitive") == Some(&Value::Bool(true)) || object.values().any(is_marked)
        }
        Value::Array(list) => list.iter().any(is_marked),
        _ => false,
    }
}

/// The data, masked as a schema without references wants it.
pub(super) fn masked(data: &Value, schema: &Value) -> Value {
    mask(data, &[schema])
}

fn mask(data: &Value, schemas: &[&Value]) -> Value {
    let mut here = Vec::new();
    schemas.iter().for_each(|schema| in_place(schema, &mut here));
    if here.iter().any(|schema| schema.get("x-sensitive") == Some(&Value::Bool(true))) {
        return Value::from(MASK);
    }
    match data {
        Value::Object(members) => {
            let below = |(name, value): (&String, &Value)| {
                let schemas: Vec<&Value> = here.iter().flat_map(|schema| of_property(schema, name)).collect();
                (name.clone(), mask(value, &schemas))
            };
            Value::Object(members.iter().map(below).collect())
        }
        Value::Array(items) => {
            let schemas: Vec<&Value> = here.iter().flat_map(|schema| of_items(schema)).collect();
            Value::Array(items.iter().map(|item| mask(item, &schemas)).collect())
        }
        _ => data.clone(),
    }
}

/// The schema, and all that may apply to the same place: one mark is enough,
/// whichever alternative it stands in.
fn in_place<'a>(schema: &'a Value, here: &mut Vec<&'a Value>) {
    here.push(schema);
    for key in ["allOf", "anyOf", "oneOf"] {
        let parts = schema.get(key).and_then(Value::as_array).into_iter().flatten();
        parts.for_each(|part| in_place(part, here));
    }
    for key in ["if", "then", "else", "not"] {
        schema.get(key).into_iter().for_each(|part| in_place(part, here));
    }
    for key in ["dependentSchemas", "dependencies"] {
        let dependent = schema.get(key).and_then(Value::as_object);
        dependent.into_iter().flat_map(|map| map.values()).for_each(|part| in_place(part, here));
    }
}

fn of_property<'a>(schema: &'a Value, name: &str) -> Vec<&'a Value> {
    // A pattern is taken to match: rather too much is masked than too little.
    let by_pattern = schema.get("patternProperties").and_then(Value::as_object);
    let by_pattern = by_pattern.into_iter().flat_map(|map| map.values());
    let named = schema.get("properties").and_then(|properties| properties.get(name));
    let other = if named.is_none() { schema.get("additionalProperties") } else { None };
    let rest = schema.get("unevaluatedProperties");
    named.into_iter().chain(other).chain(rest).chain(by_pattern).collect()
}
