//! When events were due, and when they arrived.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many events can be told apart in one run: those beyond share places.
const PLACES: usize = 1 << 22;

/// Times of events, by the number that each carries in its subject.
pub(crate) struct ArrivalLog {
    origin: Instant,
    /// Microseconds since `origin`, plus one; 0 for none.
    due: Vec<AtomicU64>,
    latencies: Mutex<Vec<u32>>,
    arrived: AtomicU64,
    duplicates: AtomicU64,
}

/// Latencies from due to arrived.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Percentiles {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) max: Duration,
}

impl ArrivalLog {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            due: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            latencies: Mutex::new(Vec::new()),
            arrived: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
        }
    }

    fn latencies(&self) -> MutexGuard<'_, Vec<u32>> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn micros(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_micros() as u64
    }

    /// An event is due to be published.
    pub(crate) fn note_due(&self, number: u64, at: Instant) {
        self.due[number as usize % PLACES].store(self.micros(at) + 1, Ordering::Relaxed);
    }

    /// An event has arrived.
    pub(crate) fn note_arrival(&self, number: u64) {
        let due = self.due[number as usize % PLACES].swap(0, Ordering::Relaxed);
        if due == 0 {
            self.duplicates.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let latency = self.micros(Instant::now()).saturating_sub(due - 1);
        self.latencies().push(u32::try_from(latency).unwrap_or(u32::MAX));
        self.arrived.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Acquire)
    }

    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// Forgets what has arrived so far.
    pub(crate) fn clear(&self) {
        self.latencies().clear();
        self.arrived.store(0, Ordering::Release);
        self.duplicates.store(0, Ordering::Relaxed);
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let mut sorted = self.latencies().clone();
        sorted.sort_unstable();
        let at = |share: f64| {
            let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
            Duration::from_micros(u64::from(sorted.get(index).copied().unwrap_or(0)))
        };
        Percentiles { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}
