//! What it costs to check a value, before it is checked.

use serde_json::Value;

use super::Fault;
use super::inline::{LISTS, MAPS, ONE};
use super::places::of_items;

/// How many keywords may be looked at for one value, all places together: some
/// tens of milliseconds.
const BUDGET: usize = 1_000_000;
/// What matching a byte of text against a pattern counts for, in keywords.
const PER_BYTE: usize = 2;
/// How many places are looked at to find out what a schema costs.
const MAX_STEPS: usize = 100_000;

/// What a schema costs for each place of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// The most keywords that look at the same place.
    keywords: usize,
    /// How many patterns there are at most in the same place.
    patterns: usize,
}

impl Cost {
    /// The cost of a schema without references.
    pub(super) fn of(schema: &Value) -> Result<Self, Vec<Fault>> {
        let mut count = Counter { steps: 0, most: Self { keywords: 0, patterns: 0 } };
        count.place(&[schema]);
        match count.steps > MAX_STEPS {
            false => Ok(count.most),
            true => {
                Err(vec![Fault::new("", "is too complex: too many of its parts look at the same places")])
            }
        }
    }

    /// Whether a value with so many bytes can be checked in the time there is.
    pub(super) fn allows(self, data: &Value, bytes: usize) -> bool {
        let of_text = bytes.saturating_mul(self.patterns).saturating_mul(PER_BYTE);
        // Every place but the first has at least two bytes.
        let at_most = (bytes / 2 + 1).saturating_mul(self.keywords).saturating_add(of_text);
        at_most <= BUDGET || places(data).saturating_mul(self.keywords).saturating_add(of_text) <= BUDGET
    }
}

fn places(data: &Value) -> usize {
    1 + match data {
        Value::Array(items) => items.iter().map(places).sum(),
        Value::Object(members) => members.values().map(places).sum(),
        _ => 0,
    }
}

struct Counter {
    steps: usize,
    most: Cost,
}

impl Counter {
    /// Looks at all schemas that apply to one place, then at the places below.
    fn place(&mut self, schemas: &[&Value]) {
        let mut here = Vec::new();
        for schema in schemas {
            self.in_place(schema, &mut here);
        }
        let keywords = here.iter().map(|schema| weight(schema)).sum();
        let patterns = here.iter().map(|schema| patterns(schema)).sum();
        self.most.keywords = self.most.keywords.max(keywords);
        self.most.patterns = self.most.patterns.max(patterns);
        if self.steps > MAX_STEPS {
            return;
        }
        let mut names: Vec<&String> = here.iter().flat_map(|schema| members(schema, "properties")).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            self.steps += here.len();
            if self.steps > MAX_STEPS {
                return;
            }
            let below: Vec<&Value> = here.iter().flat_map(|schema| below(schema, Some(name))).collect();
            self.place(&below);
        }
        let others: Vec<&Value> = here.iter().flat_map(|schema| below(schema, None)).collect();
        if !others.is_empty() {
            self.place(&others);
        }
        let items: Vec<&Value> = here.iter().flat_map(|schema| of_items(schema)).collect();
        if !items.is_empty() {
            self.place(&items);
        }
    }

    /// The schema and those that apply to the same place with it.
    fn in_place<'a>(&mut self, schema: &'a Value, here: &mut Vec<&'a Value>) {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return;
        }
        here.push(schema);
        for key in ["allOf", "anyOf", "oneOf"] {
            for part in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
                self.in_place(part, here);
            }
        }
        for key in ["not", "if", "then", "else"] {
            if let Some(part) = schema.get(key) {
                self.in_place(part, here);
            }
        }
        for key in ["dependentSchemas", "dependencies"] {
            for part in schema.get(key).and_then(Value::as_object).into_iter().flat_map(|map| map.values()) {
                self.in_place(part, here);
            }
        }
    }
}

/// How much work the keywords of a schema are for one place, without the schemas in them.
fn weight(schema: &Value) -> usize {
    let Value::Object(object) = schema else { return 1 };
    let own = |(key, value): (&String, &Value)| match key.as_str() {
        name if LISTS.contains(&name) || MAPS.contains(&name) || ONE.contains(&name) => 1,
        "enum" | "required" => 1 + value.as_array().map_or(0, Vec::len) / 4,
        "uniqueItems" => 8,
        _ => 1,
    };
    1 + object.iter().map(own).sum::<usize>()
}

fn patterns(schema: &Value) -> usize {
    let named = schema.get("patternProperties").and_then(Value::as_object).map_or(0, serde_json::Map::len);
    let texts = ["pattern", "format", "contentEncoding", "contentMediaType"];
    named + texts.iter().filter(|key| schema.get(**key).is_some()).count()
}

fn members<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a String> {
    schema.get(key).and_then(Value::as_object).into_iter().flat_map(|map| map.keys())
}

/// The schemas for a property: one of a name, or one whose name stands nowhere.
fn below<'a>(schema: &'a Value, name: Option<&String>) -> Vec<&'a Value> {
    let named = name.and_then(|name| schema.get("properties")?.get(name));
    let by_pattern = schema.get("patternProperties").and_then(Value::as_object);
    let by_pattern = by_pattern.into_iter().flat_map(|map| map.values());
    let others = ["additionalProperties", "unevaluatedProperties", "propertyNames"];
    let others = others.into_iter().filter_map(|key| schema.get(key));
    named.into_iter().chain(by_pattern).chain(others).collect()
}
