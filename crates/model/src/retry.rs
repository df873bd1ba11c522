//! When a delivery is tried again.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

use crate::entropy::Entropy;

/// When tries follow one another, and when they end.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// The wait after the first failure.
    pub initial: Duration,
    /// How many times longer each wait is than the one before.
    pub multiplier: f64,
    /// The longest wait.
    pub cap: Duration,
    /// The share by which a wait may be shorter or longer, of 0 to 1.
    pub jitter: f64,
    /// No try is made later than this after the first could be.
    pub max_age: Duration,
    /// The waits after an answer that says the request itself is wrong
    /// (400, 413, 415, 422); after as many and one more, the delivery failed.
    pub rejected_waits: [Duration; 3],
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

impl RetryPolicy {
    /// The policy `standard` of the contract: 5 s, 20 s, 80 s, … (× 4, at
    /// most 8 h, ± 20 %) until 120 h; rejected ones four times over a day.
    pub fn standard() -> Self {
        Self {
            initial: Duration::from_secs(5),
            multiplier: 4.0,
            cap: 8 * HOUR,
            jitter: 0.2,
            max_age: 120 * HOUR,
            rejected_waits: [10 * MINUTE, 2 * HOUR, 22 * HOUR],
        }
    }

    /// The wait after so many failures, from 1.
    pub fn wait(&self, failures: u32, entropy: &dyn Entropy) -> Duration {
        self.jittered(self.interval(failures), entropy)
    }

    /// The wait after so many rejections, from 1; `None` when it was the last.
    pub fn rejected_wait(&self, rejections: u32, entropy: &dyn Entropy) -> Option<Duration> {
        let index = usize::try_from(rejections.saturating_sub(1)).ok()?;
        self.rejected_waits.get(index).map(|wait| self.jittered(*wait, entropy))
    }

    fn interval(&self, failures: u32) -> Duration {
        let growth = self.multiplier.powi(failures.saturating_sub(1).min(1_000) as i32);
        let grown = (self.initial.as_secs_f64() * growth).min(self.cap.as_secs_f64());
        let mut backoff = ExponentialBackoff {
            current_interval: Duration::from_secs_f64(grown),
            initial_interval: self.initial,
            multiplier: self.multiplier,
            max_interval: self.cap,
            // Jitter comes from our own randomness, and the age is counted
            // from the event: neither from what this library would take.
            randomization_factor: 0.0,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        backoff.next_backoff().unwrap_or(self.cap)
    }

    fn jittered(&self, wait: Duration, entropy: &dyn Entropy) -> Duration {
        wait.mul_f64(1.0 + self.jitter * (2.0 * entropy.fraction() - 1.0))
    }
}

/// Why the next attempt is due when it is, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextReason {
    /// The schedule says so.
    Backoff,
    /// The receiver asked for this time.
    RetryAfter,
    /// The receiver says the request is wrong: few tries, far apart.
    Rejected,
    /// Posthorn ended under way: again at once.
    Interrupted,
    /// It was delivered.
    Delivered,
    /// It was given up.
    GivenUp,
    /// The delivery was taken over, sent again or canceled meanwhile.
    Superseded,
}

impl NextReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Backoff,
        Self::RetryAfter,
        Self::Rejected,
        Self::Interrupted,
        Self::Delivered,
        Self::GivenUp,
        Self::Superseded,
    ];

    /// The name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::RetryAfter => "retry_after",
            Self::Rejected => "rejected",
            Self::Interrupted => "interrupted",
            Self::Delivered => "delivered",
            Self::GivenUp => "given_up",
            Self::Superseded => "superseded",
        }
    }

    /// A small number that stands for it in a store, for ever.
    pub fn code(self) -> i64 {
        self as i64
    }

    /// What a store's number stands for.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entropy::{NoJitter, SeededEntropy};

    #[test]
    fn waits_grow_fourfold_up_to_eight_hours() {
        let policy = RetryPolicy::standard();
        let waits: Vec<u64> = (1..=9).map(|n| policy.wait(n, &NoJitter).as_secs()).collect();
        assert_eq!(waits, [5, 20, 80, 320, 1_280, 5_120, 20_480, 28_800, 28_800]);
    }

    #[test]
    fn rejected_requests_get_four_tries_over_a_day() {
        let policy = RetryPolicy::standard();
        let waits: Vec<Duration> = (1..).map_while(|n| policy.rejected_wait(n, &NoJitter)).collect();
        assert_eq!(waits.len() + 1, 4);
        let day: Duration = waits.iter().sum();
        assert!((23 * HOUR..=25 * HOUR).contains(&day), "{day:?}");
    }

    proptest! {
        #[test]
        fn a_wait_is_within_a_fifth_of_its_interval(failures in 1_u32..10_000, seed: u64) {
            let policy = RetryPolicy::standard();
            let exact = policy.wait(failures, &NoJitter).as_secs_f64();
            let wait = policy.wait(failures, &SeededEntropy::new(seed)).as_secs_f64();
            prop_assert!((0.8 * exact - 1e-6..=1.2 * exact + 1e-6).contains(&wait));
        }
    }
}
