//! What a replay is about.

use serde::{Deserialize, Serialize};

use crate::attempt::ErrorClass;
use crate::clock::Timestamp;
use crate::event::Label;
use crate::event_type::Pattern;
use crate::names::Subject;

/// Which deliveries, or events, a replay is about. All conditions must hold.
///
/// It is stored as JSON: texts, and times in microseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplayFilter {
    /// With an event of this type, or of those below a name.
    #[serde(with = "text")]
    pub event_type: Option<Pattern>,
    /// With an event that has this label.
    #[serde(with = "text")]
    pub label: Option<Label>,
    /// With an event about this object.
    #[serde(with = "text")]
    pub subject: Option<Subject>,
    /// Whose last attempt ended like this.
    pub error_class: Option<ErrorClass>,
    /// Whose last attempt was answered like this.
    pub http_status: Option<u16>,
    /// With an event not before this.
    #[serde(with = "micros")]
    pub occurred_after: Option<Timestamp>,
    /// With an event before this.
    #[serde(with = "micros")]
    pub occurred_before: Option<Timestamp>,
    /// With an event published not before this.
    #[serde(with = "micros")]
    pub published_after: Option<Timestamp>,
}

impl ReplayFilter {
    /// Whether it selects everything that was published since a moment, or ever.
    pub fn is_everything(&self) -> bool {
        *self == Self { published_after: self.published_after, ..Self::default() }
    }
}

/// Values that are stored as the text that they are parsed from.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// Times to the microsecond, finer than their text.
mod micros {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::clock::Timestamp;

    pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        time.map(Timestamp::as_micros).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::deserialize(from)?.map(Timestamp::from_micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> ReplayFilter {
        ReplayFilter {
            event_type: Some("order.*".parse().expect("a pattern")),
            label: Some("region:eu:west".parse().expect("a label")),
            subject: Some("ord_1".parse().expect("a subject")),
            error_class: Some(ErrorClass::Timeout),
            http_status: Some(503),
            occurred_after: Some(Timestamp::from_micros(1)),
            occurred_before: Some(Timestamp::from_micros(2_000_001)),
            published_after: Some(Timestamp::from_micros(3)),
        }
    }

    #[test]
    fn a_filter_is_stored_as_texts_and_microseconds_for_ever() {
        let stored = r#"{"event_type":"order.*","label":"region:eu:west","subject":"ord_1","error_class":"timeout","http_status":503,"occurred_after":1,"occurred_before":2000001,"published_after":3}"#;
        assert_eq!(serde_json::to_string(&full()).expect("JSON"), stored);
        assert_eq!(serde_json::from_str::<ReplayFilter>(stored).expect("a filter"), full());
        // Before there were labels.
        let earlier = r#"{"event_type":null,"subject":null,"error_class":null,"http_status":null,"occurred_after":null,"occurred_before":null,"published_after":null}"#;
        assert_eq!(serde_json::from_str::<ReplayFilter>(earlier).expect("a filter"), ReplayFilter::default());
    }

    #[test]
    fn a_stored_filter_that_cannot_be_parsed_is_an_error() {
        for broken in [r#"{"event_type":"order..*"}"#, r#"{"label":"eu"}"#, r#"{"error_class":"bad"}"#] {
            assert!(serde_json::from_str::<ReplayFilter>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_filter_with_the_time_of_publishing_alone_is_about_everything() {
        let since = ReplayFilter { published_after: full().published_after, ..ReplayFilter::default() };
        assert!(since.is_everything() && ReplayFilter::default().is_everything());
        for narrower in [
            ReplayFilter { subject: full().subject, ..since.clone() },
            ReplayFilter { occurred_before: full().occurred_before, ..since },
        ] {
            assert!(!narrower.is_everything());
        }
    }
}
