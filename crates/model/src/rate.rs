//! A limit of calls a second.
//!
//! The generic cell rate algorithm (ITU-T I.371): calls are spaced evenly, and
//! what was not used lately may be caught up a little. An owner that begins
//! anew begins with nothing to catch up, so a restart or a take-over never
//! lets more through than the limit.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::clock::Timestamp;

/// The greatest limit that can be set, in calls a second.
pub const MAX_RATE: u32 = 10_000;
/// How much may be caught up.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Paces the calls of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two calls.
    interval: Duration,
    /// When the next call would be due if all were evenly spaced.
    next: Timestamp,
}

impl Pace {
    /// Begins at `now`, with nothing to catch up.
    pub fn new(per_second: NonZeroU32, now: Timestamp) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.get(), next: now.plus(CATCH_UP) }
    }

    /// When a call may be made; `now` or earlier means at once.
    pub fn next_at(&self) -> Timestamp {
        self.next.minus(CATCH_UP)
    }

    /// A call is made.
    pub fn take(&mut self, now: Timestamp) {
        self.next = self.next.max(now).plus(self.interval);
    }

    /// Whether this is the pace of so many calls a second.
    pub fn is(&self, per_second: NonZeroU32) -> bool {
        self.interval == Duration::from_secs(1) / per_second.get()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_000_000);

    proptest! {
        /// However a lane looks, no span of time has more calls than the limit
        /// and the one or two that may be caught up.
        #[test]
        fn no_span_has_more_calls_than_the_limit(
            rate in 1_u32..500,
            pauses in proptest::collection::vec(0_u64..30_000, 1..30),
        ) {
            let mut pace = Pace::new(NonZeroU32::new(rate).expect("at least 1"), START);
            let mut now = START;
            let mut calls: Vec<Timestamp> = Vec::new();
            for pause in pauses {
                now = now.plus(Duration::from_micros(pause));
                while pace.next_at() <= now {
                    pace.take(now);
                    calls.push(now);
                }
            }
            let caught_up = CATCH_UP.as_secs_f64() * f64::from(rate) + 1.0;
            for (first, from) in calls.iter().enumerate() {
                for (last, to) in calls.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as f64;
                    let span = to.since(*from).as_secs_f64();
                    prop_assert!(count <= span * f64::from(rate) + caught_up + 1.0, "{count} in {span} s");
                }
            }
        }
    }

    #[test]
    fn a_lane_that_looks_late_still_reaches_its_limit() {
        let mut pace = Pace::new(NonZeroU32::new(10).expect("not 0"), START);
        let mut calls = 0;
        let mut now = START;
        while now.since(START) < Duration::from_secs(60) {
            // Looks some milliseconds later than it could.
            now = now.max(pace.next_at()).plus(Duration::from_millis(3));
            pace.take(now);
            calls += 1;
        }
        assert!((598..=602).contains(&calls), "{calls}");
    }
}
