//! JSON Merge Patch (RFC 7396).

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::incoming::{Text, parse_checked};
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
    let mut value = serde_json::to_value(present).expect("what was read has a JSON form");
    merge(&mut value, patch);
    parse_checked(&to_json(&value), "")
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
    use serde_json::json;

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
