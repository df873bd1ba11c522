//! Events: what a product service publishes.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::event_type::EventType;
use crate::ids::{EventId, ProjectId, TenantId};
use crate::json;
use crate::names::{InvalidText, OrderingKey, Subject, check_optional_text, check_text};

/// Most labels an event may carry.
pub const MAX_LABELS: usize = 20;
/// The longest name of a label, in bytes.
pub const MAX_LABEL_NAME: usize = 64;
/// The longest value of a label, in bytes.
pub const MAX_LABEL_VALUE: usize = 256;

/// Why a publisher's data cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidData {
    /// Not a JSON object.
    #[error("must be a JSON object")]
    NotAnObject,
    /// Longer than the project's limit.
    #[error("is {len} bytes long; at most {max} are allowed. Send the id and let receivers fetch the rest")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The greatest length in bytes.
        max: usize,
    },
}

/// A publisher's `data`: the bytes of one JSON object, kept as they came.
#[derive(Clone, PartialEq, Eq)]
pub struct EventData(Arc<[u8]>);

impl EventData {
    /// Takes a part of a request that [`crate::json::check`] has passed, and
    /// copies it: a slice would keep the whole request buffer alive for as
    /// long as the event waits.
    pub fn parse(text: &str, max: usize) -> Result<Self, InvalidData> {
        if !text.starts_with('{') {
            return Err(InvalidData::NotAnObject);
        }
        if text.len() > max {
            return Err(InvalidData::TooLarge { len: text.len(), max });
        }
        Ok(Self(text.as_bytes().into()))
    }

    /// Data that a store kept, which was checked when it came.
    pub fn from_stored(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// What they say, as far as this program can hold it ([`json::to_value`]).
    pub fn to_value(&self) -> Option<serde_json::Value> {
        json::to_value(&self.0)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same bytes, shared.
    pub fn share(&self) -> Arc<[u8]> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for EventData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What customers are told is none of a log's business.
        write!(f, "EventData({} bytes)", self.0.len())
    }
}

/// The data of an event in versions before its own, for those who are pinned to them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OlderData(BTreeMap<u32, EventData>);

impl OlderData {
    /// The data in a version.
    pub fn get(&self, version: u32) -> Option<&EventData> {
        self.0.get(&version)
    }

    /// Adds the data in a version: the text of a JSON object.
    pub fn add(&mut self, version: u32, text: String) {
        self.0.insert(version, EventData(text.into_bytes().into()));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a store keeps it: `{"1":{…}}`; nothing where there is none.
    pub fn to_stored(&self) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        let mut text = vec![b'{'];
        for (version, data) in &self.0 {
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend_from_slice(format!("\"{version}\":").as_bytes());
            text.extend_from_slice(data.as_bytes());
        }
        text.push(b'}');
        Some(text)
    }

    /// What a store kept.
    pub fn from_stored(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let kept: BTreeMap<u32, &RawValue> = serde_json::from_slice(bytes)?;
        Ok(Self(
            kept.into_iter()
                .map(|(version, raw)| (version, EventData(raw.get().as_bytes().into())))
                .collect(),
        ))
    }
}

/// Data that is read once at most, and only if somebody asks what it says.
pub struct ReadOnce<'a> {
    data: &'a EventData,
    value: OnceCell<Option<serde_json::Value>>,
}

impl<'a> ReadOnce<'a> {
    /// Not read yet.
    pub fn new(data: &'a EventData) -> Self {
        Self { data, value: OnceCell::new() }
    }

    /// The bytes.
    pub fn data(&self) -> &EventData {
        self.data
    }

    /// What they say ([`EventData::to_value`]).
    pub fn value(&self) -> Option<&serde_json::Value> {
        self.value.get_or_init(|| self.data.to_value()).as_ref()
    }
}

/// Labels of an event, for filters and lists: names and values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    /// Checks names and values.
    pub fn parse(labels: Vec<(String, String)>) -> Result<Self, InvalidLabels> {
        if labels.len() > MAX_LABELS {
            return Err(InvalidLabels::TooMany);
        }
        for (name, value) in &labels {
            let fault = |reason| InvalidLabels::Label { name: name.clone(), reason };
            check_text(name, MAX_LABEL_NAME).map_err(fault)?;
            check_optional_text(value, MAX_LABEL_VALUE).map_err(fault)?;
        }
        Ok(Self(labels))
    }

    /// Labels that a store kept, which were checked when they came.
    pub fn from_stored(labels: Vec<(String, String)>) -> Self {
        Self(labels)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A label that events are looked up by: `name:value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FromStr for Label {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once(':').ok_or("must be name:value, such as region:eu")?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.value)
    }
}

/// Why labels cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabels {
    /// More than [`MAX_LABELS`].
    #[error("has more than {MAX_LABELS} labels")]
    TooMany,
    /// A name or value is not usable.
    #[error("the label {name:?} {reason}")]
    Label {
        /// Which label.
        name: String,
        /// Why.
        reason: InvalidText,
    },
}

/// What is known of an event beside its data.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its id, the same at every retry and replay.
    pub id: EventId,
    /// The project.
    pub project: ProjectId,
    /// The customer that it is for.
    pub tenant: TenantId,
    /// What happened.
    pub event_type: EventType,
    /// The version of its schema.
    pub schema_version: u32,
    /// The object that it happened to.
    pub subject: Subject,
    /// The object's revision, if the publisher counts them.
    pub revision: Option<u64>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Events with the same key belong in one order.
    pub ordering_key: OrderingKey,
    /// For filters and lists.
    pub labels: Labels,
    /// Its number among the tenant's events, from 1, in the order of commit.
    pub sequence: u64,
    /// Sent by the test route.
    pub test: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_keeps_its_bytes() {
        let text = "{ \"total\" : 1.10, \"big\": 12345678901234567890 }";
        let data = EventData::parse(text, 1_000).expect("data");
        assert_eq!(data.as_bytes(), text.as_bytes());
    }

    #[test]
    fn data_that_is_no_object_or_too_large_is_refused() {
        assert_eq!(EventData::parse("[]", 10), Err(InvalidData::NotAnObject));
        assert_eq!(EventData::parse("null", 10), Err(InvalidData::NotAnObject));
        assert_eq!(EventData::parse("{\"a\":\"bcd\"}", 10), Err(InvalidData::TooLarge { len: 11, max: 10 }));
    }

    #[test]
    fn labels_have_bounds() {
        let label = |name: &str, value: &str| Labels::parse(vec![(name.into(), value.into())]);
        assert!(label("region", "").is_ok());
        assert!(label("", "eu").is_err());
        assert!(label("region", "a\0").is_err());
        assert!(Labels::parse(vec![("a".into(), "b".into()); 21]).is_err());
    }
}
