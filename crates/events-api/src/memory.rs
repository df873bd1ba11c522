//! What requests and answers may hold in memory, all together and of one caller.
//!
//! Each body and each page has its own bound; this is the bound of all that are
//! there at once, which a thousand callers could otherwise make a thousand
//! times as large by sending or reading slowly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use delivery_log::idempotency::Principal;

use crate::auth::Caller;
use crate::problem::{Code, Problem};

/// How many bytes of bodies and answers may be in memory, all together.
const ALL: usize = 96 * 1024 * 1024;
/// How many of them those of one tenant, or of a project's own callers, may take.
const ONE: usize = ALL / 2;
/// What is not counted: most requests and answers are small.
pub(crate) const SMALL: usize = 16 * 1024;
/// What a handler takes while it gathers what is large.
pub(crate) const HEAVY: usize = 2 * crate::page::PAGE_BYTES;

/// Who holds memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Holder(uuid::Uuid);

impl Holder {
    /// What a caller causes, those cause together whose caller it is.
    pub(crate) fn of(caller: &Caller) -> Self {
        match caller.principal() {
            Principal::Project => Self(caller.view().project.0),
            Principal::Tenant(tenant) => Self(tenant.0),
        }
    }
}

/// The memory of all requests.
#[derive(Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_holder: HashMap<Holder, usize>,
}

/// A part of the memory, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    held: Arc<Mutex<Held>>,
    holder: Holder,
    bytes: usize,
}

fn open(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Takes so many bytes for a holder.
    pub(crate) fn take(&self, holder: Holder, bytes: usize) -> Result<Share, Problem> {
        let mut share = Share { held: Arc::clone(&self.0), holder, bytes: 0 };
        share.grow(bytes)?;
        Ok(share)
    }
}

impl Share {
    /// Takes more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let mut held = open(&self.held);
        let own = held.by_holder.get(&self.holder).copied().unwrap_or(0);
        let busy = |whose: &str| {
            let detail =
                format!("{whose} requests and answers hold too much memory now; try again in a moment");
            Err(Problem::new(Code::Unavailable, detail))
        };
        if own + bytes > ONE {
            return busy("your");
        }
        if held.all + bytes > ALL {
            return busy("all");
        }
        held.all += bytes;
        held.by_holder.insert(self.holder, own + bytes);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = open(&self.held);
        held.all -= self.bytes;
        if let Some(own) = held.by_holder.get_mut(&self.holder) {
            *own -= self.bytes;
            if *own == 0 {
                held.by_holder.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn nobody_takes_more_than_a_half_and_all_comes_back() {
        let memory = Memory::default();
        let holder = |n| Holder(Uuid::from_u128(n));
        let half = memory.take(holder(1), ONE).expect("is free");
        assert!(memory.take(holder(1), 1).is_err());
        let mut other = memory.take(holder(2), ONE - 10).expect("is free");
        assert!(memory.take(holder(3), 11).is_err());
        other.grow(10).expect("is free");
        assert!(memory.take(holder(3), 1).is_err());
        drop(half);
        drop(memory.take(holder(3), ONE).expect("is free again"));
        drop(other);
        let held = open(&memory.0);
        assert_eq!((held.all, held.by_holder.len()), (0, 0));
    }
}
