//! JSON that is kept as its bytes.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// How deep arrays and objects may be nested.
pub const MAX_DEPTH: usize = 64;

/// Why some JSON cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidJson(String);

/// Checks that `text` is one JSON value in which no object names a key twice
/// and nothing is nested deeper than [`MAX_DEPTH`].
///
/// Receivers disagree about which of two equal keys counts, so an event with
/// both would mean different things to different customers.
pub fn check(text: &str) -> Result<(), InvalidJson> {
    let mut json = serde_json::Deserializer::from_str(text);
    Check { depth: 0 }
        .deserialize(&mut json)
        .and_then(|()| json.end())
        .map_err(|error| InvalidJson(without_position(&error)))
}

/// The message alone: line and column count within a part of the request
/// that the caller never saw on its own.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

struct Check {
    depth: usize,
}

impl Check {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Check {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        loop {
            if items.next_element_seed(self.deeper()?)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut seen = Keys::default();
        while let Some(key) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            if let Some(twice) = seen.insert(key) {
                return Err(A::Error::custom(format_args!("the key {twice:?} stands twice")));
            }
            members.next_value_seed(self.deeper()?)?;
        }
        Ok(())
    }
}

/// The keys of one object: a list while it is short, which most are.
#[derive(Default)]
struct Keys<'a> {
    few: Vec<std::borrow::Cow<'a, str>>,
    many: HashSet<std::borrow::Cow<'a, str>>,
}

impl<'a> Keys<'a> {
    const FEW: usize = 16;

    /// Gives the key back if it was there already.
    fn insert(&mut self, key: std::borrow::Cow<'a, str>) -> Option<std::borrow::Cow<'a, str>> {
        if self.few.contains(&key) || self.many.contains(&key) {
            return Some(key);
        }
        if self.few.len() < Self::FEW {
            self.few.push(key);
        } else {
            self.many.insert(key);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_named() {
        let error = check(r#"{"a":{"b":1,"c":2,"b":3}}"#).expect_err("twice");
        assert_eq!(error.to_string(), "the key \"b\" stands twice");
        // Escapes do not hide it.
        assert!(check(r#"{"b":1,"\u0062":3}"#).is_err());
    }

    #[test]
    fn many_keys_are_compared_too() {
        let members: Vec<String> = (0..100).map(|i| format!("\"k{i}\":{i}")).collect();
        assert!(check(&format!("{{{}}}", members.join(","))).is_ok());
        assert!(check(&format!("{{{},\"k99\":0}}", members.join(","))).is_err());
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check(&nested(MAX_DEPTH)).is_ok());
        assert!(check(&nested(MAX_DEPTH + 1)).is_err());
        assert!(check(&nested(1_000_000)).is_err());
    }

    #[test]
    fn what_follows_the_value_is_refused() {
        assert!(check("{} {}").is_err());
        assert!(check("").is_err());
        assert!(check("1.10").is_ok());
        assert!(check("12345678901234567890123").is_ok());
    }
}
