//! A repeated request does nothing twice, and gets the first answer.
//!
//! The answer is written in the transaction that does the work, so there is
//! no instant at which the work is done and the repetition unknown.

use std::time::Duration;

use model::clock::Timestamp;
use model::ids::EventId;
use model::names::IdempotencyKey;

/// How long a key is kept.
pub const KEPT: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// The SHA-256 of all that makes a request this request.
pub type Fingerprint = [u8; 32];

/// What a repeated request is recognised by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The caller's key.
    pub key: IdempotencyKey,
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

/// A claim, and the answer to keep with it.
#[derive(Debug, Clone)]
pub struct Once {
    /// The claim.
    pub claim: Claim,
    /// The answer to this request, known before the work is done.
    pub answer: KeptAnswer,
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
