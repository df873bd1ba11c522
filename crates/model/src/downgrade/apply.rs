//! Downgrades of data. Only what stands on the way of a step is read; all
//! else keeps its bytes.

use std::fmt;

use serde::Deserialize as _;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Part, Place, Step};

/// Data, read as far as was needed.
enum Node<'a> {
    /// As it came.
    Raw(&'a RawValue),
    /// An object, its members in their order.
    Object(Vec<(String, Node<'a>)>),
    /// A list.
    List(Vec<Node<'a>>),
    /// From a step.
    New(&'a Value),
}

pub(super) fn apply(steps: &[Step], data: &str) -> Result<String, serde_json::Error> {
    let mut root = Node::Raw(serde_json::from_str(data)?);
    for step in steps {
        step.run(&mut root)?;
    }
    let mut text = String::with_capacity(data.len());
    root.write(&mut text)?;
    Ok(text)
}

impl Step {
    fn run<'a>(&'a self, root: &mut Node<'a>) -> Result<(), serde_json::Error> {
        match self {
            Self::Drop { at } => {
                let (before, name) = at.split();
                root.visit(before, &mut |node| {
                    node.take(name)?;
                    Ok(())
                })
            }
            Self::Default { at, value } => {
                let (before, name) = at.split();
                root.visit(before, &mut |node| node.put_if_missing(name, value))
            }
            Self::Map { at, values, otherwise } => {
                let (before, name) = at.split();
                root.visit(before, &mut |node| {
                    let Some(member) = node.member(name)? else { return Ok(()) };
                    let mapped = values.get(&member.as_key()?).or(otherwise.as_ref());
                    if let Some(value) = mapped {
                        *member = Node::New(value);
                    }
                    Ok(())
                })
            }
            Self::Move { from, to } => {
                let shared = from.shared();
                let (from, to) = (Place(from.0[shared..].to_vec()), Place(to.0[shared..].to_vec()));
                let before = match self {
                    Self::Move { from, .. } => &from.0[..shared],
                    _ => &[],
                };
                root.visit(before, &mut |node| {
                    let (parents, name) = from.split();
                    let mut taken = None;
                    node.visit(parents, &mut |node| {
                        taken = node.take(name)?;
                        Ok(())
                    })?;
                    let Some(taken) = taken else { return Ok(()) };
                    let (parents, name) = to.split();
                    node.put(parents, name, taken)
                })
            }
        }
    }
}

type Action<'f, 'a> = &'f mut dyn FnMut(&mut Node<'a>) -> Result<(), serde_json::Error>;

impl<'a> Node<'a> {
    /// Reads one level more, if it is an object or a list.
    fn open(&mut self) -> Result<(), serde_json::Error> {
        let text = match self {
            Self::Raw(raw) => raw.get(),
            Self::New(Value::Object(members)) => {
                *self = Self::Object(
                    members.iter().map(|(name, value)| (name.clone(), Self::New(value))).collect(),
                );
                return Ok(());
            }
            _ => return Ok(()),
        };
        if text.starts_with('{') {
            let members = serde_json::Deserializer::from_str(text).deserialize_map(Members)?;
            *self = Self::Object(members.into_iter().map(|(name, raw)| (name, Self::Raw(raw))).collect());
        } else if text.starts_with('[') {
            let items = Vec::<&RawValue>::deserialize(&mut serde_json::Deserializer::from_str(text))?;
            *self = Self::List(items.into_iter().map(Self::Raw).collect());
        }
        Ok(())
    }

    /// Does something with each object at a place.
    fn visit(&mut self, way: &[Part], action: Action<'_, 'a>) -> Result<(), serde_json::Error> {
        self.open()?;
        match (way.split_first(), self) {
            (None, node @ Self::Object(_)) => action(node),
            (Some((Part::Name(name), rest)), Self::Object(members)) => {
                match members.iter_mut().find(|(known, _)| known == name) {
                    Some((_, member)) => member.visit(rest, action),
                    None => Ok(()),
                }
            }
            (Some((Part::Each, rest)), Self::List(items)) => {
                items.iter_mut().try_for_each(|item| item.visit(rest, action))
            }
            _ => Ok(()),
        }
    }

    fn member(&mut self, name: &str) -> Result<Option<&mut Self>, serde_json::Error> {
        self.open()?;
        Ok(match self {
            Self::Object(members) => {
                members.iter_mut().find(|(known, _)| known == name).map(|(_, member)| member)
            }
            _ => None,
        })
    }

    fn take(&mut self, name: &str) -> Result<Option<Self>, serde_json::Error> {
        self.open()?;
        let Self::Object(members) = self else { return Ok(None) };
        let place = members.iter().position(|(known, _)| known == name);
        Ok(place.map(|place| members.remove(place).1))
    }

    fn put_if_missing(&mut self, name: &str, value: &'a Value) -> Result<(), serde_json::Error> {
        if self.member(name)?.is_none()
            && let Self::Object(members) = self
        {
            members.push((name.to_owned(), Self::New(value)));
        }
        Ok(())
    }

    /// Puts a member at a place, with the objects that are missing on the way.
    fn put(&mut self, way: &[Part], name: &str, node: Self) -> Result<(), serde_json::Error> {
        self.open()?;
        let Self::Object(members) = self else { return Ok(()) };
        let next = match way.first() {
            Some(Part::Name(next)) => next,
            Some(Part::Each) => return Ok(()),
            None => {
                members.retain(|(known, _)| known != name);
                members.push((name.to_owned(), node));
                return Ok(());
            }
        };
        let place = members.iter().position(|(known, _)| known == next).unwrap_or_else(|| {
            members.push((next.clone(), Self::Object(Vec::new())));
            members.len() - 1
        });
        members[place].1.put(&way[1..], name, node)
    }

    /// By what name a step maps this value.
    fn as_key(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::Raw(raw) if raw.get().starts_with('"') => serde_json::from_str(raw.get()),
            Self::Raw(raw) => Ok(match raw.get().parse::<f64>() {
                // 1.0 and 1e0 are 1.
                Ok(number) if number.fract() == 0.0 && number.abs() < 1e15 => format!("{number:.0}"),
                _ => raw.get().to_owned(),
            }),
            Self::New(Value::String(text)) => Ok(text.clone()),
            Self::New(value) => Ok(value.to_string()),
            Self::Object(_) | Self::List(_) => Ok(String::new()),
        }
    }

    fn write(&self, text: &mut String) -> Result<(), serde_json::Error> {
        match self {
            Self::Raw(raw) => text.push_str(raw.get()),
            Self::New(value) => text.push_str(&serde_json::to_string(value)?),
            Self::Object(members) => {
                text.push('{');
                for (place, (name, member)) in members.iter().enumerate() {
                    if place > 0 {
                        text.push(',');
                    }
                    text.push_str(&serde_json::to_string(name)?);
                    text.push(':');
                    member.write(text)?;
                }
                text.push('}');
            }
            Self::List(items) => {
                text.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        text.push(',');
                    }
                    item.write(text)?;
                }
                text.push(']');
            }
        }
        Ok(())
    }
}

/// Reads the members of an object in their order.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}
