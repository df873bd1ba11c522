//! `anyOf` and `oneOf` of the older schema.

use jsonschema::Draft;
use serde_json::Value;

use super::facts::Facts;
use super::{Break, BreakKind, Comparison};

/// How deep it is looked for what tells two schemas apart.
const DEPTH: usize = 4;

impl Comparison {
    /// Everything must fit one of the alternatives, different things perhaps
    /// different ones.
    pub(super) fn implies_any(&mut self, newer: &Facts<'_>, wanted: &Value, at: &str) -> Vec<Break> {
        let alternatives: Vec<&Value> = wanted.as_array().into_iter().flatten().collect();
        self.fits_an_alternative(newer, &alternatives, at, &mut |_, _, _| true)
    }

    /// Everything must fit one of the alternatives, and none of the others.
    pub(super) fn implies_one(&mut self, newer: &Facts<'_>, wanted: &Value, at: &str) -> Vec<Break> {
        let alternatives: Vec<&Value> = wanted.as_array().into_iter().flatten().collect();
        let draft = self.draft;
        self.fits_an_alternative(newer, &alternatives, at, &mut |facts, chosen, alternatives| {
            let others = alternatives.iter().enumerate().filter(|(place, _)| *place != chosen);
            others.into_iter().all(|(_, other)| is_disjoint(facts, other, draft, DEPTH))
        })
    }

    fn fits_an_alternative(
        &mut self,
        newer: &Facts<'_>,
        alternatives: &[&Value],
        at: &str,
        alone: &mut dyn FnMut(&Facts<'_>, usize, &[&Value]) -> bool,
    ) -> Vec<Break> {
        let mut closest: Option<Vec<Break>> = None;
        let mut fits_several = false;
        for (place, alternative) in alternatives.iter().enumerate() {
            let found = self.implies(newer, alternative, at);
            if found.is_empty() {
                if alone(newer, place, alternatives) {
                    return Vec::new();
                }
                fits_several = true;
            } else if !newer.differs_in_kind(alternative)
                && closest.as_ref().is_none_or(|closest| found.len() < closest.len())
            {
                closest = Some(found);
            }
        }
        if fits_several {
            let detail = "may now fit several alternatives of oneOf, which is not the same as one";
            return vec![Break::undecided(at, detail)];
        }
        // What may be of several kinds may fit a different one for each, and so
        // may what has alternatives of its own.
        if let Some(parts) = newer.alternatives().or_else(|| newer.by_kind()) {
            return parts
                .iter()
                .filter(|part| !part.is_never())
                .flat_map(|part| self.fits_an_alternative(part, alternatives, at, alone))
                .collect();
        }
        let mut found = closest.unwrap_or_default();
        let certain = found.iter().all(|one| one.kind == BreakKind::Breaks) && alternatives.len() > 1;
        if found.is_empty() {
            return vec![Break::new(at, "fits none of the alternatives there were")];
        }
        if !certain {
            return found;
        }
        // Which of the alternatives was meant is a guess.
        found.iter_mut().for_each(|one| one.kind = BreakKind::Undecided);
        found
    }
}

/// Whether nothing can fit both the facts and the schema.
fn is_disjoint(facts: &Facts<'_>, schema: &Value, draft: Draft, depth: usize) -> bool {
    if facts.is_never() || facts.differs_in_kind(schema) {
        return true;
    }
    let Value::Object(map) = schema else { return schema == &Value::Bool(false) };
    if let Some(values) = facts.values()
        && let Ok(validator) = crate::schema::build(schema, draft)
    {
        return values.iter().all(|value| !validator.is_valid(value));
    }
    if depth == 0 {
        return false;
    }
    let parts = map.get("allOf").and_then(Value::as_array).into_iter().flatten();
    if parts.into_iter().any(|part| is_disjoint(facts, part, draft, depth - 1)) {
        return true;
    }
    for key in ["anyOf", "oneOf"] {
        let mut each = map.get(key).and_then(Value::as_array).into_iter().flatten().peekable();
        if each.peek().is_some() && each.all(|one| is_disjoint(facts, one, draft, depth - 1)) {
            return true;
        }
    }
    // Both are objects: a property that is always there tells them apart.
    let only_objects =
        !["null", "boolean", "array", "string", "number"].iter().any(|kind| facts.may_be(kind));
    let theirs: Vec<&str> = required(map).collect();
    let told_apart = |name: &str| {
        let schema = map.get("properties").and_then(|properties| properties.get(name));
        let known = facts.property(Some(name));
        match (known, schema) {
            (Some(known), Some(schema)) => is_disjoint(&known, schema, draft, depth - 1),
            (Some(known), None) => known.is_never(),
            (None, Some(schema)) => schema == &Value::Bool(false),
            (None, None) => false,
        }
    };
    only_objects && facts.required().into_iter().chain(theirs).any(told_apart)
}

fn required(map: &serde_json::Map<String, Value>) -> impl Iterator<Item = &str> {
    map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
