//! The connections to a listener: how many there may be, and who goes first.
//!
//! What is guaranteed: a connection that says nothing, says it slowly or does
//! not take its answer has an end ([`GuardedStream`]); there are never more
//! than a stated number, so that descriptors are left for everything else; and
//! whoever connects next gets in as long as any connection waits for its
//! caller, because the oldest of those makes room.

mod bare;
mod stream;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::task::AtomicWaker;
use prometheus::{IntCounter, IntCounterVec, IntGauge};

pub(crate) use bare::too_many;
pub(crate) use stream::GuardedStream;

/// How many of the oldest connections are looked at to make room.
const LOOKED_AT: usize = 1_000;

/// One connection, as its stream and its requests see it.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    number: u64,
    /// How many requests were begun,
    begun: AtomicU64,
    /// and how many of them have been answered, to the last byte.
    ended: AtomicU64,
    /// Whether a body is on its way that nobody has read to its end.
    unread: AtomicBool,
    closing: AtomicBool,
    waker: AtomicWaker,
}

impl Connection {
    /// A request, with a body or without, is answered from now on, until what
    /// is given back is dropped.
    pub(crate) fn begin(self: &Arc<Self>, has_body: bool) -> Answering {
        self.unread.store(has_body, Ordering::Release);
        self.begun.fetch_add(1, Ordering::AcqRel);
        Answering(Arc::clone(self))
    }

    /// The body of the request was read to its end.
    pub(crate) fn read_body(&self) {
        self.unread.store(false, Ordering::Release);
    }

    fn is_busy(&self) -> bool {
        self.begun.load(Ordering::Acquire) != self.ended.load(Ordering::Acquire)
    }

    /// Ends it, as soon as it looks again.
    fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Connection>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::AcqRel);
        // The stream sets its timer: nobody else looks at it until more comes.
        self.0.waker.wake();
    }
}

/// What an operator sees of a listener's connections.
#[derive(Debug, Clone)]
pub(crate) struct Counters {
    pub(crate) open: IntGauge,
    /// By why they were ended.
    pub(crate) ended: IntCounterVec,
    pub(crate) refused: IntCounter,
}

/// All connections of a listener.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    leaving: usize,
    counters: Counters,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// By their age.
    connections: BTreeMap<u64, Arc<Connection>>,
    /// How many were ended to make room, and still have their descriptors.
    leaving: usize,
}

impl Connections {
    /// Of a listener that may have so many, a fifth of them on their way out.
    pub(crate) fn new(most: usize, counters: Counters) -> Arc<Self> {
        let leaving = (most / 5).max(1);
        Arc::new(Self { most: (most - leaving).max(1), leaving, counters, open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection. Where there is none, the oldest that waits
    /// for its caller is ended; if all are being answered, there is no place.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let mut open = self.open();
        if open.connections.len() >= self.most {
            let waits = |connection: &&Arc<Connection>| !connection.is_busy();
            let may_leave = open.leaving < self.leaving;
            let oldest = open.connections.values().take(LOOKED_AT).find(|one| may_leave && waits(one));
            let oldest = oldest.map(Arc::clone);
            let Some(oldest) = oldest else {
                self.counters.refused.inc();
                return None;
            };
            open.connections.remove(&oldest.number);
            open.leaving += 1;
            oldest.close();
            self.counters.ended.with_label_values(&["made_room"]).inc();
        }
        open.next += 1;
        let number = open.next;
        let connection = Arc::new(Connection { number, ..Connection::default() });
        open.connections.insert(number, Arc::clone(&connection));
        self.counters.open.set(open.connections.len() as i64);
        Some(Admitted { connections: Arc::clone(self), connection })
    }
}

/// A place for a connection, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    connections: Arc<Connections>,
    connection: Arc<Connection>,
}

impl Admitted {
    fn note(&self, why: &str) {
        self.connections.counters.ended.with_label_values(&[why]).inc();
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        if open.connections.remove(&self.connection.number).is_none() {
            open.leaving -= 1;
        }
        self.connections.counters.open.set(open.connections.len() as i64);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use prometheus::Opts;

    use super::*;

    pub(super) fn connections(most: usize) -> Arc<Connections> {
        let counter = |name: &str| IntCounter::new(name, "x").expect("a counter");
        let counters = Counters {
            open: IntGauge::new("open", "x").expect("a gauge"),
            ended: IntCounterVec::new(Opts::new("ended", "x"), &["why"]).expect("counters"),
            refused: counter("refused"),
        };
        Connections::new(most, counters)
    }

    #[test]
    fn at_the_bound_the_oldest_that_waits_makes_room_and_none_that_is_answered() {
        let all = connections(4);
        let places: Vec<Admitted> = (0..3).filter_map(|_| all.admit()).collect();
        let answering: Vec<Answering> =
            [0, 2].iter().map(|n: &usize| places[*n].connection.begin(false)).collect();
        let fourth = all.admit().expect("the second makes room");
        let closing: Vec<bool> =
            places.iter().map(|place| place.connection.closing.load(Ordering::Acquire)).collect();
        assert_eq!(closing, [false, true, false]);
        let _busy = fourth.connection.begin(false);
        assert!(all.admit().is_none(), "all are being answered");
        drop(answering);
        assert!(all.admit().is_none(), "the second still has its descriptor");
        drop(places);
        assert!(all.admit().is_some());
        drop(fourth);
        let open = all.open();
        assert_eq!((open.connections.len(), open.leaving), (0, 0));
    }
}
