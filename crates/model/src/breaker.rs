//! The circuit breaker of an endpoint: a state machine without a clock.
//!
//! *Closed* is healthy: everything goes. *Open* holds everything until the
//! cool-down ends. *Half-open* lets one probe through at a time; so many
//! successes close it, and a failure opens it again for longer (Nygard,
//! "Release It!", 2007).

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::entropy::Entropy;
use crate::ids::DeliveryId;

/// How far back failures and successes are counted.
pub const WINDOW: Duration = Duration::from_secs(60);
/// At least so many attempts within [`WINDOW`] say something.
pub const WINDOW_ATTEMPTS: u32 = 10;
/// So many failures in a row open the breaker,
pub const IN_A_ROW: u32 = 5;
/// if they were of so many deliveries: one that always fails says little.
pub const DIFFERENT_DELIVERIES: usize = 3;
/// The first cool-down.
pub const FIRST_COOL_DOWN: Duration = Duration::from_secs(10);
/// The longest cool-down, before jitter.
pub const LONGEST_COOL_DOWN: Duration = Duration::from_secs(5 * 60);
/// The share by which a cool-down may be shorter or longer.
pub const JITTER: f64 = 0.2;
/// So many probes in a row have to succeed.
pub const SUCCESSES: u32 = 2;
/// The window is counted in so many parts.
const PARTS: u64 = 6;

/// Where the breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum State {
    /// Everything goes.
    Closed,
    /// Nothing goes.
    Open {
        /// The end of the cool-down.
        until: Timestamp,
    },
    /// Single probes go.
    HalfOpen {
        /// How many have succeeded.
        successes: u32,
    },
}

/// Whether a call may be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Go,
    /// One, to see whether the endpoint is well again.
    Probe,
    /// Not before this.
    HeldUntil(Timestamp),
    /// Not while a probe is under way.
    ProbeUnderWay,
}

/// What the breaker made of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It stands where it stood.
    None,
    /// It is open now.
    Opened {
        /// The end of the cool-down.
        until: Timestamp,
    },
    /// It is closed again.
    Closed,
}

/// Successes and failures of a part of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    number: u64,
    successes: u32,
    failures: u32,
}

/// The breaker of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    state: State,
    /// Times it opened since it was last closed.
    opened: u32,
    in_a_row: u32,
    /// The deliveries that failed in a row, as many as matter.
    failing: Vec<DeliveryId>,
    parts: VecDeque<Part>,
    /// The last probe's delivery: the next one is another, if there is one.
    last_probe: Option<DeliveryId>,
    /// Not stored: whoever takes the lane over has no probe under way.
    #[serde(skip)]
    probing: Option<DeliveryId>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed,
            opened: 0,
            in_a_row: 0,
            failing: Vec::new(),
            parts: VecDeque::new(),
            last_probe: None,
            probing: None,
        }
    }
}

impl Breaker {
    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Nothing goes before this.
    pub fn held_until(&self) -> Option<Timestamp> {
        match self.state {
            State::Open { until } => Some(until),
            State::Closed | State::HalfOpen { .. } => None,
        }
    }

    /// The delivery of the last probe.
    pub fn last_probe(&self) -> Option<DeliveryId> {
        self.last_probe
    }

    /// Whether it has opened once since it was last closed.
    pub fn is_first_opening(&self) -> bool {
        self.opened == 1
    }

    /// Whether there is nothing to remember.
    pub fn is_clean(&self) -> bool {
        self.state == State::Closed && self.in_a_row == 0 && self.opened == 0
    }

    /// Whether a call may be made now.
    pub fn admission(&self, now: Timestamp) -> Admission {
        match self.state {
            State::Closed => Admission::Go,
            State::Open { until } if until > now => Admission::HeldUntil(until),
            State::Open { .. } | State::HalfOpen { .. } if self.probing.is_none() => Admission::Probe,
            State::Open { .. } | State::HalfOpen { .. } => Admission::ProbeUnderWay,
        }
    }

    /// A probe is sent.
    pub fn begin_probe(&mut self, delivery: DeliveryId) {
        if let State::Open { .. } = self.state {
            self.state = State::HalfOpen { successes: 0 };
        }
        self.probing = Some(delivery);
        self.last_probe = Some(delivery);
    }

    /// A call came to nothing through no fault of the endpoint's.
    pub fn forget(&mut self, delivery: DeliveryId) {
        if self.probing == Some(delivery) {
            self.probing = None;
        }
    }

    /// A call succeeded.
    pub fn succeeded(&mut self, delivery: DeliveryId, now: Timestamp) -> Change {
        let was_probe = self.probing == Some(delivery);
        self.forget(delivery);
        self.count(now, 1, 0);
        self.in_a_row = 0;
        self.failing.clear();
        match self.state {
            State::HalfOpen { successes } if was_probe && successes + 1 >= SUCCESSES => {
                *self = Self::default();
                Change::Closed
            }
            State::HalfOpen { successes } if was_probe => {
                self.state = State::HalfOpen { successes: successes + 1 };
                Change::None
            }
            // What was under way when it opened says nothing about now.
            State::Closed | State::Open { .. } | State::HalfOpen { .. } => Change::None,
        }
    }

    /// A call failed while so many others are under way.
    pub fn failed(
        &mut self,
        delivery: DeliveryId,
        under_way: usize,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Change {
        let was_probe = self.probing == Some(delivery);
        self.forget(delivery);
        self.count(now, 0, 1);
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.failing.len() < DIFFERENT_DELIVERIES && !self.failing.contains(&delivery) {
            self.failing.push(delivery);
        }
        match self.state {
            State::HalfOpen { .. } if was_probe => self.open(now, entropy),
            State::Closed if self.is_sick(under_way, now) => self.open(now, entropy),
            State::Closed | State::Open { .. } | State::HalfOpen { .. } => Change::None,
        }
    }

    /// Of many calls begun at once the failures often end first, because to
    /// refuse is less work: so many have to have ended as are under way still
    /// before any rule is asked.
    fn is_sick(&self, under_way: usize, now: Timestamp) -> bool {
        let under_way = u32::try_from(under_way).unwrap_or(u32::MAX);
        if self.in_a_row >= IN_A_ROW.max(under_way) && self.failing.len() >= DIFFERENT_DELIVERIES {
            return true;
        }
        let oldest = part_of(now).saturating_sub(PARTS - 1);
        let recent = self.parts.iter().filter(|part| part.number >= oldest);
        let (successes, failures) =
            recent.fold((0, 0), |(s, f), part| (s + part.successes, f + part.failures));
        successes + failures >= WINDOW_ATTEMPTS.max(under_way) && failures >= successes
    }

    fn open(&mut self, now: Timestamp, entropy: &dyn Entropy) -> Change {
        let doubled = FIRST_COOL_DOWN * 2_u32.saturating_pow(self.opened.min(16));
        let jitter = 1.0 + JITTER * (2.0 * entropy.fraction() - 1.0);
        let until = now.plus(doubled.min(LONGEST_COOL_DOWN).mul_f64(jitter));
        self.state = State::Open { until };
        self.opened = self.opened.saturating_add(1);
        self.parts.clear();
        Change::Opened { until }
    }

    fn count(&mut self, now: Timestamp, successes: u32, failures: u32) {
        let number = part_of(now);
        match self.parts.back_mut() {
            // A clock that was set back counts in the newest part.
            Some(part) if part.number >= number => {
                part.successes = part.successes.saturating_add(successes);
                part.failures = part.failures.saturating_add(failures);
            }
            _ => self.parts.push_back(Part { number, successes, failures }),
        }
        while self.parts.len() as u64 > PARTS {
            self.parts.pop_front();
        }
    }
}

fn part_of(now: Timestamp) -> u64 {
    (now.as_millis().max(0) as u64) / (WINDOW.as_millis() as u64 / PARTS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::entropy::{NoJitter, SeededEntropy};

    const START: Timestamp = Timestamp::from_secs(1_000_000);

    fn delivery(n: u128) -> DeliveryId {
        DeliveryId(Uuid::from_u128(n))
    }

    fn after(secs: u64) -> Timestamp {
        START.plus(Duration::from_secs(secs))
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for n in 0..4 {
            assert_eq!(breaker.failed(delivery(n), 0, START, &NoJitter), Change::None);
        }
        assert_eq!(breaker.failed(delivery(4), 0, START, &NoJitter), Change::Opened { until: after(10) });
        breaker
    }

    #[test]
    fn five_failures_in_a_row_of_three_deliveries_open_it() {
        assert_eq!(opened().admission(after(9)), Admission::HeldUntil(after(10)));
        let mut breaker = Breaker::default();
        for _ in 0..9 {
            breaker.failed(delivery(1), 0, START, &NoJitter);
        }
        assert_eq!(breaker.admission(START), Admission::Go, "one delivery that always fails says little");
    }

    #[test]
    fn half_of_ten_within_a_minute_opens_it() {
        let mut breaker = Breaker::default();
        for n in 0..5 {
            breaker.succeeded(delivery(n), START);
            assert_eq!(breaker.admission(START), Admission::Go);
            breaker.failed(delivery(n), 0, START, &NoJitter);
        }
        assert_eq!(breaker.state(), State::Open { until: after(10) });
        let mut breaker = Breaker::default();
        for n in 0..5 {
            breaker.succeeded(delivery(n), START);
            breaker.failed(delivery(n), 0, after(61), &NoJitter);
            breaker.succeeded(delivery(n), after(61));
        }
        assert_eq!(breaker.state(), State::Closed, "what was a minute ago does not count");
    }

    #[test]
    fn failures_that_end_before_the_successes_begun_with_them_say_little() {
        let mut breaker = Breaker::default();
        for n in 0..12 {
            breaker.failed(delivery(n), 128 - n as usize, START, &NoJitter);
        }
        assert_eq!(breaker.state(), State::Closed);
        for n in 12..65 {
            breaker.failed(delivery(n), 128 - n as usize, START, &NoJitter);
        }
        assert_ne!(breaker.state(), State::Closed, "half of what was under way has failed");
    }

    #[test]
    fn after_the_cool_down_one_probe_goes_at_a_time_and_two_close_it() {
        let mut breaker = opened();
        assert_eq!(breaker.admission(after(10)), Admission::Probe);
        breaker.begin_probe(delivery(1));
        assert_eq!(breaker.admission(after(10)), Admission::ProbeUnderWay);
        assert_eq!(breaker.succeeded(delivery(1), after(11)), Change::None);
        assert_eq!(breaker.admission(after(11)), Admission::Probe);
        breaker.begin_probe(delivery(2));
        assert_eq!(breaker.succeeded(delivery(2), after(12)), Change::Closed);
        assert!(breaker.is_clean());
    }

    #[test]
    fn a_failed_probe_opens_it_for_twice_as_long_up_to_five_minutes() {
        let mut breaker = opened();
        let mut now = after(10);
        let mut waits = Vec::new();
        for n in 0..7 {
            breaker.begin_probe(delivery(n));
            let Change::Opened { until } = breaker.failed(delivery(n), 0, now, &NoJitter) else {
                panic!("it opens again")
            };
            waits.push(until.since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn what_was_under_way_when_it_opened_changes_nothing() {
        let mut breaker = opened();
        assert_eq!(breaker.succeeded(delivery(9), after(1)), Change::None);
        assert_eq!(breaker.failed(delivery(8), 0, after(1), &NoJitter), Change::None);
        assert_eq!(breaker.held_until(), Some(after(10)));
        breaker.begin_probe(delivery(1));
        breaker.succeeded(delivery(9), after(11));
        breaker.succeeded(delivery(9), after(11));
        assert_eq!(breaker.state(), State::HalfOpen { successes: 0 });
    }

    #[test]
    fn it_is_stored_and_goes_on_without_the_probe_that_was_under_way() {
        let mut breaker = opened();
        breaker.begin_probe(delivery(1));
        let text = serde_json::to_string(&breaker).expect("has a JSON form");
        let next: Breaker = serde_json::from_str(&text).expect("reads back");
        assert_eq!(next.state(), State::HalfOpen { successes: 0 });
        assert_eq!(next.admission(after(10)), Admission::Probe);
        assert_eq!(next.last_probe(), Some(delivery(1)));
    }

    /// What may happen to a breaker, some seconds after what came before.
    #[derive(Debug, Clone)]
    enum Step {
        Send(u8),
        End { which: usize, ok: bool },
        Pass(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0_u8..6).prop_map(Step::Send),
            (0_usize..8, any::<bool>()).prop_map(|(which, ok)| Step::End { which, ok }),
            (0_u16..400).prop_map(Step::Pass),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        /// Whatever happens: while it is open nothing is admitted, while it is
        /// half-open at most one call is, it closes only by two probes, and it
        /// never stays open for longer than the longest cool-down.
        #[test]
        fn it_holds_what_it_promises(steps in steps(), seed: u64) {
            let entropy = SeededEntropy::new(seed);
            let mut breaker = Breaker::default();
            let mut now = START;
            let mut under_way: Vec<(DeliveryId, bool)> = Vec::new();
            let mut probes_in_a_row = 0;
            for step in steps {
                match step {
                    Step::Pass(secs) => now = now.plus(Duration::from_secs(secs.into())),
                    Step::Send(n) => {
                        let delivery = delivery(n.into());
                        if under_way.iter().any(|(other, _)| *other == delivery) {
                            continue;
                        }
                        match breaker.admission(now) {
                            Admission::Go => {
                                prop_assert_eq!(breaker.state(), State::Closed);
                                under_way.push((delivery, false));
                            }
                            Admission::Probe => {
                                prop_assert!(under_way.iter().all(|(_, probe)| !probe));
                                breaker.begin_probe(delivery);
                                under_way.push((delivery, true));
                            }
                            Admission::HeldUntil(until) => {
                                prop_assert!(until > now);
                                let longest = LONGEST_COOL_DOWN.mul_f64(1.0 + JITTER);
                                prop_assert!(until.since(now) <= longest);
                            }
                            Admission::ProbeUnderWay => {
                                prop_assert!(under_way.iter().any(|(_, probe)| *probe));
                            }
                        }
                    }
                    Step::End { which, ok } => {
                        if under_way.is_empty() {
                            continue;
                        }
                        let (delivery, probe) = under_way.swap_remove(which % under_way.len());
                        let before = breaker.state();
                        let change = if ok {
                            breaker.succeeded(delivery, now)
                        } else {
                            breaker.failed(delivery, 0, now, &entropy)
                        };
                        if probe {
                            probes_in_a_row = if ok { probes_in_a_row + 1 } else { 0 };
                        }
                        match change {
                            Change::Closed => {
                                prop_assert_eq!(probes_in_a_row, SUCCESSES);
                                probes_in_a_row = 0;
                            }
                            Change::Opened { until } => {
                                prop_assert!(!ok && until > now);
                                prop_assert!(probe || before == State::Closed);
                                probes_in_a_row = 0;
                            }
                            Change::None => {}
                        }
                    }
                }
            }
        }
    }
}
