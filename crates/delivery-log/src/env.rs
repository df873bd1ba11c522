//! Clock and randomness, as arguments.

use std::fmt;
use std::sync::Arc;

use model::clock::{Clock, Timestamp};
use model::entropy::Entropy;
use model::ids::{Id, IdSource};

/// The environment of a part of the program: what it takes from outside, so
/// that tests can give something else.
#[derive(Clone)]
pub struct Env {
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// Gives random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Makes ids that grow.
    pub ids: Arc<IdSource>,
}

impl Env {
    /// Env with ids of their own.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, ids: Arc::new(IdSource::new()) }
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The next id of a kind.
    pub fn new_id<I: Id>(&self) -> I {
        self.new_id_at(self.now())
    }

    /// The next id of a kind, for what happened at this time.
    pub fn new_id_at<I: Id>(&self, now: Timestamp) -> I {
        I::next(&self.ids, now, self.entropy.as_ref())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}
