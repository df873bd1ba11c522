//! How data of one version becomes data of the version before.
//!
//! A downgrade is a list of plain steps: rename, move, drop, default, map. No
//! program runs, and what no step touches keeps its bytes.

mod apply;
mod promise;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::schema::{BreakKind, Fault, Reasoner, Schema};

/// How many steps a downgrade may have.
pub const MAX_STEPS: usize = 100;
/// How many values a step may map.
pub const MAX_VALUES: usize = 500;
/// How deep a place may be.
const MAX_PARTS: usize = 16;

/// A part of the way to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// The member of this name.
    Name(String),
    /// Every item: written `*`.
    Each,
}

/// A place in data: `/lines/*/price`. Its last part is a name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place(Vec<Part>);

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("must be a place such as /customer/name or /lines/*/price".to_owned());
        };
        let part = |part: &str| match part {
            "*" => Part::Each,
            name => Part::Name(name.replace("~1", "/").replace("~0", "~")),
        };
        let parts: Vec<Part> = rest.split('/').map(part).collect();
        match parts.last() {
            _ if parts.len() > MAX_PARTS => Err(format!("is deeper than {MAX_PARTS} levels")),
            Some(Part::Name(name)) if !name.is_empty() => Ok(Self(parts)),
            _ => Err("must end with the name of a member".to_owned()),
        }
    }

    /// Where the member stands, and its name.
    fn split(&self) -> (&[Part], &str) {
        match self.0.split_last() {
            Some((Part::Name(name), before)) => (before, name),
            _ => (&[], ""),
        }
    }

    /// The part up to its last `*`.
    fn shared(&self) -> usize {
        self.0.iter().rposition(|part| *part == Part::Each).map_or(0, |place| place + 1)
    }
}

/// A step of a downgrade.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// Takes a member from one place to another.
    Move { from: Place, to: Place },
    /// Takes a member away.
    Drop { at: Place },
    /// Puts a value where there is none.
    Default { at: Place, value: Value },
    /// Puts one value in the place of another. Values that are no texts are
    /// named by their JSON.
    Map { at: Place, values: BTreeMap<String, Value>, otherwise: Option<Value> },
}

/// What becomes of endpoints that are pinned to the older version when it is
/// retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtSunset {
    /// They get events of this type no more.
    #[default]
    Stop,
    /// They get the newer version.
    MoveUp,
}

/// How data of a version becomes data of the version before.
#[derive(Debug, Clone, PartialEq)]
pub struct Downgrade {
    steps: Vec<Step>,
    at_sunset: AtSunset,
    /// As it was written.
    source: Value,
}

impl Downgrade {
    /// Reads a downgrade: `{"steps":[…],"at_sunset":"stop"}`.
    pub fn parse(source: &Value) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader { faults: Vec::new() };
        let downgrade = reader.downgrade(source);
        if reader.faults.is_empty() { Ok(downgrade) } else { Err(reader.faults) }
    }

    /// As it was written.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// What becomes of endpoints that are pinned to the older version.
    pub fn at_sunset(&self) -> AtSunset {
        self.at_sunset
    }

    /// Data of the older version. `data` is a JSON object.
    pub fn apply(&self, data: &str) -> Result<String, serde_json::Error> {
        apply::apply(&self.steps, data)
    }

    /// Why data of `newer` does not always become data of `older`. Faults
    /// speak against the downgrade; doubts are what could not be told.
    pub fn check(
        &self,
        older: &Schema,
        newer: &Schema,
        examples: &[Value],
        reasoner: &dyn Reasoner,
    ) -> Checked {
        let mut checked = Checked::default();
        match promise::promised(&self.steps, newer) {
            Err(faults) => checked.faults.extend(faults),
            Ok(schema) => {
                let promised = schema.and_then(|schema| newer.derived(schema));
                let breaks = promised.map(|promised| older.breaks(&promised, reasoner));
                match breaks {
                    None => {
                        checked.doubts.push("what comes of it cannot be told from the schemas".to_owned())
                    }
                    Some(breaks) => {
                        for one in breaks {
                            match one.kind {
                                BreakKind::Breaks => checked.faults.push(Fault {
                                    detail: format!("after the downgrade, {one}"),
                                    pointer: String::new(),
                                }),
                                BreakKind::Undecided => checked.doubts.push(one.to_string()),
                            }
                        }
                    }
                }
            }
        }
        for (place, example) in examples.iter().enumerate() {
            if let Err(faults) = self.check_example(older, example) {
                checked.faults.extend(faults.into_iter().map(|fault| Fault {
                    pointer: String::new(),
                    detail: format!("of example {place}, {}: {}", fault.pointer, fault.detail),
                }));
            }
        }
        checked
    }

    fn check_example(&self, older: &Schema, example: &Value) -> Result<(), Vec<Fault>> {
        let text = self.apply(&example.to_string()).map_err(|error| vec![broken(&error)])?;
        let after: Value = serde_json::from_str(&text).map_err(|error| vec![broken(&error)])?;
        older.validate(&after, text.len())
    }
}

fn broken(error: &serde_json::Error) -> Fault {
    Fault { pointer: String::new(), detail: format!("it is not JSON: {error}") }
}

/// What was found about a downgrade.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// What speaks against it.
    pub faults: Vec<Fault>,
    /// What could not be told; each event is checked all the same.
    pub doubts: Vec<String>,
}

struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    fn fault(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.faults.push(Fault { pointer: pointer.into(), detail: detail.into() });
    }

    fn downgrade(&mut self, source: &Value) -> Downgrade {
        let none = Map::new();
        let object = source.as_object().unwrap_or_else(|| {
            self.fault("", "must be an object such as {\"steps\":[{\"drop\":\"/note\"}]}");
            &none
        });
        for key in object.keys().filter(|key| !["steps", "at_sunset"].contains(&key.as_str())) {
            self.fault(format!("/{key}"), "is not known; there are steps and at_sunset");
        }
        let at_sunset = match object.get("at_sunset").map(|value| value.as_str()) {
            None | Some(Some("stop")) => AtSunset::Stop,
            Some(Some("move_up")) => AtSunset::MoveUp,
            Some(_) => {
                self.fault("/at_sunset", "must be \"stop\" or \"move_up\"");
                AtSunset::Stop
            }
        };
        let steps = match object.get("steps") {
            None => &[][..],
            Some(Value::Array(steps)) if steps.len() <= MAX_STEPS => steps,
            Some(_) => {
                self.fault("/steps", format!("must be a list of at most {MAX_STEPS} steps"));
                &[]
            }
        };
        let steps = steps.iter().enumerate().filter_map(|(index, step)| self.step(step, index)).collect();
        Downgrade { steps, at_sunset, source: source.clone() }
    }

    fn step(&mut self, step: &Value, index: usize) -> Option<Step> {
        let at = format!("/steps/{index}");
        let Some(object) = step.as_object() else {
            self.fault(at, "must be an object");
            return None;
        };
        let kinds = ["rename", "move", "drop", "default", "map"];
        let mut chosen = kinds.into_iter().filter(|kind| object.contains_key(*kind));
        let (Some(kind), None) = (chosen.next(), chosen.next()) else {
            self.fault(at, "must have one of rename, move, drop, default and map");
            return None;
        };
        let others: &[&str] = match kind {
            "rename" | "move" => &["to"],
            "default" => &["value"],
            "map" => &["values", "otherwise"],
            _ => &[],
        };
        for key in object.keys().filter(|key| *key != kind && !others.contains(&key.as_str())) {
            self.fault(format!("{at}/{key}"), format!("is not known beside {kind}"));
        }
        let place = self.place(object.get(kind), &format!("{at}/{kind}"))?;
        match kind {
            "drop" => Some(Step::Drop { at: place }),
            "default" => match object.get("value") {
                Some(value) => Some(Step::Default { at: place, value: value.clone() }),
                None => {
                    self.fault(format!("{at}/value"), "is required");
                    None
                }
            },
            "map" => self.map(object, place, &at),
            "rename" => self.rename(object, place, &at),
            _ => {
                let to = self.place(object.get("to"), &format!("{at}/to"))?;
                if place.0[..place.shared()] != to.0[..to.shared()] {
                    self.fault(
                        format!("{at}/to"),
                        "must lead through the same lists as the place it is moved from",
                    );
                    return None;
                }
                Some(Step::Move { from: place, to })
            }
        }
    }

    fn place(&mut self, value: Option<&Value>, at: &str) -> Option<Place> {
        let place = value.and_then(Value::as_str).ok_or_else(|| "must be a place such as /total".to_owned());
        match place.and_then(Place::parse) {
            Ok(place) => Some(place),
            Err(detail) => {
                self.fault(at, detail);
                None
            }
        }
    }

    fn rename(&mut self, object: &Map<String, Value>, from: Place, at: &str) -> Option<Step> {
        match object.get("to").and_then(Value::as_str) {
            Some(name) if !name.is_empty() && !name.starts_with('/') => {
                let mut to = from.clone();
                to.0.pop();
                to.0.push(Part::Name(name.to_owned()));
                Some(Step::Move { from, to })
            }
            _ => {
                self.fault(format!("{at}/to"), "must be the new name alone; use move for another place");
                None
            }
        }
    }

    fn map(&mut self, object: &Map<String, Value>, place: Place, at: &str) -> Option<Step> {
        match object.get("values") {
            Some(Value::Object(values)) if !values.is_empty() && values.len() <= MAX_VALUES => {
                let values = values.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                Some(Step::Map { at: place, values, otherwise: object.get("otherwise").cloned() })
            }
            _ => {
                let detail = format!("must be an object of 1 to {MAX_VALUES} values and what they become");
                self.fault(format!("{at}/values"), detail);
                None
            }
        }
    }
}
