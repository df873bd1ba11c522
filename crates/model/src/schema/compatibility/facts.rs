//! What is known of a value: all the schemas that it fits.

use serde_json::{Map, Value};

use super::Break;
use super::says_nothing;
use crate::json::escape;
use crate::schema::document::{View, list};

/// Kinds of JSON values. Whole numbers and others are told apart.
const KINDS: [&str; 7] = ["null", "boolean", "object", "array", "string", "integer", "number"];
/// How deep alternatives are looked into for the kinds that they allow.
const DEPTH: usize = 3;
/// How many pairs of values are compared to find those in two lists.
const MOST_COMPARED: usize = 100_000;
/// All of them, as bits.
const ALL: u8 = 0b111_1111;

/// What tells facts from all others: the parts that the value fits, and what
/// was chosen of them.
pub(super) type Identity = (Vec<usize>, Vec<(usize, &'static str)>, Option<u8>, bool);

/// What is known of a value.
#[derive(Debug, Clone)]
pub(super) struct Facts<'a> {
    /// The schema that its parts belong to.
    view: View<'a>,
    /// It fits all of these.
    pub(super) maps: Vec<&'a Map<String, Value>>,
    /// Lists of alternatives of which one has been chosen: the places of the
    /// maps that have them.
    chosen: Vec<(usize, &'static str)>,
    /// Of what kinds it may be, if that is narrower than the maps say.
    narrowed: Option<u8>,
    /// There is no such value.
    never: bool,
}

/// The kinds that a schema's own `type` allows.
fn kinds_of(wanted: &Value) -> u8 {
    let one = |name: &Value| match name.as_str() {
        Some("number") => 0b110_0000,
        Some(name) => KINDS.iter().position(|kind| *kind == name).map_or(0, |place| 1 << place),
        None => 0,
    };
    match wanted {
        Value::Array(names) => names.iter().map(one).fold(0, |all, kind| all | kind),
        name => one(name),
    }
}

fn kind_of(value: &Value) -> u8 {
    match value {
        Value::Null => 1,
        Value::Bool(_) => 1 << 1,
        Value::Object(_) => 1 << 2,
        Value::Array(_) => 1 << 3,
        Value::String(_) => 1 << 4,
        Value::Number(number) => match number.is_f64() && number.as_f64().is_some_and(|n| n.fract() != 0.0) {
            false => 1 << 5,
            true => 1 << 6,
        },
    }
}

/// The kinds that a schema allows, as far as its types and values say, and
/// those of its parts down to a depth.
fn kinds_of_schema(view: View<'_>, schema: &Value, depth: usize) -> u8 {
    let Value::Object(map) = schema else {
        return if schema == &Value::Bool(false) { 0 } else { ALL };
    };
    let target = view.target(schema).filter(|_| depth > 0);
    let of_target = target.map_or(ALL, |target| kinds_of_schema(view, target, depth - 1));
    match view.hides_beside_reference(map) {
        true => of_target,
        false => of_target & kinds_of_map(view, map, depth) & all_of(view, map, depth),
    }
}

/// The same without what stands in `allOf` and what is referred to.
fn kinds_of_map(view: View<'_>, map: &Map<String, Value>, depth: usize) -> u8 {
    let mut kinds = map.get("type").map_or(ALL, kinds_of);
    if let Some(values) = values_of(map) {
        kinds &= values.iter().map(|value| kind_of(value)).fold(0, |all, kind| all | kind);
    }
    for key in ["anyOf", "oneOf"] {
        if depth > 0 && map.contains_key(key) {
            let each = list(map, key).map(|one| kinds_of_schema(view, one, depth - 1));
            kinds &= each.fold(0, |all, kind| all | kind);
        }
    }
    kinds
}

fn all_of(view: View<'_>, map: &Map<String, Value>, depth: usize) -> u8 {
    if depth == 0 {
        return ALL;
    }
    let each = list(map, "allOf").map(|part| kinds_of_schema(view, part, depth - 1));
    each.fold(ALL, |all, kinds| all & kinds)
}

/// The values that a schema's `const` or `enum` allows.
fn values_of(map: &Map<String, Value>) -> Option<Vec<&Value>> {
    match (map.get("const"), map.get("enum")) {
        (Some(one), _) => Some(vec![one]),
        (None, Some(Value::Array(values))) => Some(values.iter().collect()),
        _ => None,
    }
}

/// For people: `integer or null`.
fn named(kinds: u8) -> String {
    let both = 0b110_0000;
    let mut names: Vec<&str> = KINDS
        .iter()
        .enumerate()
        .filter(|(place, _)| kinds & (1 << place) != 0)
        .map(|(_, name)| *name)
        .collect();
    if kinds & both == both {
        names.retain(|name| *name != "integer");
    }
    match kinds {
        ALL => "anything".to_owned(),
        0 => "nothing".to_owned(),
        _ => names.join(" or "),
    }
}

impl<'a> Facts<'a> {
    /// What is known of a value that fits a schema.
    pub(super) fn of(view: View<'a>, schema: &'a Value) -> Self {
        Self::of_all(view, vec![schema])
    }

    fn of_all(view: View<'a>, schemas: Vec<&'a Value>) -> Self {
        let mut facts = Self { view, maps: Vec::new(), chosen: Vec::new(), narrowed: None, never: false };
        schemas.into_iter().for_each(|schema| facts.learn(schema));
        facts
    }

    /// The schema that these facts come from.
    pub(super) fn view(&self) -> View<'a> {
        self.view
    }

    /// Only objects are meant.
    pub(super) fn narrow_to_objects(&mut self) {
        self.narrowed = Some(self.narrowed.unwrap_or(ALL) & 1 << 2);
    }

    /// What tells these facts from all others.
    pub(super) fn identity(&self) -> Identity {
        let maps = self.maps.iter().map(|map| std::ptr::from_ref(*map) as usize).collect();
        (maps, self.chosen.clone(), self.narrowed, self.never)
    }

    /// It fits this schema, too.
    pub(super) fn learn(&mut self, schema: &'a Value) {
        match schema {
            Value::Bool(true) => {}
            Value::Object(map) => {
                let target = self.view.target(schema);
                if let Some(target) = target {
                    self.learn(target);
                }
                // A reference alone says what its target says: then all who refer
                // to it know the same, and are compared once.
                let is_alone = map.keys().all(|key| key == "$ref" || says_nothing(key));
                // Learnt twice, it is known once.
                let known = self.maps.iter().any(|known| std::ptr::eq(*known, map));
                let is_said_already = known || (target.is_some() && is_alone);
                if !is_said_already && !self.view.hides_beside_reference(map) {
                    self.maps.push(map);
                    list(map, "allOf").for_each(|part| self.learn(part));
                }
            }
            _ => self.never = true,
        }
    }

    fn kinds(&self) -> u8 {
        let own = self.maps.iter().map(|map| kinds_of_map(self.view, map, DEPTH));
        own.fold(self.narrowed.unwrap_or(ALL), |all, kinds| all & kinds)
    }

    /// Whether there is no such value.
    pub(super) fn is_never(&self) -> bool {
        self.never || self.kinds() == 0
    }

    /// Whether it may be of this kind.
    pub(super) fn may_be(&self, kind: &str) -> bool {
        let wanted = kinds_of(&Value::from(kind));
        self.kinds() & wanted != 0
    }

    /// Whether it is a whole number if it is a number.
    pub(super) fn is_whole(&self) -> bool {
        self.kinds() & (1 << 6) == 0
    }

    /// Whether nothing can fit both these facts and a part of a schema, for its kind.
    pub(super) fn differs_in_kind(&self, view: View<'_>, schema: &Value) -> bool {
        self.kinds() & kinds_of_schema(view, schema, DEPTH) == 0
    }

    /// All values that it may have, if they are few enough to be listed.
    pub(super) fn values(&self) -> Option<Vec<&'a Value>> {
        let mut lists = self.maps.iter().filter_map(|map| values_of(map));
        let mut values = lists.next()?;
        for list in lists {
            // Rather too many than too much work.
            if values.len().saturating_mul(list.len()) > MOST_COMPARED {
                continue;
            }
            values.retain(|value| list.iter().any(|other| is_equal(value, other)));
        }
        let kinds = self.kinds();
        values.retain(|value| kind_of(value) & kinds != 0);
        Some(values)
    }

    /// Whether any of the schemas has a keyword.
    pub(super) fn has(&self, key: &str) -> bool {
        self.maps.iter().any(|map| map.contains_key(key))
    }

    /// Whether items are described one by one, as in draft-07.
    pub(super) fn has_list_of_items(&self) -> bool {
        self.maps.iter().any(|map| map.get("items").is_some_and(Value::is_array))
    }

    /// The names of all properties that are described.
    pub(super) fn names(&self) -> Vec<&'a String> {
        let named = |map: &&'a Map<String, Value>| map.get("properties").and_then(Value::as_object);
        let mut names: Vec<&String> = self.maps.iter().filter_map(named).flat_map(Map::keys).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What is known of a property, or of those that nobody names. `None` if
    /// nothing is.
    pub(super) fn property(&self, name: Option<&str>) -> Option<Self> {
        let mut known = Vec::new();
        for map in &self.maps {
            let described = name.and_then(|name| map.get("properties")?.get(name));
            // A pattern may match the name, and then the rest does not count.
            let others =
                if map.contains_key("patternProperties") { None } else { map.get("additionalProperties") };
            known.extend(described.or(others));
        }
        (!known.is_empty()).then(|| Self::of_all(self.view, known))
    }

    /// What is known of the items. `None` if nothing is.
    pub(super) fn items(&self) -> Option<Self> {
        let known: Vec<&Value> = self.maps.iter().filter_map(|map| map.get("items")).collect();
        (!known.is_empty()).then(|| Self::of_all(self.view, known))
    }

    /// The properties that are always there.
    pub(super) fn required(&self) -> Vec<&'a str> {
        self.maps.iter().flat_map(|map| list(map, "required")).filter_map(Value::as_str).collect()
    }

    /// The same facts, with each of the alternatives of which one holds.
    pub(super) fn alternatives(&self) -> Option<Vec<Self>> {
        for (place, map) in self.maps.iter().enumerate() {
            for key in ["anyOf", "oneOf"] {
                if !map.contains_key(key) || self.chosen.contains(&(place, key)) {
                    continue;
                }
                let each = list(map, key).map(|one| {
                    let mut facts = self.clone();
                    facts.chosen.push((place, key));
                    facts.learn(one);
                    facts
                });
                return Some(each.collect());
            }
        }
        None
    }

    /// The same facts, for each kind that the value may be of; `None` if that
    /// is one kind alone.
    pub(super) fn by_kind(&self) -> Option<Vec<Self>> {
        let kinds = self.kinds();
        if kinds.count_ones() < 2 {
            return None;
        }
        let each = (0..KINDS.len()).map(|place| 1 << place).filter(|kind| kinds & kind != 0);
        Some(each.map(|kind| Self { narrowed: Some(kind), ..self.clone() }).collect())
    }

    /// The older schema allows these kinds.
    pub(super) fn check_type(&self, wanted: &Value, at: &str) -> Option<Break> {
        let (older, newer) = (kinds_of(wanted), self.kinds());
        if newer & !older == 0 {
            return None;
        }
        let detail = match newer & older == 0 {
            true => format!("type changed from {} to {}", named(older), named(newer)),
            false => format!("may now be {}, and was {}", named(newer & !older), named(older)),
        };
        Some(Break::new(at, detail))
    }

    /// The older schema promises these properties.
    pub(super) fn check_required(&self, wanted: &Value, at: &str) -> Vec<Break> {
        if !self.may_be("object") {
            return Vec::new();
        }
        let required = self.required();
        let missing = wanted.as_array().into_iter().flatten().filter_map(Value::as_str);
        let missing = missing.filter(|name| !required.contains(name));
        let at = |name: &str| format!("{at}/properties/{}", escape(name));
        missing.map(|name| Break::new(at(name), "was always there, and now may be missing")).collect()
    }
}

/// Whether two values are the same to JSON Schema: `1` and `1.0` are.
pub(super) fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || (one.as_f64() == other.as_f64() && (one.is_f64() || other.is_f64()))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| is_equal(value, other)))
        }
        (one, other) => one == other,
    }
}
