//! Whether this process may send.
//!
//! It sends only while it is sure that nobody has given it up. It trusts a clock
//! of its own that runs on when it is stopped, and is stricter than the others:
//! where they wait for the whole lease, it stops a little earlier.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use delivery_log::lanes::LEASE;
use model::ids::ProcessId;
use tokio::time::Instant;

/// How much earlier than the others this process thinks that its lease ends.
const MARGIN: Duration = Duration::from_secs(1);

/// Who this process is to the others, and for how long it is sure of it.
#[derive(Debug, Default)]
pub(crate) struct Lease(Mutex<Option<(ProcessId, Instant)>>);

impl Lease {
    fn lock(&self) -> MutexGuard<'_, Option<(ProcessId, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything may be started.
    pub(crate) fn is_valid(&self) -> bool {
        self.lock().is_some_and(|(_, until)| Instant::now() < until)
    }

    /// Whether it is valid now, and if not, what that means to operators.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self.is_valid() {
            true => Ok(()),
            false => Err("deliveries are not sent: this process has no valid heartbeat in the database"),
        }
    }

    /// The name under which lanes are taken; none before the process has joined.
    pub(crate) fn process(&self) -> Option<ProcessId> {
        self.lock().map(|(process, _)| process)
    }

    /// Good for a while, from before the database was asked.
    pub(crate) fn extend(&self, process: ProcessId, asked: Instant) {
        *self.lock() = Some((process, asked + LEASE - MARGIN));
    }

    /// The others have given this process up.
    pub(crate) fn end(&self) {
        *self.lock() = None;
    }
}
