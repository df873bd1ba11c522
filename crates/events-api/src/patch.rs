//! JSON Merge Patch (RFC 7396).

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::incoming::{Text, array_for_object, parse_checked};
use crate::outgoing::to_json;
use crate::problem::Problem;

/// What `present` becomes when the patch in `text` is applied.
pub(crate) fn apply<T: Serialize + DeserializeOwned>(present: &T, text: &Text) -> Result<T, Problem> {
    apply_value(present, text.parse()?)
}

/// Like [`apply`], with a patch that was read already.
pub(crate) fn apply_value<T: Serialize + DeserializeOwned>(present: &T, patch: Value) -> Result<T, Problem> {
    if !patch.is_object() {
        return Err(Problem::invalid("", "invalid_type", "a patch is a JSON object"));
    }
    refuse_unknown_nulls::<T>(&patch, &mut Vec::new())?;
    let sent = patch.clone();
    let mut value = serde_json::to_value(present).expect("what was read has a JSON form");
    merge(&mut value, patch);
    let read: T = parse_checked(&to_json(&value), "")?;
    let known = serde_json::to_value(&read).unwrap_or_default();
    match array_for_object(&sent, &known) {
        Some(pointer) => Err(Problem::invalid(pointer, "invalid_type", "must be an object, not an array")),
        None => Ok(read),
    }
}

/// A null takes a field away, so that nothing is left of one that does not
/// exist: each is tried by itself.
fn refuse_unknown_nulls<T: DeserializeOwned>(patch: &Value, path: &mut Vec<String>) -> Result<(), Problem> {
    let Value::Object(members) = patch else { return Ok(()) };
    for (name, change) in members {
        path.push(name.clone());
        if change.is_null() {
            let alone = path.iter().rev().fold(Value::Null, |inner, name| json!({ name: inner }));
            if let Err(problem) = parse_checked::<T>(&to_json(&alone), "")
                && problem.is_about_unknown_field()
            {
                return Err(problem);
            }
        } else {
            refuse_unknown_nulls::<T>(change, path)?;
        }
        path.pop();
    }
    Ok(())
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(members) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Default::default());
    }
    let Value::Object(object) = target else { return };
    for (name, change) in members {
        if change.is_null() {
            object.remove(&name);
        } else {
            merge(object.entry(name).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_7396_hold() {
        for (mut target, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            merge(&mut target, patch);
            assert_eq!(target, result);
        }
    }
}
