//! Enums whose values are words of the API.
//!
//! A value stands in one place: its word, what it means (which the
//! description of the API tells), and the number that stands for it in a store.

use std::fmt;

/// A text that is none of a small set of words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {}", Alternatives(self.0))]
pub struct NotOneOf(pub &'static [&'static str]);

/// `a`, `a or b`, `a, b or c`.
struct Alternatives(&'static [&'static str]);

impl fmt::Display for Alternatives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, others)) = self.0.split_last() else { return Ok(()) };
        if others.is_empty() {
            return f.write_str(last);
        }
        write!(f, "{} or {last}", others.join(", "))
    }
}

/// Defines an enum of words, with their meanings as its documentation, and if
/// they are given, the number that stands for each in a store, for ever.
#[macro_export]
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident $(, by default $default:ident)? {
        $($(#[doc = $meaning:literal])+ $variant:ident = $word:literal $(= $code:literal)?,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[doc = $meaning])+ #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
            /// Their words.
            pub const WORDS: &[&str] = &[$($word,)+];
            /// What it is about.
            pub const ABOUT: &str = concat!($($doc),+);
            /// What each of them means.
            pub const MEANINGS: &[&str] = &[$(concat!($($meaning),+),)+];

            /// The word, as in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::words::NotOneOf;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let known = Self::ALL.iter().copied().find(|known| known.as_str() == text);
                known.ok_or($crate::words::NotOneOf(Self::WORDS))
            }
        }

        $(impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        })?

        $crate::words!(@codes $name $($variant $(= $code)?,)+);
    };
    (@codes $name:ident $($variant:ident = $code:literal,)+) => {
        impl $name {
            /// A small number that stands for it in a store, for ever.
            pub fn code(self) -> i64 {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What a store's number stands for.
            pub fn from_code(code: i64) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.code() == code)
            }
        }
    };
    (@codes $name:ident $($variant:ident,)+) => {};
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro makes public enums")]
mod tests {
    use super::*;

    crate::words!(
        /// How it is.
        Mood, by default Well {
            /// All is
            /// well.
            Well = "well" = 7,
            /// It is not.
            Ill = "ill" = 8,
        }
    );

    #[test]
    fn a_word_is_read_as_it_is_written_and_others_are_told_what_it_may_be() {
        assert_eq!("ill".parse(), Ok(Mood::Ill));
        assert_eq!((Mood::default().to_string(), Mood::MEANINGS[0]), ("well".into(), " All is well."));
        assert_eq!(Mood::ABOUT.trim(), "How it is.");
        let refused = "Ill".parse::<Mood>().map_err(|error| error.to_string());
        assert_eq!(refused, Err("must be well or ill".to_owned()));
        assert_eq!(NotOneOf(&["a", "b", "c"]).to_string(), "must be a, b or c");
        assert_eq!(NotOneOf(&["a"]).to_string(), "must be a");
    }

    #[test]
    fn a_number_of_the_store_stands_for_its_word() {
        assert_eq!((Mood::Ill.code(), Mood::from_code(7), Mood::from_code(9)), (8, Some(Mood::Well), None));
    }
}
