//! What requests and answers may hold in memory, all together and of one caller.
//!
//! Each body and each page has its own bound; this is the bound of all that are
//! there at once, which a thousand callers could otherwise make a thousand
//! times as large by sending or reading slowly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use delivery_log::View;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Caller;
use crate::problem::{Code, Problem};

/// How many bytes of bodies and answers may be in memory, all together.
const ALL: usize = 96 * 1024 * 1024;
/// How many of them a project's own callers may take, and all tenants together.
const HALF: usize = ALL / 2;
/// How many one tenant may take.
const ONE: usize = ALL / 8;
/// What is not counted: most requests and answers are small.
pub(crate) const SMALL: usize = 16 * 1024;
/// What a handler takes while it gathers what is large.
const HEAVY: usize = 2 * crate::page::PAGE_BYTES;

/// Who holds memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    Project(uuid::Uuid),
    Tenant(uuid::Uuid),
}

impl Holder {
    /// What a caller causes, those cause together whose caller it is.
    pub(crate) fn of(caller: &Caller) -> Self {
        let View { project, tenant } = caller.view();
        tenant.map_or(Self::Project(project.0), |tenant| Self::Tenant(tenant.0))
    }
}

/// The memory of all requests.
#[derive(Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<Held>>, Turns);

/// Whose turn it is to gather what is large: one after the other, in the order
/// in which they came. It is work for the processor, which others need for
/// publishing; more at a time would only take it from them.
#[derive(Debug)]
struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// What a handler has while it gathers what is large.
#[derive(Debug)]
pub(crate) struct Gathering {
    _share: Share,
    _turn: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Those of all tenants.
    tenants: usize,
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

    /// Takes what gathering something large needs, and waits for a turn.
    pub(crate) async fn gather(&self, holder: Holder) -> Result<Gathering, Problem> {
        let share = self.take(holder, HEAVY)?;
        // It is never closed.
        let turn = Arc::clone(&self.1.0).acquire_owned().await.ok();
        Ok(Gathering { _share: share, _turn: turn })
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
        let (most, of_tenants) = match self.holder {
            Holder::Project(_) => (HALF, 0),
            Holder::Tenant(_) => (ONE, bytes),
        };
        if own + bytes > most {
            return busy("your");
        }
        if held.all + bytes > ALL || held.tenants + of_tenants > HALF {
            return busy("all");
        }
        held.all += bytes;
        held.tenants += of_tenants;
        held.by_holder.insert(self.holder, own + bytes);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = open(&self.held);
        held.all -= self.bytes;
        if let Holder::Tenant(_) = self.holder {
            held.tenants -= self.bytes;
        }
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
    fn nobody_takes_more_than_its_part_and_all_comes_back() {
        let memory = Memory::default();
        let tenant = |n| Holder::Tenant(Uuid::from_u128(n));
        let project = |n| Holder::Project(Uuid::from_u128(n));
        let mut shares: Vec<Share> = (1..=4).map(|n| memory.take(tenant(n), ONE).expect("is free")).collect();
        assert!(memory.take(tenant(1), 1).is_err(), "a tenant has its own part");
        assert!(memory.take(tenant(9), 1).is_err(), "all tenants have a half");
        let mut own = memory.take(project(1), HALF - 10).expect("the other half is free");
        own.grow(10).expect("is free");
        assert!(memory.take(project(2), 1).is_err());
        drop(shares.pop());
        drop(memory.take(tenant(9), ONE).expect("is free again"));
        drop((shares, own));
        let held = open(&memory.0);
        assert_eq!((held.all, held.tenants, held.by_holder.len()), (0, 0, 0));
    }
}
