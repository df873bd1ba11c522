//! What it costs to check a value, before it is checked.
//!
//! The library looks at a place of the data once for each way that leads to
//! it, and ways multiply: what stands below two alternatives is looked at
//! twice, and a keyword that depends on what was *evaluated* before it looks
//! again at all alternatives beside it, and at those within them. So the parts
//! that apply to a place are counted together with how often each is asked,
//! and that number is handed on to the places below.
//!
//! The work on a value is its places times the most looks at any place. It is
//! bounded before it begins, since nothing can end it once it has.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Map, Value};

use super::Fault;
use super::document::{LISTS, MAPS, ONE, View, identity};

/// How many looks there may be at one value, all its places together: some
/// tens of milliseconds.
const BUDGET: u64 = 1_000_000;
/// How many looks there may be to say what is wrong with a value.
const TOLD_BUDGET: u64 = 4_000_000;
/// How many looks there may be at one place. With more, hardly any data could
/// be checked, so that the schema is of no use.
const MAX_LOOKS: u64 = 10_000;
/// What matching a byte of text against a pattern counts for, in looks.
const PER_BYTE: u64 = 2;
/// What comparing an item with all others counts for at each place in it, in looks.
const PER_UNIQUE: u64 = 8;
/// How many parts are looked at to find out what a schema costs.
const MAX_STEPS: usize = 200_000;
/// How deep data can be.
const MAX_DATA_DEPTH: usize = crate::json::MAX_DEPTH;

/// What a schema costs for each place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// The most looks at one place.
    looks: u64,
    /// The most matches of patterns at one place.
    patterns: u64,
    /// The longest chain of parts that are only tried, one within the other.
    trials: u64,
}

impl Cost {
    /// Of a schema that must not be used.
    pub(super) const UNBOUNDED: Self = Self { looks: u64::MAX, patterns: u64::MAX, trials: u64::MAX };

    /// The cost of a schema, if data can be checked against it at all.
    pub(super) fn of(view: View<'_>) -> Result<Self, Vec<Fault>> {
        let mut counter = Counter {
            view,
            steps: 0,
            most: Self { looks: 0, patterns: 0, trials: 0 },
            seen: HashSet::new(),
            waiting: VecDeque::new(),
        };
        match counter.count() {
            Some(most) if most.looks <= MAX_LOOKS && most.patterns <= MAX_LOOKS => Ok(most),
            _ => {
                let detail = "is too complex: too many of its parts look at the same places, again and again; \
                              use fewer alternatives and unevaluated… keywords within one another";
                Err(vec![Fault::new("", detail)])
            }
        }
    }

    /// The most looks at one place.
    pub(super) fn looks(self) -> u64 {
        self.looks
    }

    /// Whether a value with so many bytes can be checked in the time there is.
    pub(super) fn allows(self, data: &Value, bytes: usize) -> bool {
        // Every place but the first has at least two bytes.
        let at_most = bytes as u64 / 2 + 1;
        self.looks_at(at_most, bytes) <= BUDGET || self.looks_at(Extent::of(data).places, bytes) <= BUDGET
    }

    /// Whether there is time to look at a value with all parts that apply, if
    /// no text in it is matched against patterns.
    pub(super) fn allows_looking(self, data: &Value) -> bool {
        self.looks_at(Extent::of(data).places, 0) <= BUDGET
    }

    /// Whether there is time to say what is wrong with a value: at each trial
    /// that fails, all that it was tried on is looked at again.
    pub(super) fn allows_telling(self, data: &Value, bytes: usize) -> bool {
        let Extent { places, depth } = Extent::of(data);
        let again = self.trials.saturating_mul(depth + 1).saturating_add(2);
        self.looks_at(places, bytes).saturating_mul(again) <= TOLD_BUDGET
    }

    fn looks_at(self, places: u64, bytes: usize) -> u64 {
        let of_text = (bytes as u64).saturating_mul(self.patterns).saturating_mul(PER_BYTE);
        places.saturating_mul(self.looks).saturating_add(of_text)
    }
}

/// How many places a value has.
pub(super) fn places(value: &Value) -> u64 {
    Extent::of(value).places
}

/// How large a value is.
struct Extent {
    places: u64,
    depth: u64,
}

impl Extent {
    fn of(data: &Value) -> Self {
        let within: Vec<Self> = match data {
            Value::Array(items) => items.iter().map(Self::of).collect(),
            Value::Object(members) => members.values().map(Self::of).collect(),
            _ => Vec::new(),
        };
        let places = 1 + within.iter().map(|inner| inner.places).sum::<u64>();
        let depth = within.iter().map(|inner| inner.depth + 1).max().unwrap_or(0);
        Self { places, depth }
    }
}

/// How often a part is asked about one place.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    /// Whether the value fits it.
    fits: u64,
    /// What of the value it evaluated.
    evaluated: u64,
}

impl Asked {
    fn looks(self) -> u64 {
        self.fits.saturating_add(self.evaluated)
    }
}

/// The parts that apply to a place, each with how often it is asked.
type Applying<'a> = HashMap<usize, (&'a Value, Asked)>;

/// A place to be looked at.
struct Place<'a> {
    parts: Vec<(&'a Value, u64)>,
    /// How many looks come from above, by what looks at everything below it.
    from_above: u64,
    depth: usize,
}

struct Counter<'a> {
    view: View<'a>,
    steps: usize,
    most: Cost,
    /// Sets of parts, with how often each is asked, that were looked at.
    seen: HashSet<(Vec<(usize, u64)>, u64)>,
    waiting: VecDeque<Place<'a>>,
}

impl<'a> Counter<'a> {
    /// None if there is no end to it.
    fn count(&mut self) -> Option<Cost> {
        self.waiting.push_back(Place { parts: vec![(self.view.root, 1)], from_above: 0, depth: 0 });
        while let Some(place) = self.waiting.pop_front() {
            self.look_at(place)?;
            if self.most.looks > MAX_LOOKS || self.most.patterns > MAX_LOOKS {
                return None;
            }
        }
        Some(self.most)
    }

    fn step(&mut self) -> Option<()> {
        self.steps += 1;
        (self.steps <= MAX_STEPS).then_some(())
    }

    fn look_at(&mut self, place: Place<'a>) -> Option<()> {
        let mut here = Applying::new();
        for (part, fits) in &place.parts {
            self.apply(part, Asked { fits: *fits, evaluated: 0 }, 0, &mut here)?;
        }
        let sum = |of: fn(&Map<String, Value>) -> u64| {
            let each = here
                .values()
                .map(|(part, asked)| asked.looks().saturating_mul(self.view.keywords(part).map_or(1, of)));
            each.fold(0, u64::saturating_add)
        };
        let (looks, patterns) = (sum(weight).saturating_add(place.from_above), sum(patterns));
        self.most.looks = self.most.looks.max(looks);
        self.most.patterns = self.most.patterns.max(patterns);
        if place.depth == MAX_DATA_DEPTH {
            return Some(());
        }
        let unique = |part: &Value| part.get("uniqueItems") == Some(&Value::Bool(true));
        let all_items: u64 =
            here.values().filter(|(part, _)| unique(part)).map(|(_, asked)| asked.looks()).sum();
        let from_above = place.from_above.saturating_add(all_items.saturating_mul(PER_UNIQUE));
        let mut names: Vec<&String> =
            here.values().flat_map(|(part, _)| members(self.view, part, "properties")).collect();
        names.sort_unstable();
        names.dedup();
        for name in names.into_iter().map(Some).chain([None]) {
            self.go_below(&here, from_above, place.depth, |view, part| of_property(view, part, name))?;
        }
        self.go_below(&here, from_above, place.depth, |view, part| view.of_items(part))
    }

    /// Looks at a place below later, unless one like it was looked at.
    fn go_below(
        &mut self,
        here: &Applying<'a>,
        from_above: u64,
        depth: usize,
        below: impl Fn(View<'a>, &'a Value) -> Vec<&'a Value>,
    ) -> Option<()> {
        let mut parts: HashMap<usize, (&'a Value, u64)> = HashMap::new();
        for (part, asked) in here.values() {
            self.step()?;
            for inner in below(self.view, part) {
                self.step()?;
                let known = parts.entry(identity(inner)).or_insert((inner, 0));
                known.1 = known.1.saturating_add(asked.looks());
            }
        }
        if parts.is_empty() {
            self.most.looks = self.most.looks.max(from_above);
            return Some(());
        }
        let mut key: Vec<(usize, u64)> = parts.iter().map(|(id, (_, fits))| (*id, *fits)).collect();
        key.sort_unstable();
        if self.seen.insert((key, from_above)) {
            let parts = parts.into_values().collect();
            self.waiting.push_back(Place { parts, from_above, depth: depth + 1 });
        }
        Some(())
    }

    /// Notes a part and those that apply to the same place by way of it.
    fn apply(&mut self, part: &'a Value, asked: Asked, trials: u64, here: &mut Applying<'a>) -> Option<()> {
        self.step()?;
        let keywords = self.view.keywords(part);
        // Each of these asks for all that was evaluated beside it.
        let asking = ["unevaluatedProperties", "unevaluatedItems"]
            .iter()
            .filter(|key| keywords.is_some_and(|map| map.contains_key(**key)))
            .count() as u64;
        let evaluated = asked.evaluated.saturating_add(asked.fits.saturating_mul(asking));
        let asked = Asked { fits: asked.fits, evaluated };
        let known = here.entry(identity(part)).or_insert((part, Asked::default()));
        known.1.fits = known.1.fits.saturating_add(asked.fits);
        known.1.evaluated = known.1.evaluated.saturating_add(asked.evaluated);
        let tries = keywords.is_some_and(|map| TRYING.iter().any(|key| map.contains_key(*key)));
        let trials = trials + u64::from(tries);
        self.most.trials = self.most.trials.max(trials);
        // What a part evaluated is asked after whether the value fits it.
        let inner = Asked { fits: asked.looks(), evaluated: asked.evaluated };
        for part in self.view.in_place(part) {
            self.apply(part, inner, trials, here)?;
        }
        Some(())
    }
}

/// Keywords that try whether something fits, without saying why it does not.
const TRYING: [&str; 9] = [
    "anyOf",
    "oneOf",
    "not",
    "if",
    "contains",
    "dependentSchemas",
    "dependencies",
    "unevaluatedProperties",
    "unevaluatedItems",
];

/// How much work the keywords of a part are for one place, without the parts in them.
fn weight(object: &Map<String, Value>) -> u64 {
    let own = |(key, value): (&String, &Value)| match key.as_str() {
        // Looked up by the names of the data, and not the other way round.
        "properties" => 1,
        // Each entry is looked at, whatever the data has.
        name if MAPS.contains(&name) => {
            let lists = value.as_object().into_iter().flat_map(Map::values).filter(|entry| entry.is_array());
            1 + value.as_object().map_or(0, Map::len) as u64
                + lists.map(|list| Extent::of(list).places).sum::<u64>() / 4
        }
        name if LISTS.contains(&name) || ONE.contains(&name) => 1,
        "enum" | "const" | "required" | "dependentRequired" => 1 + Extent::of(value).places / 4,
        "$defs" | "definitions" | "default" | "examples" => 0,
        _ => 1,
    };
    1 + object.iter().map(own).sum::<u64>()
}

fn patterns(object: &Map<String, Value>) -> u64 {
    let named = object.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
    let texts = ["pattern", "format", "contentEncoding", "contentMediaType"];
    (named + texts.iter().filter(|key| object.contains_key(**key)).count()) as u64
}

fn members<'a>(view: View<'a>, part: &'a Value, key: &str) -> impl Iterator<Item = &'a String> {
    let map = view.keywords(part).and_then(|map| map.get(key)?.as_object());
    map.into_iter().flat_map(Map::keys)
}

/// The parts for a property: one of a name, or one whose name stands nowhere.
fn of_property<'a>(view: View<'a>, part: &'a Value, name: Option<&String>) -> Vec<&'a Value> {
    let Some(map) = view.keywords(part) else { return Vec::new() };
    let named = name.and_then(|name| map.get("properties")?.get(name));
    let by_pattern = map.get("patternProperties").and_then(Value::as_object);
    let by_pattern = by_pattern.into_iter().flat_map(Map::values);
    let others = ["additionalProperties", "unevaluatedProperties", "propertyNames"];
    let others = others.into_iter().filter_map(|key| map.get(key));
    named.into_iter().chain(by_pattern).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use jsonschema::Draft;
    use serde_json::json;

    use super::*;

    fn looks(schema: &Value) -> Option<u64> {
        Cost::of(View { root: schema, draft: Draft::Draft202012 }).ok().map(|cost| cost.looks)
    }

    fn nested(depth: usize, inner: Value, wrap: impl Fn(Value) -> Value) -> Value {
        (0..depth).fold(inner, |inner, _| wrap(inner))
    }

    #[test]
    fn what_looks_again_multiplies_and_what_does_not_adds() {
        let leaf = || json!({ "properties": { "a": { "type": "integer" } } });
        let again = |n| nested(n, leaf(), |x| json!({ "anyOf": [x], "unevaluatedProperties": {} }));
        let (one, two, three) = (looks(&again(1)), looks(&again(2)), looks(&again(3)));
        let grows = three.zip(two).map(|(three, two)| three as f64 / two as f64).expect("both are bounded");
        assert!(grows > 2.0 && two > one, "{one:?} {two:?} {three:?}");
        assert_eq!(looks(&again(18)), None);
        // By way of data, the same.
        let below = |n| {
            nested(
                n,
                leaf(),
                |x| json!({ "anyOf": [{ "properties": { "a": x } }], "unevaluatedProperties": {} }),
            )
        };
        assert!(looks(&below(2)).is_some());
        assert_eq!(looks(&below(18)), None);
        let adding = |n| nested(n, leaf(), |x| json!({ "anyOf": [x] }));
        assert!(looks(&adding(18)).expect("is bounded") < 100);
        let deep =
            nested(40, leaf(), |x| json!({ "anyOf": [{ "properties": { "a": x } }, { "type": "null" }] }));
        assert!(looks(&deep).expect("is bounded") < 100);
    }

    #[test]
    fn recursion_costs_what_it_costs_once_unless_it_doubles() {
        let tree = json!({ "properties": { "name": { "type": "string" },
            "children": { "items": { "$ref": "#" } }, "parent": { "anyOf": [{ "type": "null" }, { "$ref": "#" }] } } });
        assert!(looks(&tree).expect("is bounded") < 50);
        let twice = json!({ "properties": { "a": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] } } });
        assert_eq!(looks(&twice), None);
        let again =
            json!({ "anyOf": [{ "properties": { "a": { "$ref": "#" } } }], "unevaluatedProperties": false });
        assert_eq!(looks(&again), None);
        let unique = json!({ "uniqueItems": true, "items": { "$ref": "#" } });
        assert!(looks(&unique).expect("is bounded") > 64 * PER_UNIQUE);
        let alone = json!({ "allOf": vec![json!({ "uniqueItems": true }); 20] });
        assert!(looks(&alone).expect("is bounded") >= 20 * PER_UNIQUE);
    }

    #[test]
    fn what_is_looked_at_whatever_the_data_has_counts_with_all_its_entries() {
        let needs: Map<String, Value> = (0..7_000).map(|n| (format!("a{n}"), json!([]))).collect();
        let listed = json!({ "items": { "dependencies": needs } });
        assert!(Cost::of(View { root: &listed, draft: Draft::Draft7 }).is_ok_and(|cost| cost.looks > 7_000));
        let named: Map<String, Value> = (0..7_000).map(|n| (format!("a{n}"), json!({}))).collect();
        assert!(looks(&json!({ "properties": named })).expect("is bounded") < 10);
    }
}
