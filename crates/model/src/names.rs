//! Texts that callers choose, checked once.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Nothing was given.
    #[error("must not be empty")]
    Empty,
    /// It is longer than it may be.
    #[error("is longer than {max} bytes")]
    TooLong {
        /// The greatest length, in bytes.
        max: usize,
    },
    /// It holds a NUL or another control character.
    #[error("must not contain control characters")]
    ControlCharacter,
    /// It does not have the form that is wanted.
    #[error("must match {0}")]
    Form(&'static str),
}

/// Checks a text for people: not empty, bounded, without control characters.
pub fn check_text(text: &str, max: usize) -> Result<(), InvalidText> {
    if text.is_empty() {
        return Err(InvalidText::Empty);
    }
    check_optional_text(text, max)
}

/// Like [`check_text`], but it may be empty.
pub fn check_optional_text(text: &str, max: usize) -> Result<(), InvalidText> {
    if text.len() > max {
        return Err(InvalidText::TooLong { max });
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidText::ControlCharacter);
    }
    Ok(())
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text`.
            pub fn parse(text: &str) -> Result<Self, InvalidText> {
                let check: fn(&str) -> Result<(), InvalidText> = $check;
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

text!(
    /// What a caller calls a tenant: `[A-Za-z0-9][A-Za-z0-9._:|-]{0,127}`.
    TenantHandle,
    |text| {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._:|-".contains(&c);
        let first = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if first && text.len() <= 128 && text.bytes().all(allowed) {
            Ok(())
        } else {
            Err(InvalidText::Form("[A-Za-z0-9][A-Za-z0-9._:|-]{0,127}"))
        }
    }
);

text!(
    /// The name of a project: `[a-z0-9][a-z0-9-]{0,62}`.
    ProjectName,
    |text| {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if !text.is_empty() && text.len() <= 63 && !text.starts_with('-') && text.bytes().all(allowed) {
            Ok(())
        } else {
            Err(InvalidText::Form("[a-z0-9][a-z0-9-]{0,62}"))
        }
    }
);

text!(
    /// The id of the object that an event is about; at most 256 bytes.
    Subject,
    |text| check_text(text, 256)
);

text!(
    /// Events with the same ordering key belong in one order; at most 256 bytes.
    OrderingKey,
    |text| check_text(text, 256)
);

text!(
    /// What makes a repeated request the same request: 1 to 255 visible
    /// ASCII characters.
    IdempotencyKey,
    |text| match text.len() {
        0 => Err(InvalidText::Empty),
        256.. => Err(InvalidText::TooLong { max: 255 }),
        _ if text.bytes().all(|c| c.is_ascii_graphic() || c == b' ') => Ok(()),
        _ => Err(InvalidText::Form("[ -~]{1,255}")),
    }
);

/// Whether a text looks like a mail address that can be written to: one `@`,
/// something on both sides, and nothing that ends a header. Whether somebody
/// reads it is not known.
pub fn check_address(text: &str) -> Result<(), &'static str> {
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic() && !"<>()[]\\,;:\"@".contains(c))
    };
    let fits =
        text.len() <= 254 && text.rsplit_once('@').is_some_and(|(name, host)| plain(name) && plain(host));
    if fits { Ok(()) } else { Err("is not a mail address such as ops@example.com") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_name_is_never_a_path_trick() {
        for good in ["acme", "0", "a.b_c:d|e-f".replace('_', "-").as_str(), &"x".repeat(128)] {
            assert!(TenantHandle::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "..", ".hidden", "a/b", "a%2fb", "a b", "ä", "a\0", "-a", &"x".repeat(129)] {
            assert!(TenantHandle::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_subject_holds_no_control_characters() {
        assert_eq!(Subject::parse("a\u{0}b"), Err(InvalidText::ControlCharacter));
        assert_eq!(Subject::parse(""), Err(InvalidText::Empty));
        assert_eq!(Subject::parse(&"s".repeat(257)), Err(InvalidText::TooLong { max: 256 }));
        assert!(Subject::parse("Rechnung Nº 7").is_ok());
    }
}
