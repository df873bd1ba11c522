//! Bounds, patterns and formats.

use serde_json::{Number, Value};

use super::Break;
use super::facts::Facts;

/// What a limit is about, and which way it limits.
enum Limit {
    Least(&'static str),
    Most(&'static str),
    /// The same text must stand in both.
    Same(&'static str),
    Multiple,
    Unique,
}

fn limit(key: &str) -> Option<Limit> {
    Some(match key {
        "minLength" => Limit::Least("string"),
        "maxLength" => Limit::Most("string"),
        "minItems" => Limit::Least("array"),
        "maxItems" => Limit::Most("array"),
        "minProperties" => Limit::Least("object"),
        "maxProperties" => Limit::Most("object"),
        "minimum" | "exclusiveMinimum" => Limit::Least("number"),
        "maximum" | "exclusiveMaximum" => Limit::Most("number"),
        "pattern" | "format" => Limit::Same("string"),
        "multipleOf" => Limit::Multiple,
        "uniqueItems" => Limit::Unique,
        _ => return None,
    })
}

/// Whether a keyword is understood here.
pub(super) fn is_limit(key: &str) -> bool {
    limit(key).is_some()
}

/// Whether the newer schema keeps within a limit of the older one.
pub(super) fn check(newer: &Facts<'_>, key: &str, wanted: &Value, at: &str) -> Option<Break> {
    let at = format!("{at}/{key}");
    match limit(key)? {
        Limit::Least(kind) | Limit::Most(kind) if !newer.may_be(kind) => None,
        Limit::Same(kind) if !newer.may_be(kind) => None,
        Limit::Multiple if !newer.may_be("number") => None,
        Limit::Unique if !newer.may_be("array") || wanted != &Value::Bool(true) => None,
        Limit::Least(_) => bound(newer, key, wanted, true, &at),
        Limit::Most(_) => bound(newer, key, wanted, false, &at),
        Limit::Same(_) => same(newer, key, wanted, at),
        Limit::Multiple => multiple(newer, wanted, at),
        Limit::Unique => {
            let unique = newer.maps.iter().any(|map| map.get("uniqueItems") == Some(&Value::Bool(true)));
            (!unique).then(|| Break::new(at, "items were different from one another, and now may be equal"))
        }
    }
}

/// Whether there is a bound that is at most this.
pub(super) fn at_most(newer: &Facts<'_>, key: &str, most: u64) -> bool {
    newer.maps.iter().filter_map(|map| map.get(key)?.as_u64()).any(|bound| bound <= most)
}

fn compare(one: &Number, other: &Number) -> Option<std::cmp::Ordering> {
    let whole = |number: &Number| number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

/// A bound, and whether it stands outside what it allows.
type Bound<'a> = (&'a Number, bool);

fn bounds<'a>(newer: &Facts<'a>, key: &str) -> Vec<Bound<'a>> {
    let (inclusive, exclusive) = match key {
        "minimum" | "exclusiveMinimum" => ("minimum", Some("exclusiveMinimum")),
        "maximum" | "exclusiveMaximum" => ("maximum", Some("exclusiveMaximum")),
        other => (other, None),
    };
    let mut found = Vec::new();
    for map in &newer.maps {
        if let Some(Value::Number(number)) = map.get(inclusive) {
            found.push((number, false));
        }
        if let Some(Value::Number(number)) = exclusive.and_then(|key| map.get(key)) {
            found.push((number, true));
        }
    }
    found
}

fn bound(newer: &Facts<'_>, key: &str, wanted: &Value, least: bool, at: &str) -> Option<Break> {
    let Value::Number(wanted) = wanted else { return None };
    let excludes = key.starts_with("exclusive");
    // The least length of anything is nothing.
    if least && !excludes && key != "minimum" && wanted.as_u64() == Some(0) {
        return None;
    }
    let known = bounds(newer, key);
    let keeps = |(number, exclusive): &Bound<'_>| match compare(number, wanted) {
        Some(std::cmp::Ordering::Equal) => *exclusive || !excludes,
        Some(std::cmp::Ordering::Greater) if least => true,
        Some(std::cmp::Ordering::Less) if !least => true,
        // Whole numbers above 0 are those from 1.
        Some(_) => newer.is_whole() && *exclusive && !excludes && is_next(number, wanted, least),
        None => false,
    };
    if known.iter().any(keeps) {
        return None;
    }
    let now = match known.first() {
        None => "is not bounded any more".to_owned(),
        Some((number, _)) => format!("is now {number}"),
    };
    Some(Break::new(at, format!("was {wanted}, and {now}")))
}

/// Whether an exclusive bound on whole numbers says the same as an inclusive one.
fn is_next(exclusive: &Number, inclusive: &Number, least: bool) -> bool {
    match (exclusive.as_i64(), inclusive.as_i64()) {
        (Some(one), Some(other)) if least => one.checked_add(1) == Some(other),
        (Some(one), Some(other)) => one.checked_sub(1) == Some(other),
        _ => false,
    }
}

fn same(newer: &Facts<'_>, key: &str, wanted: &Value, at: String) -> Option<Break> {
    let known: Vec<&Value> = newer.maps.iter().filter_map(|map| map.get(key)).collect();
    if known.contains(&wanted) {
        return None;
    }
    Some(match (known.first(), key) {
        (None, _) => Break::new(at, format!("was {wanted}, and is not asked for any more")),
        (Some(now), "format") => Break::new(at, format!("changed from {wanted} to {now}")),
        (Some(_), _) => Break::undecided(
            at,
            "has changed: whether every text that fits the new one fits the old one is not known",
        ),
    })
}

fn multiple(newer: &Facts<'_>, wanted: &Value, at: String) -> Option<Break> {
    let known: Vec<&Value> = newer.maps.iter().filter_map(|map| map.get("multipleOf")).collect();
    let is_multiple = |number: &&Value| match (number.as_u64(), wanted.as_u64()) {
        (Some(number), Some(wanted)) if wanted > 0 => number % wanted == 0,
        _ => *number == wanted,
    };
    let whole = wanted.as_u64() == Some(1) && newer.is_whole();
    if whole || known.iter().any(is_multiple) {
        return None;
    }
    let detail = format!("was a multiple of {wanted}, and may now be another number");
    // Whether one fraction is a multiple of another is left to others.
    let fractions = !newer.is_whole() || wanted.as_u64().is_none();
    Some(if fractions && (newer.is_whole() || !known.is_empty()) {
        Break::undecided(at, detail)
    } else {
        Break::new(at, detail)
    })
}
