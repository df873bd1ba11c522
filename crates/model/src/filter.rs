//! Conditions on events: which of the events that an endpoint subscribed to
//! it really wants.
//!
//! A condition looks at one place of the event by a JSON pointer (RFC 6901)
//! whose first part is `data`, `labels`, `type` or `subject`; conditions are
//! combined with `all`, `any` and `not`. Everything is bounded when the filter
//! is set, so that no event can make it slow.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use crate::event::Labels;
use crate::event_type::EventType;
use crate::names::Subject;

/// The greatest number of conditions in a filter.
pub const MAX_CONDITIONS: usize = 50;
/// How deep `all`, `any` and `not` may be nested.
pub const MAX_DEPTH: usize = 5;
/// The greatest number of values in `in`.
pub const MAX_VALUES: usize = 100;
/// The longest text in a filter, in bytes.
pub const MAX_TEXT: usize = 512;
/// The deepest place that a pointer may name.
const MAX_POINTER_PARTS: usize = 16;

/// A condition, or conditions combined.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    root: Node,
    /// Whether any condition looks at the data.
    reads_data: bool,
    /// As it was written.
    source: Value,
}

impl serde::Serialize for Filter {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(to)
    }
}

impl<'de> serde::Deserialize<'de> for Filter {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&Value::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Test { place: Place, check: Check },
}

#[derive(Debug, Clone, PartialEq)]
enum Place {
    Type,
    Subject,
    Label(String),
    /// The parts of the pointer below `/data`.
    Data(Vec<String>),
}

#[derive(Debug, Clone, PartialEq)]
enum Check {
    Equals(Value),
    In(Vec<Value>),
    Prefix(String),
    Exists(bool),
    Compare(Comparison, Bound),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// What is compared with: numbers with numbers, texts with texts.
#[derive(Debug, Clone, PartialEq)]
enum Bound {
    Number(Number),
    Text(String),
}

/// What is wrong with a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct InvalidFilter {
    /// A JSON pointer into the filter.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
}

/// What a filter looks at.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The event's type.
    pub event_type: &'a EventType,
    /// Its subject.
    pub subject: &'a Subject,
    /// Its labels.
    pub labels: &'a Labels,
    /// Its data, read; only needed where [`Filter::reads_data`].
    pub data: Option<&'a Value>,
}

impl Filter {
    /// Reads a filter.
    pub fn parse(json: &Value) -> Result<Self, InvalidFilter> {
        let mut reader = Reader { conditions: 0, reads_data: false };
        let root = reader.node(json, "", 0)?;
        Ok(Self { root, reads_data: reader.reads_data, source: json.clone() })
    }

    /// As it was written.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Whether it has to see the data.
    pub fn reads_data(&self) -> bool {
        self.reads_data
    }

    /// Whether an event passes.
    pub fn passes(&self, candidate: &Candidate<'_>) -> bool {
        self.root.passes(candidate)
    }
}

/// Reads a filter, and counts what is bounded.
struct Reader {
    conditions: usize,
    reads_data: bool,
}

fn invalid(pointer: &str, detail: impl Into<String>) -> InvalidFilter {
    InvalidFilter { pointer: pointer.to_owned(), detail: detail.into() }
}

impl Reader {
    fn node(&mut self, json: &Value, pointer: &str, depth: usize) -> Result<Node, InvalidFilter> {
        if depth > MAX_DEPTH {
            return Err(invalid(pointer, format!("is nested deeper than {MAX_DEPTH}")));
        }
        let Value::Object(map) = json else { return Err(invalid(pointer, "must be an object")) };
        if map.contains_key("at") {
            return self.test(map, pointer);
        }
        let mut entries = map.iter();
        let (Some((name, value)), None) = (entries.next(), entries.next()) else {
            return Err(invalid(
                pointer,
                "must have \"at\" and one check, or one of \"all\", \"any\" and \"not\"",
            ));
        };
        let inner = format!("{pointer}/{name}");
        match name.as_str() {
            "all" => Ok(Node::All(self.nodes(value, &inner, depth)?)),
            "any" => Ok(Node::Any(self.nodes(value, &inner, depth)?)),
            "not" => Ok(Node::Not(Box::new(self.node(value, &inner, depth + 1)?))),
            _ => Err(invalid(&inner, "is not known; a filter has \"all\", \"any\", \"not\" or \"at\"")),
        }
    }

    fn nodes(&mut self, json: &Value, pointer: &str, depth: usize) -> Result<Vec<Node>, InvalidFilter> {
        match json {
            Value::Array(items) if !items.is_empty() => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.node(item, &format!("{pointer}/{index}"), depth + 1))
                .collect(),
            _ => Err(invalid(pointer, "must be a list of at least one filter")),
        }
    }

    fn test(&mut self, map: &Map<String, Value>, pointer: &str) -> Result<Node, InvalidFilter> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(invalid(pointer, format!("there are more than {MAX_CONDITIONS} conditions")));
        }
        let at = format!("{pointer}/at");
        let place =
            map.get("at").and_then(Value::as_str).ok_or_else(|| invalid(&at, "must be a JSON pointer"))?;
        let place = place_of(place, &at)?;
        self.reads_data |= matches!(place, Place::Data(_));
        let mut checks = map.iter().filter(|(name, _)| *name != "at");
        let (Some((name, value)), None) = (checks.next(), checks.next()) else {
            return Err(invalid(pointer, "must have exactly one check beside \"at\""));
        };
        let inner = format!("{pointer}/{name}");
        let check = match name.as_str() {
            "equals" => Check::Equals(scalar(value, &inner)?),
            "in" => match value {
                Value::Array(values) if !values.is_empty() && values.len() <= MAX_VALUES => {
                    Check::In(values.iter().map(|value| scalar(value, &inner)).collect::<Result<_, _>>()?)
                }
                _ => return Err(invalid(&inner, format!("must be a list of 1 to {MAX_VALUES} values"))),
            },
            "prefix" => match scalar(value, &inner)? {
                Value::String(text) => Check::Prefix(text),
                _ => return Err(invalid(&inner, "must be a text")),
            },
            "exists" => {
                Check::Exists(value.as_bool().ok_or_else(|| invalid(&inner, "must be true or false"))?)
            }
            "above" => Check::Compare(Comparison::Above, bound(value, &inner)?),
            "at_least" => Check::Compare(Comparison::AtLeast, bound(value, &inner)?),
            "below" => Check::Compare(Comparison::Below, bound(value, &inner)?),
            "at_most" => Check::Compare(Comparison::AtMost, bound(value, &inner)?),
            _ => {
                let known = "equals, in, prefix, exists, above, at_least, below, at_most";
                return Err(invalid(&inner, format!("is not a check; there are {known}")));
            }
        };
        Ok(Node::Test { place, check })
    }
}

fn place_of(text: &str, pointer: &str) -> Result<Place, InvalidFilter> {
    if text.len() > MAX_TEXT {
        return Err(invalid(pointer, format!("is longer than {MAX_TEXT} bytes")));
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err(invalid(pointer, "must be a JSON pointer such as /data/total"));
    };
    let mut parts: Vec<String> =
        rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    let first = parts.remove(0);
    match (first.as_str(), parts.len()) {
        ("type", 0) => Ok(Place::Type),
        ("subject", 0) => Ok(Place::Subject),
        ("labels", 1) => Ok(Place::Label(parts.remove(0))),
        ("data", count) if count <= MAX_POINTER_PARTS => Ok(Place::Data(parts)),
        ("data", _) => Err(invalid(pointer, format!("has more than {MAX_POINTER_PARTS} parts"))),
        _ => Err(invalid(pointer, "must begin with /data, or be /type, /subject or /labels/NAME")),
    }
}

fn scalar(value: &Value, pointer: &str) -> Result<Value, InvalidFilter> {
    match value {
        Value::Array(_) | Value::Object(_) => {
            Err(invalid(pointer, "must be a text, a number, true, false or null"))
        }
        Value::String(text) if text.len() > MAX_TEXT => {
            Err(invalid(pointer, format!("is longer than {MAX_TEXT} bytes")))
        }
        _ => Ok(value.clone()),
    }
}

fn bound(value: &Value, pointer: &str) -> Result<Bound, InvalidFilter> {
    match scalar(value, pointer)? {
        Value::Number(number) => Ok(Bound::Number(number)),
        Value::String(text) => Ok(Bound::Text(text)),
        _ => Err(invalid(pointer, "must be a number or a text")),
    }
}

impl Node {
    fn passes(&self, candidate: &Candidate<'_>) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.passes(candidate)),
            Self::Any(nodes) => nodes.iter().any(|node| node.passes(candidate)),
            Self::Not(node) => !node.passes(candidate),
            Self::Test { place, check } => match place {
                Place::Type => check.passes_text(Some(candidate.event_type.as_str())),
                Place::Subject => check.passes_text(Some(candidate.subject.as_str())),
                Place::Label(name) => check.passes_text(candidate.labels.get(name)),
                Place::Data(parts) => check.passes(candidate.data.and_then(|data| find(data, parts))),
            },
        }
    }
}

fn find<'v>(data: &'v Value, parts: &[String]) -> Option<&'v Value> {
    parts.iter().try_fold(data, |value, part| match value {
        Value::Object(map) => map.get(part),
        // No leading zeros, as RFC 6901 says.
        Value::Array(items) if part == "0" || !part.starts_with('0') => {
            items.get(part.parse::<usize>().ok()?)
        }
        _ => None,
    })
}

impl Check {
    fn passes_text(&self, text: Option<&str>) -> bool {
        self.passes(text.map(|text| Value::String(text.to_owned())).as_ref())
    }

    fn passes(&self, value: Option<&Value>) -> bool {
        let Some(value) = value else { return *self == Self::Exists(false) };
        match self {
            Self::Exists(wanted) => *wanted,
            Self::Equals(wanted) => equal(value, wanted),
            Self::In(wanted) => wanted.iter().any(|wanted| equal(value, wanted)),
            Self::Prefix(prefix) => value.as_str().is_some_and(|text| text.starts_with(prefix.as_str())),
            Self::Compare(comparison, bound) => {
                let order = match (value, bound) {
                    (Value::Number(number), Bound::Number(bound)) => compare(number, bound),
                    (Value::String(text), Bound::Text(bound)) => Some(text.as_str().cmp(bound)),
                    _ => None,
                };
                order.is_some_and(|order| comparison.holds(order))
            }
        }
    }
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Above => order.is_gt(),
            Self::AtLeast => order.is_ge(),
            Self::Below => order.is_lt(),
            Self::AtMost => order.is_le(),
        }
    }
}

/// JSON has one kind of number: 1 and 1.0 are equal.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare(left, right) == Some(Ordering::Equal),
        _ => left == right,
    }
}

fn compare(left: &Number, right: &Number) -> Option<Ordering> {
    // Whole numbers exactly; all others as near as they are written.
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn passes(filter: Value, data: Value) -> bool {
        let (event_type, subject) =
            (EventType::parse("order.paid").expect("a type"), Subject::parse("ord_1").expect("a subject"));
        let labels = Labels::parse([("region".to_owned(), "eu-west".to_owned())].into()).expect("labels");
        let candidate =
            Candidate { event_type: &event_type, subject: &subject, labels: &labels, data: Some(&data) };
        Filter::parse(&filter).expect("a filter").passes(&candidate)
    }

    fn fault(filter: Value) -> (String, String) {
        let error = Filter::parse(&filter).expect_err("not a filter");
        (error.pointer, error.detail)
    }

    #[test]
    fn conditions_look_at_data_labels_type_and_subject() {
        let data = || json!({"total": 1200, "items": [{"sku": "a"}], "a/b": null});
        for (filter, expected) in [
            (json!({"at": "/data/total", "equals": 1200.0}), true),
            (json!({"at": "/data/total", "above": 1200}), false),
            (json!({"at": "/data/total", "at_least": 1200}), true),
            (json!({"at": "/data/total", "below": "9"}), false),
            (json!({"at": "/data/total", "at_most": 1e9}), true),
            (json!({"at": "/data/items/0/sku", "in": ["b", "a"]}), true),
            (json!({"at": "/data/items/00/sku", "exists": true}), false),
            (json!({"at": "/data/a~1b", "equals": null}), true),
            (json!({"at": "/data/none", "equals": null}), false),
            (json!({"at": "/data/none", "exists": false}), true),
            (json!({"at": "/labels/region", "prefix": "eu-"}), true),
            (json!({"at": "/labels/none", "exists": true}), false),
            (json!({"at": "/type", "equals": "order.paid"}), true),
            (json!({"at": "/subject", "above": "ord_0"}), true),
            (json!({"not": {"at": "/subject", "prefix": "ord_"}}), false),
            (json!({"all": [{"at": "/data/total", "exists": true}, {"at": "/type", "prefix": "x"}]}), false),
            (json!({"any": [{"at": "/data/total", "exists": true}, {"at": "/type", "prefix": "x"}]}), true),
        ] {
            assert_eq!(passes(filter.clone(), data()), expected, "{filter}");
        }
    }

    #[test]
    fn large_whole_numbers_are_compared_exactly() {
        let data = json!({"id": 9_007_199_254_740_993_i64});
        assert!(!passes(json!({"at": "/data/id", "equals": 9_007_199_254_740_992_i64}), data));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let deep = (0..7).fold(json!({"at": "/type", "exists": true}), |inner, _| json!({"not": inner}));
        let many: Vec<Value> = (0..51).map(|_| json!({"at": "/type", "exists": true})).collect();
        for (filter, pointer, part) in [
            (json!([]), "", "must be an object"),
            (json!({}), "", "must have"),
            (json!({"nor": []}), "/nor", "is not known"),
            (json!({"all": []}), "/all", "at least one"),
            (json!({"all": [{"at": "data"}]}), "/all/0/at", "JSON pointer"),
            (json!({"at": "/meta", "exists": true}), "/at", "must begin with /data"),
            (json!({"at": "/data/x"}), "", "exactly one check"),
            (json!({"at": "/data/x", "above": 1, "below": 2}), "", "exactly one check"),
            (json!({"at": "/data/x", "regex": "a"}), "/regex", "is not a check"),
            (json!({"at": "/data/x", "equals": [1]}), "/equals", "must be a text"),
            (json!({"at": "/data/x", "in": []}), "/in", "1 to 100"),
            (json!({"at": "/data/x", "prefix": 1}), "/prefix", "must be a text"),
            (json!({"at": "/data/x", "above": true}), "/above", "a number or a text"),
            (deep, "/not/not/not/not/not/not", "deeper than 5"),
            (json!({"any": many}), "/any/50", "more than 50"),
        ] {
            let (at, detail) = fault(filter.clone());
            assert!(at == pointer && detail.contains(part), "{filter}: {at}: {detail}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z/~]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let name =
                prop_oneof!["all", "any", "not", "at", "equals", "in", "above", "exists", "[a-z]{1,3}"];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((name, inner), 0..3)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_makes_it_panic(filter in any_json(), data in any_json()) {
            if let Ok(filter) = Filter::parse(&filter) {
                let (event_type, subject) =
                    (EventType::parse("a.b").expect("a type"), Subject::parse("s").expect("a subject"));
                let labels = Labels::default();
                filter.passes(&Candidate {
                    event_type: &event_type, subject: &subject, labels: &labels, data: Some(&data),
                });
            }
        }

        #[test]
        fn not_turns_every_answer_around(data in any_json(), bound in any::<i64>()) {
            let condition = json!({"at": "/data/a", "above": bound});
            prop_assert_ne!(passes(condition.clone(), data.clone()), passes(json!({"not": condition}), data));
        }
    }
}
