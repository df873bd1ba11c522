//! Names of event types, and the subscriptions that select them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::clock::Timestamp;

/// The longest name, in bytes.
pub const MAX_LEN: usize = 128;

/// Why a text is not an event type or a subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEventType {
    /// Not segments of `[A-Za-z0-9_]` joined by dots.
    #[error("must be segments of [A-Za-z0-9_] joined by dots, such as invoice.paid, at most 128 bytes")]
    Name,
    /// Not a name, or a pattern.
    #[error("must be an event type such as invoice.paid, or a pattern such as invoice.* or *")]
    Pattern,
    /// What follows the `@` is not a version.
    #[error("after @ there must be a version number from 1, or \"latest\"")]
    Version,
}

/// The name of an event type, such as `invoice.paid`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(Arc<str>);

fn is_segment(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

impl EventType {
    /// Checks `name`.
    pub fn parse(name: &str) -> Result<Self, InvalidEventType> {
        if name.len() > MAX_LEN || !name.split('.').all(is_segment) {
            return Err(InvalidEventType::Name);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Which version of an event type a subscription wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedVersion {
    /// What is newest when the endpoint, or the type, appears.
    Unpinned,
    /// Whatever is newest when an event is published.
    Latest,
    /// This one.
    Pinned(u32),
}

/// One entry of an endpoint's `event_types`: a name or a pattern, and
/// perhaps a version, such as `order.*` or `invoice.paid@1`.
///
/// In a pattern `*` stands for one or more whole segments and may only be
/// the last one: `order.*` selects `order.paid` and `order.item.added`, not
/// `order`; `*` selects everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pattern: Pattern,
    version: WantedVersion,
    since: Timestamp,
}

/// A type, or all below a name: `order.paid`, `order.*`, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Exact(EventType),
    /// Everything that begins with this, dot included; empty for all.
    Below(String),
}

impl FromStr for Pattern {
    type Err = InvalidEventType;

    fn from_str(text: &str) -> Result<Self, InvalidEventType> {
        match text.strip_suffix('*') {
            None => EventType::parse(text).map(Self::Exact).map_err(|_| InvalidEventType::Pattern),
            Some("") => Ok(Self::Below(String::new())),
            Some(prefix) => {
                let segments = prefix.strip_suffix('.').ok_or(InvalidEventType::Pattern)?;
                EventType::parse(segments).map_err(|_| InvalidEventType::Pattern)?;
                Ok(Self::Below(prefix.to_owned()))
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Below(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl Subscription {
    /// Whether events of this type are wanted.
    pub fn selects(&self, event_type: &EventType) -> bool {
        match &self.pattern {
            Pattern::Exact(name) => name == event_type,
            Pattern::Below(prefix) => event_type.as_str().starts_with(prefix.as_str()),
        }
    }

    /// The one type that it names; none for a pattern.
    pub fn exact(&self) -> Option<&EventType> {
        match &self.pattern {
            Pattern::Exact(name) => Some(name),
            Pattern::Below(_) => None,
        }
    }

    /// Whether this is the name of one type, not a pattern.
    pub fn is_exact(&self) -> bool {
        matches!(self.pattern, Pattern::Exact(_))
    }

    /// The same subscription, made at this time.
    pub fn made_at(self, since: Timestamp) -> Self {
        Self { since, ..self }
    }

    /// When it was made: that decides to which version it is pinned if it names none.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// Which version is wanted.
    pub fn version(&self) -> WantedVersion {
        self.version
    }
}

impl FromStr for Subscription {
    type Err = InvalidEventType;

    fn from_str(text: &str) -> Result<Self, InvalidEventType> {
        let (name, version) = match text.split_once('@') {
            None => (text, WantedVersion::Unpinned),
            Some((name, "latest")) => (name, WantedVersion::Latest),
            Some((name, number)) => {
                let plain = number.bytes().all(|c| c.is_ascii_digit()) && !number.starts_with('0');
                let number = number.parse().ok().filter(|_| plain);
                (name, WantedVersion::Pinned(number.ok_or(InvalidEventType::Version)?))
            }
        };
        let pattern = name.parse()?;
        Ok(Self { pattern, version, since: Timestamp::EPOCH })
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pattern)?;
        match self.version {
            WantedVersion::Unpinned => Ok(()),
            WantedVersion::Latest => f.write_str("@latest"),
            WantedVersion::Pinned(number) => write!(f, "@{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(subscription: &str, event_type: &str) -> bool {
        let subscription: Subscription = subscription.parse().expect("a subscription");
        assert!(!subscription.to_string().is_empty());
        subscription.selects(&EventType::parse(event_type).expect("an event type"))
    }

    #[test]
    fn a_pattern_selects_whole_segments_below_its_prefix() {
        assert!(selects("order.*", "order.paid"));
        assert!(selects("order.*", "order.item.added"));
        assert!(!selects("order.*", "order"));
        assert!(!selects("order.*", "orders.paid"));
        assert!(selects("*", "anything"));
        assert!(selects("order.paid@2", "order.paid"));
        assert!(!selects("order.paid", "order.paid.late"));
    }

    #[test]
    fn a_subscription_is_written_as_it_was_read() {
        for text in ["*", "a.b", "a.*", "a.b@latest", "a.b@12", "a.*@3"] {
            let subscription: Subscription = text.parse().expect("a subscription");
            assert_eq!(subscription.to_string(), text);
        }
    }

    #[test]
    fn a_broken_subscription_is_refused() {
        for text in ["", ".", "a.", "a*", "*.a", "a..b", "a b", "ä", "a@0", "a@01", "a@", "a@x", "a@+1", "**"]
        {
            assert!(text.parse::<Subscription>().is_err(), "{text}");
        }
        assert!(EventType::parse("a.*").is_err());
        assert!(EventType::parse(&"a".repeat(129)).is_err());
    }
}
