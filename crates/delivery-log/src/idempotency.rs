//! A repeated request does nothing twice, and gets the first answer.
//!
//! The answer is written in the transaction that does the work, so there is
//! no instant at which the work is done and the repetition unknown.

use std::fmt;
use std::time::Duration;

use model::clock::Timestamp;
use model::delivery::Delivery;
use model::ids::{EventId, PortalSessionId, TenantId};
use model::names::IdempotencyKey;

use crate::{Result, StoreError};

/// How long a key is kept.
pub const KEPT: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// The SHA-256 of all that makes a request this request.
pub type Fingerprint = [u8; 32];

/// On whose behalf a key is used. Who do not trust one another never meet
/// under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal {
    /// Callers of the whole project.
    Project,
    /// Callers that are bound to a tenant.
    Tenant(TenantId),
    /// Whoever has a portal session.
    Session(PortalSessionId),
}

/// The name space of a key: the same text in another space is another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySpace {
    /// Events that are published.
    Publishes(Principal),
    /// All other requests that make or send something.
    Requests(Principal),
    /// The platform's own: events that leave quarantine.
    Releases,
    /// The platform's own: what operators are told once.
    Notices,
}

/// Stands between a space and a key. It cannot be part of a key.
const SEPARATOR: char = '\u{1f}';

/// A key within its name space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpacedKey(String);

impl SpacedKey {
    /// A caller's key in its space.
    pub fn new(space: KeySpace, key: &IdempotencyKey) -> Self {
        Self(format!("{}{key}", Self::prefix(space)))
    }

    /// What a stored key begins with that says its space; nothing for publishes of the
    /// whole project.
    pub fn space_of(key: &str) -> &str {
        key.find(SEPARATOR).map_or("", |end| &key[..end + SEPARATOR.len_utf8()])
    }

    /// What all keys of a space begin with.
    pub fn prefix(space: KeySpace) -> String {
        let principal = |principal| match principal {
            Principal::Project => "project".to_owned(),
            Principal::Tenant(tenant) => tenant.to_string(),
            Principal::Session(session) => session.to_string(),
        };
        let space = match space {
            // As they were kept before there were spaces.
            KeySpace::Publishes(Principal::Project) => return String::new(),
            KeySpace::Publishes(other) => format!("publish {}", principal(other)),
            KeySpace::Requests(any) => format!("request {}", principal(any)),
            KeySpace::Releases => "release".to_owned(),
            KeySpace::Notices => "notice".to_owned(),
        };
        format!("{space}{SEPARATOR}")
    }

    /// The text by which the store knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SpacedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The use of an idempotency key by a request: what its repetitions are recognised by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The caller's key, in its name space.
    pub key: SpacedKey,
    /// What the request asked.
    pub fingerprint: Fingerprint,
    /// When the key may be forgotten.
    pub expires_at: Timestamp,
}

/// An answer, kept for repetitions. The API gives it a form; a store sees
/// bytes, and seals them, because some hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The `Location`, if there was one.
    pub location: Option<String>,
    /// The body.
    pub body: String,
}

/// The use of a key, and the answer to keep with it.
#[derive(Debug, Clone)]
pub struct Once {
    /// The use of the key.
    pub key_use: KeyUse,
    /// The answer to this request, as far as it is known before the work is done.
    pub answer: KeptAnswer,
    /// Makes the body of the answer, where that is the delivery as it stands
    /// after the work.
    pub show: Option<fn(&Delivery) -> String>,
}

/// What became of a request that may be a repetition.
#[derive(Debug, Clone)]
pub enum Performed<T> {
    /// It was the first, and this came of it.
    First(T),
    /// It was done before, and this was the answer.
    Repeated(KeptAnswer),
    /// The key was used before, for something else.
    KeyReused,
}

impl<T> Performed<T> {
    /// What came of a request that has no key to be known by.
    pub(crate) fn first(self) -> Result<T> {
        match self {
            Self::First(result) => Ok(result),
            Self::Repeated(_) | Self::KeyReused => {
                Err(StoreError::internal("make a change", "a request without a key was taken for another"))
            }
        }
    }

    /// The same with another result of the first.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Performed<U> {
        match self {
            Self::First(result) => Performed::First(change(result)),
            Self::Repeated(answer) => Performed::Repeated(answer),
            Self::KeyReused => Performed::KeyReused,
        }
    }
}

/// What a request that comes again was answered first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstAnswer {
    /// It is the first of its key.
    None,
    /// It published an event.
    Event {
        /// The id that it got.
        event: EventId,
        /// The number that it got.
        sequence: u64,
    },
    /// It was answered like this.
    Kept(KeptAnswer),
    /// The key was used for something else.
    OtherRequest,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_same_key_in_two_spaces_is_two_keys_whatever_it_looks_like() {
        let tenants = [1, 2].map(|n| Principal::Tenant(TenantId(Uuid::from_u128(n))));
        let principals = [Principal::Project, tenants[0], tenants[1]];
        let spaces = principals
            .into_iter()
            .flat_map(|one| [KeySpace::Publishes(one), KeySpace::Requests(one)])
            .chain([KeySpace::Releases, KeySpace::Notices])
            .collect::<Vec<_>>();
        let keys = ["outbox-900", "quarantine:qua_1", "release", "publish project x", "notice "];
        let mut kept = HashSet::new();
        for space in &spaces {
            for key in keys {
                let key = IdempotencyKey::parse(key).expect("a key");
                assert!(kept.insert(SpacedKey::new(*space, &key).to_string()), "{space:?} {key}");
            }
        }
        assert!(IdempotencyKey::parse(&format!("release{SEPARATOR}x")).is_err());
    }
}
