//! Clock and randomness, as arguments.

use std::fmt;
use std::sync::Arc;

use model::clock::{Clock, Timestamp};
use model::entropy::Entropy;
use model::ids::IdSource;

/// What a part of the program takes from the world around it.
#[derive(Clone)]
pub struct Surroundings {
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// Gives random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Makes ids that grow.
    pub ids: Arc<IdSource>,
}

impl Surroundings {
    /// Surroundings with ids of their own.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, ids: Arc::new(IdSource::new()) }
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings")
    }
}

/// The next id of a kind.
macro_rules! next_id {
    ($kind:ty, $surroundings:expr) => {{
        let s: &$crate::Surroundings = &$surroundings;
        <$kind>::next(&s.ids, s.now(), s.entropy.as_ref())
    }};
}
pub(crate) use next_id;
