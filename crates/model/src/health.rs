//! What is known of an endpoint from its answers, and what follows from it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attempt::{ErrorClass, Trigger};
use crate::breaker::{Admission, Breaker, Change};
use crate::clock::Timestamp;
use crate::delivery::{HeldBy, Hold};
use crate::entropy::Entropy;
use crate::ids::{DeliveryId, EventId};

/// So many different events answered 410 within [`GONE_WINDOW`] disable an endpoint.
pub const GONE_EVENTS: usize = 3;
/// See [`GONE_EVENTS`].
pub const GONE_WINDOW: Duration = Duration::from_secs(60 * 60);
/// After so long without a success the people concerned are warned, each time once.
pub const WARNINGS: [Duration; 3] = [hours(1), hours(24), hours(72)];
/// After so long without a success an endpoint is disabled,
pub const DISABLED_AFTER: Duration = hours(120);
/// if there were so many failures.
pub const DISABLED_FAILURES: u32 = 20;

const fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 60 * 60)
}

/// How an attempt ended, as far as it tells something of the endpoint.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its event.
    pub event: EventId,
    /// What the attempt was made for.
    pub trigger: Trigger,
    /// How it failed, if it did.
    pub error_class: ErrorClass,
    /// The answer's status.
    pub http_status: Option<u16>,
    /// The receiver says that the request is wrong: nothing about itself.
    pub rejected: bool,
    /// How long it wants to be left alone.
    pub hold_until: Option<Timestamp>,
    /// How many other calls to the endpoint are under way.
    pub under_way: usize,
    /// When it ended.
    pub at: Timestamp,
}

/// Something that people or other parts should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The breaker has opened, for the first time since it was closed.
    BreakerOpened {
        /// The end of the first cool-down.
        until: Timestamp,
    },
    /// The breaker is closed again.
    BreakerClosed,
    /// There was no success for so long.
    Warning {
        /// One of [`WARNINGS`].
        after: Duration,
        /// When the failures began.
        failing_since: Timestamp,
    },
    /// It was gone for too many events: to be disabled.
    Gone,
    /// There was no success for too long: to be disabled.
    Hopeless {
        /// When the failures began.
        failing_since: Timestamp,
    },
}

/// Failures since the last success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// The first of them.
    pub since: Timestamp,
    /// How many.
    pub count: u32,
    /// How many of the [`WARNINGS`] were given.
    warned: usize,
    /// The code of the last one's class, and its status.
    #[serde(default)]
    last: Option<(i64, Option<u16>)>,
}

impl Failing {
    /// How the last of them ended: its class, and the answer's status.
    pub fn last(&self) -> Option<(ErrorClass, Option<u16>)> {
        let (class, status) = self.last?;
        Some((ErrorClass::from_code(class)?, status))
    }
}

/// What the owner of an endpoint's lane knows, stored for the next owner.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// The receiver wants to be left alone until then (`Retry-After`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked_until: Option<Timestamp>,
    /// The breaker.
    #[serde(default)]
    pub breaker: Breaker,
    /// Events that were last answered with 410, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<(EventId, Timestamp)>,
    /// Failures since the last success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
}

impl Health {
    /// What the receiver asked for, as long as it lasts.
    pub fn asked_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.asked_until.filter(|until| *until > now)
    }

    /// What holds everything back at `now`, and until when.
    pub fn hold(&self, now: Timestamp) -> Option<Hold> {
        let asked = self.asked_until(now).map(|until| (until, HeldBy::RateLimit));
        let open =
            self.breaker.held_until().filter(|until| *until > now).map(|until| (until, HeldBy::Breaker));
        let (until, by) = asked.into_iter().chain(open).max_by_key(|(until, _)| *until)?;
        Some(Hold { by, until: Some(until) })
    }

    /// Whether a call may be made now.
    pub fn admission(&self, now: Timestamp) -> Admission {
        match (self.asked_until(now), self.breaker.admission(now)) {
            (None, admission) => admission,
            (Some(asked), Admission::HeldUntil(until)) => Admission::HeldUntil(asked.max(until)),
            (Some(asked), _) => Admission::HeldUntil(asked),
        }
    }

    /// Whether there is nothing that the next owner would have to know.
    pub fn is_clean(&self) -> bool {
        let Self { asked_until, breaker, gone, failing } = self;
        asked_until.is_none() && breaker.is_clean() && gone.is_empty() && failing.is_none()
    }

    /// Learns from how a call ended. What was found is told in the order of
    /// its weight; nothing if nothing has to be stored or said.
    pub fn learn(&mut self, ended: &Ended, entropy: &dyn Entropy) -> Vec<Finding> {
        let mut findings = Vec::new();
        // A test says nothing about what is meant for the endpoint, and an
        // attempt that was cut short nothing at all.
        if ended.trigger == Trigger::Test || ended.error_class == ErrorClass::Interrupted {
            self.breaker.forget(ended.delivery);
            return findings;
        }
        self.asked_until = self.asked_until(ended.at).max(ended.hold_until);
        let change = if ended.error_class == ErrorClass::None {
            self.failing = None;
            self.gone.clear();
            self.breaker.succeeded(ended.delivery, ended.at)
        } else {
            self.note_failure(ended, &mut findings);
            // A receiver that says when to come again is obeyed, not sick.
            let polite = ended.error_class == ErrorClass::Http429 && ended.hold_until.is_some();
            if ended.rejected || polite {
                self.breaker.forget(ended.delivery);
                Change::None
            } else {
                self.breaker.failed(ended.delivery, ended.under_way, ended.at, entropy)
            }
        };
        match change {
            // A probe that fails tells nothing new: it is the same outage.
            Change::Opened { until } if self.breaker.is_first_opening() => {
                findings.push(Finding::BreakerOpened { until });
            }
            Change::Opened { .. } => {}
            Change::Closed => findings.push(Finding::BreakerClosed),
            Change::None => {}
        }
        findings
    }

    fn note_failure(&mut self, ended: &Ended, findings: &mut Vec<Finding>) {
        let failing =
            self.failing.get_or_insert(Failing { since: ended.at, count: 0, warned: 0, last: None });
        failing.count = failing.count.saturating_add(1);
        failing.last = Some((ended.error_class.code(), ended.http_status));
        let (since, lasted) = (failing.since, ended.at.since(failing.since));
        let due = WARNINGS.iter().filter(|after| lasted >= **after).count();
        let hopeless = lasted >= DISABLED_AFTER && failing.count >= DISABLED_FAILURES;
        if due > failing.warned {
            // Only the last of several that are due: more would be noise.
            let warning = Finding::Warning { after: WARNINGS[due - 1], failing_since: since };
            failing.warned = due;
            if !hopeless {
                findings.push(warning);
            }
        }
        if ended.http_status == Some(410) && self.is_gone_too_often(ended) {
            findings.push(Finding::Gone);
        } else if hopeless {
            // Enabled again, it starts anew.
            self.failing = None;
            findings.push(Finding::Hopeless { failing_since: since });
        }
    }

    fn is_gone_too_often(&mut self, ended: &Ended) -> bool {
        self.gone.retain(|(event, at)| *event != ended.event && ended.at.since(*at) <= GONE_WINDOW);
        self.gone.push((ended.event, ended.at));
        let too_often = self.gone.len() >= GONE_EVENTS;
        if too_often {
            // Enabled again, it starts anew.
            self.gone.clear();
        }
        too_often
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::entropy::NoJitter;

    const START: Timestamp = Timestamp::from_secs(1_000_000);

    fn ended(n: u128, status: u16, secs: u64) -> Ended {
        Ended {
            delivery: DeliveryId(Uuid::from_u128(n)),
            event: EventId(Uuid::from_u128(n)),
            trigger: Trigger::Automatic,
            error_class: ErrorClass::of_status(status),
            http_status: Some(status),
            rejected: false,
            hold_until: None,
            under_way: 0,
            at: START.plus(Duration::from_secs(secs)),
        }
    }

    fn learn(health: &mut Health, ended: Ended) -> Vec<Finding> {
        health.learn(&ended, &NoJitter)
    }

    #[test]
    fn an_outage_is_told_once_however_often_a_probe_fails() {
        let mut health = Health::default();
        let mut told = Vec::new();
        for n in 0..5 {
            told.extend(learn(&mut health, ended(n, 500, 0)));
        }
        assert!(matches!(told.as_slice(), [Finding::BreakerOpened { .. }]), "{told:?}");
        for (n, secs) in [(5, 10), (6, 40), (7, 100)] {
            health.breaker.begin_probe(DeliveryId(Uuid::from_u128(n)));
            assert_eq!(learn(&mut health, ended(n, 503, secs)), []);
        }
        let last = health.failing.and_then(|failing| failing.last());
        assert_eq!(last, Some((ErrorClass::Http5xx, Some(503))));
        for n in [8, 9] {
            health.breaker.begin_probe(DeliveryId(Uuid::from_u128(n)));
            told = learn(&mut health, ended(n, 200, 500));
        }
        assert_eq!(told, [Finding::BreakerClosed]);
        for n in 10..15 {
            told.extend(learn(&mut health, ended(n, 500, 600)));
        }
        assert!(
            matches!(told.as_slice(), [_, Finding::BreakerOpened { .. }]),
            "the next outage is told: {told:?}"
        );
    }

    #[test]
    fn a_test_changes_nothing_not_even_by_what_it_asks_for() {
        let mut health = Health::default();
        let hold_until = Some(START.plus(Duration::from_secs(60)));
        let test = Ended { trigger: Trigger::Test, hold_until, ..ended(1, 429, 0) };
        assert_eq!(learn(&mut health, test), []);
        assert!(health.is_clean());
        assert_eq!(health.hold(START), None);
    }

    #[test]
    fn three_different_events_gone_within_an_hour_are_too_many() {
        let mut health = Health::default();
        assert_eq!(learn(&mut health, ended(1, 410, 0)), []);
        assert_eq!(learn(&mut health, ended(1, 410, 1)), [], "the same event again does not count");
        assert_eq!(learn(&mut health, ended(2, 410, 2)), []);
        learn(&mut health, ended(3, 410, 3_700));
        learn(&mut health, ended(4, 410, 3_700));
        assert!(
            learn(&mut health, ended(5, 410, 3_700)).contains(&Finding::Gone),
            "an hour ago does not count"
        );
    }

    #[test]
    fn people_are_warned_three_times_and_then_the_endpoint_is_hopeless() {
        let mut health = Health::default();
        let mut seen = Vec::new();
        for (n, hour) in (0..=120).step_by(2).enumerate() {
            for finding in learn(&mut health, ended(n as u128, 500, hour * 3_600)) {
                match finding {
                    Finding::Warning { after, .. } => seen.push((hour, after.as_secs() / 3_600)),
                    Finding::Hopeless { failing_since } => {
                        assert_eq!(failing_since, START);
                        seen.push((hour, 0));
                    }
                    _ => {}
                }
            }
        }
        assert_eq!(seen, [(2, 1), (24, 24), (72, 72), (120, 0)]);
    }

    #[test]
    fn few_failures_do_not_disable_and_a_success_forgets_all() {
        let mut health = Health::default();
        for n in 0..19 {
            learn(&mut health, ended(n, 500, n as u64 * 8 * 3_600));
        }
        assert_eq!(health.failing.map(|failing| failing.count), Some(19));
        learn(&mut health, ended(50, 204, 150 * 3_600));
        assert_eq!(health.failing, None);
    }

    #[test]
    fn rejections_polite_refusals_tests_and_cut_calls_leave_the_breaker_alone() {
        let mut health = Health::default();
        for n in 0..20 {
            learn(&mut health, Ended { rejected: true, ..ended(n, 422, 0) });
            let asked = Some(START.plus(Duration::from_secs(5)));
            learn(&mut health, Ended { hold_until: asked, ..ended(n, 429, 0) });
            learn(&mut health, Ended { trigger: Trigger::Test, ..ended(n, 500, 0) });
            learn(&mut health, Ended { error_class: ErrorClass::Interrupted, ..ended(n, 500, 0) });
        }
        assert!(health.breaker.is_clean());
        assert_eq!(health.admission(START), Admission::HeldUntil(START.plus(Duration::from_secs(5))));
        assert_eq!(health.admission(START.plus(Duration::from_secs(5))), Admission::Go);
    }

    #[test]
    fn a_hold_that_is_over_is_forgotten_with_the_next_answer() {
        let mut health = Health::default();
        let soon = Some(START.plus(Duration::from_secs(1)));
        learn(&mut health, Ended { hold_until: soon, ..ended(1, 429, 0) });
        assert!(!health.is_clean());
        learn(&mut health, ended(1, 204, 2));
        assert!(health.is_clean());
    }

    #[test]
    fn the_longer_of_two_holds_counts() {
        let mut health = Health::default();
        for n in 0..5 {
            learn(&mut health, ended(n, 503, 0));
        }
        let minute = START.plus(Duration::from_secs(60));
        learn(&mut health, Ended { hold_until: Some(minute), ..ended(6, 503, 0) });
        assert_eq!(health.admission(START), Admission::HeldUntil(minute));
        assert_eq!(health.hold(START), Some(Hold { by: HeldBy::RateLimit, until: Some(minute) }));
        assert_eq!(health.hold(minute), None);
        assert!(!health.is_clean());
    }
}
