//! The time of day may jump: a host sets its clock right, or wrong.
//!
//! How long something has waited is told by the time of day, because it
//! outlives the process. After a jump of a month, everything that waits would
//! have waited too long: its next failure would be its last, and what is kept
//! would be thrown away. So the time of day is compared with a clock that only
//! runs on. What a jump adds is taken away again from what waits, and nothing
//! is thrown away for a while, so that a clock that is wrong can be set right.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::clock::Timestamp;
use tokio::time::Instant;

/// Below this, clocks are being set, and nothing follows from it.
const JUMP: Duration = Duration::from_secs(5 * 60);
/// For how long nothing is thrown away after a jump.
const REST: Duration = Duration::from_secs(60 * 60);

/// The time of day beside a clock that only runs on.
#[derive(Debug, Default)]
pub(crate) struct Clocks(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    last: Option<(Timestamp, Instant)>,
    jumped: Option<Instant>,
}

/// By how much the time of day jumped, in microseconds, and what it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jump {
    pub(crate) before: Timestamp,
    pub(crate) by: i64,
}

impl Clocks {
    /// Notes both clocks, and gives the jump since the last time, if there was one.
    pub(crate) fn look(&self, now: Timestamp, at: Instant) -> Option<Jump> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, since) = seen.last.replace((now, at))?;
        let ran = i64::try_from(at.duration_since(since).as_micros()).unwrap_or(i64::MAX);
        let by = now.as_micros() - before.as_micros() - ran;
        if by.unsigned_abs() < JUMP.as_micros() as u64 {
            return None;
        }
        seen.jumped = Some(at);
        Some(Jump { before, by })
    }

    /// Whether the time of day jumped of late.
    pub(crate) fn are_in_doubt(&self) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.jumped.is_some_and(|jumped| jumped.elapsed() < REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_jump_is_what_the_steady_clock_did_not_see() {
        let clocks = Clocks::default();
        let day = 24 * 60 * 60;
        let at = |secs: i64| Timestamp::from_secs(1_000_000 + secs);
        let look = |secs: i64| clocks.look(at(secs), Instant::now());
        assert_eq!(look(0), None);
        tokio::time::advance(Duration::from_secs(3 * 60 * 60)).await;
        assert_eq!(look(3 * 60 * 60 + 2), None, "it was stopped, or set by seconds");
        assert!(!clocks.are_in_doubt());
        let jump = look(3 * 60 * 60 + 2 + 30 * day).expect("a month");
        assert_eq!(jump, Jump { before: at(3 * 60 * 60 + 2), by: 30 * day * 1_000_000 });
        assert!(clocks.are_in_doubt());
        let back = look(3 * 60 * 60 + 2).expect("set right again");
        assert_eq!(back.by, -30 * day * 1_000_000);
        tokio::time::advance(REST).await;
        assert!(!clocks.are_in_doubt());
    }
}
