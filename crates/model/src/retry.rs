//! When a delivery is tried again.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use serde::{Deserialize, Serialize};

use crate::endpoint::{DEFAULT_TIMEOUT, TIMEOUT_SECS};
use crate::entropy::Entropy;

/// The longest name of a policy.
pub const MAX_POLICY_NAME: usize = 64;
/// The greatest number of policies that a project may add.
pub const MAX_POLICIES: usize = 50;
/// The greatest number of waits after a permanent answer.
pub const MAX_PERMANENT_WAITS: usize = 10;
/// The longest that any policy may go on.
pub const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// When tries follow one another, and when they end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The wait after the first failure.
    pub initial: Duration,
    /// How many times longer each wait is than the one before.
    pub multiplier: f64,
    /// The longest wait.
    pub cap: Duration,
    /// The share by which a wait may be shorter or longer, of 0 to 1.
    pub jitter: f64,
    /// No try is made later than this after the first could be, but for one
    /// last try of what was held.
    pub max_age: Duration,
    /// How long an attempt may take, unless the endpoint says otherwise.
    pub timeout: Duration,
    /// Answers which say that the request itself is wrong, so that the same
    /// bytes will hardly be taken later.
    pub permanent: Vec<u16>,
    /// The waits after such answers; after as many and one more, the delivery
    /// failed.
    pub permanent_waits: Vec<Duration>,
}

/// Why a policy cannot be used, and which part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct InvalidPolicy {
    /// The field, as in the API.
    pub field: &'static str,
    /// What is wrong.
    pub detail: String,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// What says that the request is wrong, unless a policy says otherwise.
const WRONG_REQUEST: [u16; 4] = [400, 413, 415, 422];

impl RetryPolicy {
    /// The names of the policies that every project has.
    pub const BUILT_IN: [&str; 3] = ["standard", "interactive", "batch"];

    /// A policy that every project has.
    pub fn built_in(name: &str) -> Option<Self> {
        match name {
            "standard" => Some(Self::standard()),
            "interactive" => Some(Self::interactive()),
            "batch" => Some(Self::batch()),
            _ => None,
        }
    }

    /// The policy `standard` of the contract: 5 s, 20 s, 80 s, … (× 4, at
    /// most 8 h, ± 20 %) until 120 h; rejected ones four times over a day.
    pub fn standard() -> Self {
        Self {
            initial: Duration::from_secs(5),
            multiplier: 4.0,
            cap: 8 * HOUR,
            jitter: 0.2,
            max_age: 120 * HOUR,
            timeout: DEFAULT_TIMEOUT,
            permanent: WRONG_REQUEST.to_vec(),
            permanent_waits: vec![10 * MINUTE, 2 * HOUR, 22 * HOUR],
        }
    }

    /// For what is of no use later: a handful of tries within two minutes.
    pub fn interactive() -> Self {
        Self {
            initial: Duration::from_secs(3),
            multiplier: 2.0,
            cap: MINUTE,
            max_age: 2 * MINUTE,
            timeout: Duration::from_secs(5),
            permanent_waits: Vec::new(),
            ..Self::standard()
        }
    }

    /// For what has time: up to seven days.
    pub fn batch() -> Self {
        Self {
            initial: MINUTE,
            multiplier: 3.0,
            cap: 12 * HOUR,
            max_age: 7 * 24 * HOUR,
            timeout: Duration::from_secs(30),
            permanent_waits: vec![HOUR, 12 * HOUR, 48 * HOUR],
            ..Self::standard()
        }
    }

    /// Checks that every part can be used.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        let fault = |field, detail: String| Err(InvalidPolicy { field, detail });
        if !(Duration::from_millis(100)..=24 * HOUR).contains(&self.initial) {
            return fault("initial_seconds", "must be from 0.1 to 86400".to_owned());
        }
        if !(1.0..=20.0).contains(&self.multiplier) {
            return fault("multiplier", "must be from 1 to 20".to_owned());
        }
        if !(self.initial..=48 * HOUR).contains(&self.cap) {
            return fault("max_interval_seconds", "must be from initial_seconds to 172800".to_owned());
        }
        if !(0.0..=0.5).contains(&self.jitter) {
            return fault("jitter", "must be from 0 to 0.5".to_owned());
        }
        if !(Duration::ZERO..=MAX_AGE).contains(&self.max_age) {
            return fault("max_age_seconds", format!("must be at most {}", MAX_AGE.as_secs()));
        }
        if !TIMEOUT_SECS.contains(&self.timeout.as_secs()) {
            let (least, most) = (TIMEOUT_SECS.start(), TIMEOUT_SECS.end());
            return fault("timeout_seconds", format!("must be from {least} to {most}"));
        }
        if !self.permanent.iter().all(|status| (400..=499).contains(status) && *status != 429) {
            return fault(
                "permanent_statuses",
                "may hold 400 to 499 but 429, which asks for patience".to_owned(),
            );
        }
        let longest = self.permanent_waits.iter().max().copied().unwrap_or_default();
        if self.permanent_waits.len() > MAX_PERMANENT_WAITS || longest > 7 * 24 * HOUR {
            let detail = format!("may hold {MAX_PERMANENT_WAITS} waits of at most 604800 seconds");
            return fault("permanent_waits_seconds", detail);
        }
        Ok(())
    }

    /// Whether an answer says that the request itself is wrong.
    pub fn is_permanent(&self, status: Option<u16>) -> bool {
        status.is_some_and(|status| self.permanent.contains(&status))
    }

    /// The wait after so many failures, from 1.
    pub fn wait(&self, failures: u32, entropy: &dyn Entropy) -> Duration {
        self.jittered(self.interval(failures), entropy)
    }

    /// The wait after so many permanent answers, from 1; `None` when it was the last.
    pub fn permanent_wait(&self, rejections: u32, entropy: &dyn Entropy) -> Option<Duration> {
        let index = usize::try_from(rejections.saturating_sub(1)).ok()?;
        self.permanent_waits.get(index).map(|wait| self.jittered(*wait, entropy))
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

crate::words!(
    /// Why the next attempt is due when it is, or why there is none.
    NextReason {
        /// The schedule says so.
        Backoff = "backoff" = 0,
        /// The receiver asked for this time.
        RetryAfter = "retry_after" = 1,
        /// The receiver says the request is wrong: few tries, far apart.
        Rejected = "rejected" = 2,
        /// Posthorn ended under way: again at once.
        Interrupted = "interrupted" = 3,
        /// It was delivered.
        Delivered = "delivered" = 4,
        /// It was given up.
        GivenUp = "given_up" = 5,
        /// The delivery was taken over, sent again or canceled meanwhile.
        Superseded = "superseded" = 6,
        /// The schedule would go on, but not for so long: one last try at its end.
        LastTry = "last_try" = 7,
        /// The schedule says so; what follows it in its order waits no longer.
        OrderReleased = "order_released" = 8,
        /// A second call, as the scenario of the test wants it.
        Scenario = "scenario" = 9,
    }
);

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
        let waits: Vec<Duration> = (1..).map_while(|n| policy.permanent_wait(n, &NoJitter)).collect();
        assert_eq!(waits.len() + 1, 4);
        let day: Duration = waits.iter().sum();
        assert!((23 * HOUR..=25 * HOUR).contains(&day), "{day:?}");
    }

    #[test]
    fn what_every_project_has_is_valid_and_lasts_as_long_as_it_says() {
        let tries = |policy: &RetryPolicy| {
            let waits = (1..).map(|n| policy.wait(n, &NoJitter)).scan(Duration::ZERO, |at, wait| {
                *at += wait;
                Some(*at)
            });
            // The first one, and the last one at the end.
            waits.take_while(|at| *at < policy.max_age).count() + 2
        };
        for (name, least, most) in [("standard", 15, 25), ("interactive", 4, 8), ("batch", 12, 25)] {
            let policy = RetryPolicy::built_in(name).expect("built in");
            assert_eq!(policy.check(), Ok(()), "{name}");
            assert!((least..=most).contains(&tries(&policy)), "{name}: {}", tries(&policy));
        }
        assert_eq!(RetryPolicy::built_in("other"), None);
    }

    #[test]
    fn a_policy_that_cannot_work_is_refused_by_its_field() {
        let standard = RetryPolicy::standard;
        for (policy, field) in [
            (RetryPolicy { initial: Duration::ZERO, ..standard() }, "initial_seconds"),
            (RetryPolicy { multiplier: 0.5, ..standard() }, "multiplier"),
            (RetryPolicy { multiplier: f64::NAN, ..standard() }, "multiplier"),
            (RetryPolicy { cap: Duration::from_secs(1), ..standard() }, "max_interval_seconds"),
            (RetryPolicy { jitter: 0.9, ..standard() }, "jitter"),
            (RetryPolicy { max_age: 31 * 24 * HOUR, ..standard() }, "max_age_seconds"),
            (RetryPolicy { timeout: MINUTE, ..standard() }, "timeout_seconds"),
            (RetryPolicy { permanent: vec![429], ..standard() }, "permanent_statuses"),
            (RetryPolicy { permanent: vec![500], ..standard() }, "permanent_statuses"),
            (RetryPolicy { permanent_waits: vec![HOUR; 11], ..standard() }, "permanent_waits_seconds"),
        ] {
            assert_eq!(policy.check().map_err(|fault| fault.field), Err(field));
        }
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
