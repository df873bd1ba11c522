//! What the parts of a store share, whatever its backend.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::clock::Timestamp;
use model::vault::Vault;

use crate::Env;
use crate::configuration::Configuration;
use crate::hand_off::{HandOff, NoLanes};

/// What readers, writers and housekeeping of a store share. `E` is what one
/// backend has beside.
pub(crate) struct Shared<E> {
    pub(crate) env: Env,
    pub(crate) vault: Vault,
    pub(crate) configuration: Configuration,
    pub(crate) freshness: Freshness,
    /// Held by whoever looks whether the configuration has changed.
    pub(crate) looking: tokio::sync::Mutex<()>,
    pub(crate) hand_off: Connected,
    /// Where the deployment is reached, for thin payloads.
    pub(crate) public_url: String,
    pub(crate) extra: E,
}

impl<E> Shared<E> {
    pub(crate) fn new(env: Env, vault: Vault, public_url: String, extra: E) -> Self {
        Self {
            env,
            vault,
            configuration: Configuration::default(),
            freshness: Freshness::default(),
            looking: tokio::sync::Mutex::default(),
            hand_off: Connected::default(),
            public_url,
            extra,
        }
    }
}

impl<E> fmt::Debug for Shared<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// When the configuration was last compared with the database.
#[derive(Debug, Default)]
pub(crate) struct Freshness(AtomicI64);

impl Freshness {
    pub(crate) fn confirm(&self, at: Timestamp) {
        self.0.store(at.as_micros(), Ordering::Relaxed);
    }

    pub(crate) fn is_fresh(&self, now: Timestamp, age: Duration) -> bool {
        let confirmed = Timestamp::from_micros(self.0.load(Ordering::Relaxed));
        // What was confirmed in the future was confirmed by a clock that was set back.
        confirmed <= now && now.since(confirmed) <= age
    }
}

/// Who is told of committed deliveries.
pub(crate) struct Connected(RwLock<Arc<dyn HandOff>>);

impl Default for Connected {
    fn default() -> Self {
        Self(RwLock::new(Arc::new(NoLanes)))
    }
}

impl Connected {
    pub(crate) fn get(&self) -> Arc<dyn HandOff> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, hand_off: Arc<dyn HandOff>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = hand_off;
    }
}
