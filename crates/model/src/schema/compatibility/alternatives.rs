//! `anyOf` and `oneOf` of the older schema.

use serde_json::{Map, Value};

use super::facts::Facts;
use super::{Break, BreakKind, Comparison, too_complex};
use crate::schema::document::list;

/// How deep it is looked for what tells two schemas apart.
const DEPTH: usize = 4;

/// Whether what fits the alternative at a place fits none of the others.
type Alone<'f> = &'f dyn Fn(&mut Comparison<'_>, &Facts<'_>, usize, &[&Value]) -> bool;

impl<'a> Comparison<'a> {
    /// Everything must fit one of the alternatives, different things perhaps
    /// different ones.
    pub(super) fn implies_any(&mut self, newer: &Facts<'_>, wanted: &Value, at: &str) -> Vec<Break> {
        let alternatives: Vec<&Value> = wanted.as_array().into_iter().flatten().collect();
        self.fits_an_alternative(newer, &alternatives, at, &|_, _, _, _| true)
    }

    /// Everything must fit one of the alternatives, and none of the others.
    pub(super) fn implies_one(&mut self, newer: &Facts<'_>, wanted: &Value, at: &str) -> Vec<Break> {
        let alternatives: Vec<&Value> = wanted.as_array().into_iter().flatten().collect();
        self.fits_an_alternative(newer, &alternatives, at, &|comparison, facts, chosen, alternatives| {
            let mut others = alternatives.iter().enumerate().filter(|(place, _)| *place != chosen);
            others.all(|(_, other)| comparison.is_disjoint(facts, other, DEPTH))
        })
    }

    fn fits_an_alternative(
        &mut self,
        newer: &Facts<'_>,
        alternatives: &[&Value],
        at: &str,
        alone: Alone<'_>,
    ) -> Vec<Break> {
        let mut closest: Option<Vec<Break>> = None;
        let mut fits_several = false;
        for (place, alternative) in alternatives.iter().enumerate() {
            if self.left == 0 {
                return vec![too_complex(at)];
            }
            let found = self.implies(newer, alternative, at);
            if found.is_empty() {
                if alone(self, newer, place, alternatives) {
                    return Vec::new();
                }
                fits_several = true;
            } else if !newer.differs_in_kind(self.older, alternative)
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

    /// Whether nothing can fit both the facts and the schema.
    fn is_disjoint(&mut self, facts: &Facts<'_>, schema: &Value, depth: usize) -> bool {
        self.spend(1);
        if facts.is_never() || facts.differs_in_kind(self.older, schema) {
            return true;
        }
        let Value::Object(map) = schema else { return schema == &Value::Bool(false) };
        if let Some(target) = self.older.target(schema).filter(|_| depth > 0)
            && self.is_disjoint(facts, target, depth - 1)
        {
            return true;
        }
        if self.older.hides_beside_reference(map) {
            return false;
        }
        if let Some(values) = facts.values() {
            if !self.can_try(&values) {
                return false;
            }
            if let Some(validator) = self.validator(schema) {
                return values.iter().all(|value| !validator.is_valid(value));
            }
        }
        if depth == 0 || self.left == 0 {
            return false;
        }
        if list(map, "allOf").any(|part| self.is_disjoint(facts, part, depth - 1)) {
            return true;
        }
        for key in ["anyOf", "oneOf"] {
            if map.contains_key(key) && list(map, key).all(|one| self.is_disjoint(facts, one, depth - 1)) {
                return true;
            }
        }
        // Both are objects: a property that is always there tells them apart.
        let others = ["null", "boolean", "array", "string", "number"];
        if others.iter().any(|kind| facts.may_be(kind)) {
            return false;
        }
        let theirs = list(map, "required").filter_map(Value::as_str);
        let names: Vec<&str> = facts.required().into_iter().chain(theirs).collect();
        names.into_iter().any(|name| self.is_told_apart(facts, map, name, depth))
    }

    /// Whether a property that is always there has no value that fits both.
    fn is_told_apart(
        &mut self,
        facts: &Facts<'_>,
        map: &Map<String, Value>,
        name: &str,
        depth: usize,
    ) -> bool {
        let schema = map.get("properties").and_then(|properties| properties.get(name));
        match (facts.property(Some(name)), schema) {
            (Some(known), Some(schema)) => self.is_disjoint(&known, schema, depth - 1),
            (Some(known), None) => known.is_never(),
            (None, schema) => schema == Some(&Value::Bool(false)),
        }
    }
}
