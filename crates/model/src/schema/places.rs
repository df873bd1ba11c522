//! Which schemas apply to which places of a value.

use serde_json::Value;

/// The schemas that may apply to the items of a list.
pub(super) fn of_items(schema: &Value) -> Vec<&Value> {
    let one = |key: &str| match schema.get(key) {
        Some(Value::Array(list)) => list.iter().collect::<Vec<_>>(),
        Some(schema) => vec![schema],
        None => Vec::new(),
    };
    ["items", "prefixItems", "additionalItems", "contains", "unevaluatedItems"]
        .into_iter()
        .flat_map(one)
        .collect()
}
