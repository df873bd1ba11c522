//! Where data does not satisfy its schema, in words for those who publish it.
//!
//! Where data has a choice (`anyOf`, `oneOf`), the library says that it fits
//! none. Whoever wrote it meant one of them: the one whose tags (`const`,
//! `enum`) it has, then the one with which the least is wrong. What is told is
//! what is wrong with that one.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;

use super::Fault;

/// How deep choices within choices are followed.
const DEEPEST: usize = 8;

/// What is wrong, at most `most` of it.
pub(super) fn faults<'a>(errors: impl Iterator<Item = ValidationError<'a>>, most: usize) -> Vec<Fault> {
    let mut told = Vec::new();
    for error in errors {
        tell(&error, "", DEEPEST, most, &mut told);
        if told.len() >= most {
            break;
        }
    }
    told
}

fn tell(error: &ValidationError<'_>, before: &str, deeper: usize, most: usize, told: &mut Vec<Fault>) {
    if let Kind::AnyOf { context } | Kind::OneOfNotValid { context } = error.kind()
        && deeper > 0
        && let Some((number, branch)) = best(context, &error.instance_path().to_string())
    {
        let choice = format!("{}/{number}", error.schema_path());
        let before = format!("in the alternative that fits best ({choice}): ");
        for inner in branch {
            if told.len() < most {
                tell(inner, &before, deeper - 1, most, told);
            }
        }
        return;
    }
    // The value may be nobody's business.
    let detail = format!("{before}{}", error.masked_with("the value"));
    told.push(Fault::new(error.instance_path().to_string(), detail));
}

/// The alternative that was meant for the value at `place`.
fn best<'c, 'e>(
    context: &'c [Vec<ValidationError<'e>>],
    place: &str,
) -> Option<(usize, &'c Vec<ValidationError<'e>>)> {
    let rank = |branch: &Vec<ValidationError<'_>>| {
        let count = |is: fn(&Kind) -> bool, below: usize| {
            let near = |error: &&ValidationError<'_>| steps_below(error, place) <= below && is(error.kind());
            branch.iter().filter(near).count()
        };
        let wrong_kind = count(|kind| matches!(kind, Kind::Type { .. }), 0);
        let wrong_tags = count(|kind| matches!(kind, Kind::Constant { .. } | Kind::Enum { .. }), 1);
        (wrong_kind, wrong_tags, branch.len())
    };
    let found = context.iter().enumerate().filter(|(_, branch)| !branch.is_empty());
    found.min_by_key(|(number, branch)| (rank(branch), *number))
}

/// How far below a place an error is.
fn steps_below(error: &ValidationError<'_>, place: &str) -> usize {
    let path = error.instance_path().to_string();
    path.strip_prefix(place).map_or(usize::MAX, |rest| rest.matches('/').count())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::schema::Schema;
    use crate::schema::reasoning::Unhurried;

    /// Pointers and details of what is wrong.
    fn told(schema: &serde_json::Value, data: &serde_json::Value) -> Vec<(String, String)> {
        let schema = Schema::parse(&schema.to_string(), &Unhurried).expect("a schema");
        let bytes = data.to_string().len();
        let faults = schema.validate(data, bytes).expect_err("is not valid");
        faults.into_iter().map(|fault| (fault.pointer, fault.detail)).collect()
    }

    #[test]
    fn the_alternative_with_the_right_tag_is_told_and_what_is_wrong_within() {
        for choice in ["oneOf", "anyOf"] {
            let schema = json!({ "properties": { "payment": { choice: [
                { "properties": { "kind": { "const": "card" }, "number": { "type": "string" } }, "required": ["kind"] },
                { "properties": { "kind": { "enum": ["bank", "cash"] }, "iban": { "type": "string" }, "days": { "type": "integer" } },
                  "required": ["kind", "iban"] },
            ] } } });
            let told = told(&schema, &json!({ "payment": { "kind": "bank", "days": "two" } }));
            let pointers: Vec<&str> = told.iter().map(|(pointer, _)| pointer.as_str()).collect();
            assert!(pointers.contains(&"/payment/days") && pointers.contains(&"/payment"), "{told:?}");
            let place = format!("(/properties/payment/{choice}/1)");
            assert!(told.iter().all(|(_, detail)| detail.contains(&place)), "{told:?}");
        }
    }

    #[test]
    fn without_tags_the_alternative_with_which_the_least_is_wrong_is_told() {
        let schema = json!({ "oneOf": [
            { "required": ["a", "b", "c"] },
            { "required": ["x"], "properties": { "x": { "minimum": 10 } } },
            { "type": "array" },
        ] });
        let told = told(&schema, &json!({ "x": 5 }));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, "/x");
    }

    #[test]
    fn choices_within_choices_are_followed_and_no_value_is_told() {
        let schema = json!({ "anyOf": [{ "type": "null" }, { "properties": { "inner": { "oneOf": [
            { "type": "null" },
            { "type": "object", "properties": { "tag": { "const": "a" }, "n": { "type": "integer" } } },
        ] } } }] });
        let told = told(&schema, &json!({ "inner": { "tag": "a", "n": "secret" } }));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, "/inner/n");
        assert!(!told[0].1.contains("secret"), "{told:?}");
    }

    #[test]
    fn more_than_one_that_fits_is_said_as_it_is() {
        let schema = json!({ "properties": { "n": { "oneOf": [{ "minimum": 1 }, { "minimum": 2 }] } } });
        let told = told(&schema, &json!({ "n": 3 }));
        assert_eq!((told.len(), told[0].0.as_str()), (1, "/n"));
    }
}
