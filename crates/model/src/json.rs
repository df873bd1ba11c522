//! JSON that is kept as its bytes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// How deep arrays and objects may be nested.
pub const MAX_DEPTH: usize = 64;

/// Why some JSON cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJson {
    /// Not JSON at all (RFC 8259).
    #[error("{0}")]
    Malformed(String),
    /// JSON that means different things to different readers, or too much.
    #[error("{detail}")]
    Refused {
        /// Where, as a JSON pointer (RFC 6901).
        pointer: String,
        /// Why.
        detail: String,
    },
}

/// Checks that `text` is one JSON value in which no object names a key twice
/// and nothing is nested deeper than [`MAX_DEPTH`].
///
/// Receivers disagree about which of two equal keys counts, so an event with
/// both would mean different things to different customers. Whatever else the
/// grammar of RFC 8259 allows is right, also numbers and escapes that this
/// program could not hold.
pub fn check(text: &str) -> Result<(), InvalidJson> {
    match check_readable(text) {
        Err(InvalidJson::Malformed(_)) if is_json(text) => {
            check_readable(&replaced(text, Unreadable::Spelled))
        }
        checked => checked,
    }
}

/// Whether `text` is JSON by its grammar.
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// JSON as this program can hold it. Numbers beyond those of IEEE 754 (64 bit)
/// are the greatest there is, and half a surrogate pair is U+FFFD: so schemas
/// and filters see them. `None` if it is not JSON.
pub fn to_value(bytes: &[u8]) -> Option<serde_json::Value> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Some(value);
    }
    let text = std::str::from_utf8(bytes).ok().filter(|text| is_json(text))?;
    serde_json::from_str(&replaced(text, Unreadable::Replaced)).ok()
}

/// What stands for half a surrogate pair.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unreadable {
    /// The replacement character.
    Replaced,
    /// A sign that no text has, and the number: different ones stay different.
    Spelled,
}

/// A text that is JSON, with what this program cannot hold replaced.
fn replaced(text: &str, how: Unreadable) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let (mut rest, mut in_string) = (text, false);
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' => {
                in_string = !in_string;
                1
            }
            '\\' => {
                let (length, stands_for) = escape_at(rest, how);
                if let Some(stands_for) = stands_for {
                    out.push_str(&stands_for);
                    rest = &rest[length..];
                    continue;
                }
                length
            }
            '-' | '0'..='9' if !in_string => {
                let number = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
                let length = rest.find(|c| !number(c)).unwrap_or(rest.len());
                if rest[..length].parse::<f64>().is_ok_and(f64::is_infinite) {
                    let sign = if c == '-' { "-" } else { "" };
                    out.push_str(&format!("{sign}{:e}", f64::MAX));
                    rest = &rest[length..];
                    continue;
                }
                length
            }
            _ => c.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

/// How long the escape is with which `text` begins, and what stands for it if
/// it is half a surrogate pair.
fn escape_at(text: &str, how: Unreadable) -> (usize, Option<String>) {
    let unit = |text: &str| u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let Some(first) = unit(text) else { return (2, None) };
    let second = text.get(6..).and_then(unit);
    match (first, second) {
        (0xd800..=0xdbff, Some(0xdc00..=0xdfff)) => (12, None),
        (0xd800..=0xdfff, _) => {
            let spelled = || format!("\u{ffff}{first:04x}");
            (6, Some(if how == Unreadable::Replaced { "\u{fffd}".to_owned() } else { spelled() }))
        }
        _ => (6, None),
    }
}

fn check_readable(text: &str) -> Result<(), InvalidJson> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut path = Vec::new();
    let checked = Check { path: &mut path }.deserialize(&mut json).and_then(|()| json.end());
    checked.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            InvalidJson::Refused { pointer: pointer(&path), detail: without_position(&error) }
        }
        _ => InvalidJson::Malformed(error.to_string()),
    })
}

/// The message alone: the pointer says where.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A step on the way to a value.
enum Step<'a> {
    Key(Cow<'a, str>),
    Index(usize),
}

fn pointer(path: &[Step<'_>]) -> String {
    path.iter()
        .map(|step| match step {
            Step::Key(key) => format!("/{}", escape(key)),
            Step::Index(index) => format!("/{index}"),
        })
        .collect()
}

/// A key as it stands in a JSON pointer (RFC 6901, section 3).
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Goes through a value. `path` leads to where it is; after an error it
/// leads to the error.
struct Check<'p, 'de> {
    path: &'p mut Vec<Step<'de>>,
}

impl<'de> Check<'_, 'de> {
    fn deeper<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.path.len() == MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Check<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check<'_, 'de> {
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
        self.deeper()?;
        for index in 0.. {
            self.path.push(Step::Index(index));
            if items.next_element_seed(Check { path: &mut *self.path })?.is_none() {
                self.path.pop();
                break;
            }
            self.path.pop();
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.deeper()?;
        let mut seen = Keys::default();
        while let Some(key) = members.next_key::<Cow<'de, str>>()? {
            self.path.push(Step::Key(key.clone()));
            if let Some(twice) = seen.insert(key) {
                return Err(A::Error::custom(format_args!("the key {twice:?} appears twice")));
            }
            members.next_value_seed(Check { path: &mut *self.path })?;
            self.path.pop();
        }
        Ok(())
    }
}

/// The keys of one object: a list while it is short, which most are.
#[derive(Default)]
struct Keys<'a> {
    few: Vec<Cow<'a, str>>,
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Keys<'a> {
    const FEW: usize = 16;

    /// Gives the key back if it was there already.
    fn insert(&mut self, key: Cow<'a, str>) -> Option<Cow<'a, str>> {
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
    fn whatever_the_grammar_allows_is_right_and_can_be_seen() {
        for (text, seen) in [
            (r#"{"x":1e400}"#, serde_json::json!({ "x": f64::MAX })),
            (r#"{"x":-1E+400,"y":[1e-400]}"#, serde_json::json!({ "x": f64::MIN, "y": [0.0] })),
            (r#"{"x":"\ud800"}"#, serde_json::json!({ "x": "\u{fffd}" })),
            (
                r#"{"x":"\uDC00 \ud83d\ude00 \\ud800 1e400"}"#,
                serde_json::json!({ "x": "\u{fffd} 😀 \\ud800 1e400" }),
            ),
            (r#"{"\ud800":1,"\ud801":2}"#, serde_json::json!({ "\u{fffd}": 2 })),
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
            assert_eq!(to_value(text.as_bytes()), Some(seen), "{text}");
        }
        assert_eq!(check(r#"{"\ud800":1,"\\ud800":2}"#), Ok(()), "the second is a text");
        let twice = check(r#"{"a":1e400,"b":{"\ud800":1,"\uD800":2}}"#);
        assert!(matches!(twice, Err(InvalidJson::Refused { .. })), "{twice:?}");
        let deep = format!("{}1e400{}", "[".repeat(65), "]".repeat(65));
        assert!(matches!(check(&deep), Err(InvalidJson::Refused { .. })));
        for text in
            ["{\"x\":1e}", "{\"x\":01}", "{\"x\":\"\\u12\"}", "{\"x\":.5}", "{\"x\":+1}", "{\"x\":NaN}"]
        {
            assert!(matches!(check(text), Err(InvalidJson::Malformed(_))), "{text}");
            assert_eq!(to_value(text.as_bytes()), None);
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_named() {
        let refused = check(r#"{"a":[0,{"b/":1,"c":2,"b/":3}]}"#).expect_err("twice");
        let (pointer, detail) = ("/a/1/b~1".to_owned(), "the key \"b/\" appears twice".to_owned());
        assert_eq!(refused, InvalidJson::Refused { pointer, detail });
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
        assert!(matches!(check(""), Err(InvalidJson::Malformed(_))));
        assert!(check("1.10").is_ok());
        assert!(check("12345678901234567890123").is_ok());
    }
}
