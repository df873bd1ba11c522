//! One endpoint's lane.

use std::collections::VecDeque;
use std::time::Duration;

use delivery_log::hand_off::{Fate, ReadyDelivery};
use delivery_log::lanes::{ClaimedDeliveries, Cursor, Epoch, TakenLane};
use model::attempt::Trigger;
use model::breaker::{Admission, State};
use model::clock::Timestamp;
use model::entropy::Entropy;
use model::health::{Ended, Finding, Health};
use model::ids::{DeliveryId, TenantId};
use model::rate::Pace;

use super::in_flight::InFlightLimit;
use super::{CLAIM, Kind, Standing, Terms};

/// How many rounds of calls are claimed at a time.
const ROUNDS: usize = 16;
/// So many tests may be under way beyond the limit.
const TESTS_BESIDE: usize = 4;

/// What a lane gives out.
pub(super) enum Next {
    /// This is to be sent.
    Send(ReadyDelivery),
    /// Its pace lets the next one go then.
    NotBefore(Timestamp),
    /// Nothing, until something changes.
    Nothing,
}

/// What a call told of its endpoint.
pub(crate) struct Learned {
    /// What people or other parts should know.
    pub(crate) findings: Vec<Finding>,
    /// What the next owner should know, if there is something.
    pub(crate) health: Option<Health>,
}

/// What this process knows of an endpoint whose deliveries it sends.
pub(crate) struct Lane {
    pub(super) tenant: TenantId,
    pub(super) epoch: Epoch,
    health: Health,
    /// Something of the health holds deliveries, or did when it was looked last.
    held: bool,
    /// How fast calls may follow one another, if that is limited.
    pace: Option<Pace>,
    /// How far it has looked through what is due, where not all may go.
    pub(super) cursor: Cursor,
    /// In hand and not under way.
    pub(super) ready: VecDeque<ReadyDelivery>,
    /// Promised to the writer.
    reserved: usize,
    /// Ready and reserved.
    pub(super) in_hand: usize,
    /// The bytes of their data.
    pub(super) in_hand_bytes: usize,
    under_way: usize,
    /// Ended, and not in the log yet.
    pub(super) unrecorded: usize,
    limit: InFlightLimit,
    /// The store has due work that is not in hand.
    pub(super) behind: bool,
    pub(super) test_waits: bool,
    pub(super) claiming: bool,
    /// News of more work since it last looked from the start.
    woken_since_start: bool,
    /// Something may be claimed in the store that is not in hand.
    pub(super) doubtful: bool,
    /// Starts nothing more: it is given back when it is quiet.
    pub(super) leaving: bool,
    /// Whether it stands in the turns.
    pub(super) queued: bool,
    /// Whether it waits for a retry's slot.
    pub(super) crowded: bool,
    pub(super) timer: Option<Timestamp>,
    /// When the pace lets the next one go.
    pub(super) pace_timer: Option<Timestamp>,
    last_busy: Timestamp,
}

impl Lane {
    pub(super) fn new(taken: TakenLane, tenant: TenantId, cap: usize, now: Timestamp) -> Self {
        Self {
            tenant,
            epoch: taken.epoch,
            // An open breaker holds; whether it is over is seen at the first turn.
            held: !taken.health.is_clean(),
            health: taken.health,
            pace: None,
            cursor: Cursor::START,
            ready: VecDeque::new(),
            reserved: 0,
            in_hand: 0,
            in_hand_bytes: 0,
            under_way: 0,
            unrecorded: 0,
            limit: InFlightLimit::new(cap),
            behind: true,
            test_waits: false,
            claiming: false,
            woken_since_start: false,
            doubtful: false,
            leaving: false,
            queued: false,
            crowded: false,
            timer: None,
            pace_timer: None,
            last_busy: now,
        }
    }

    /// A place for one more, unless older ones wait in the store: those go first.
    pub(super) fn reserve(&mut self, bytes: usize) -> Option<Epoch> {
        let unsure = self.behind || self.claiming || self.doubtful || self.leaving;
        if unsure || self.held {
            return None;
        }
        self.reserved += 1;
        self.in_hand += 1;
        self.in_hand_bytes += bytes;
        Some(self.epoch)
    }

    /// A reservation came to nothing. If it may have been committed all the
    /// same, the lane is given back when it is quiet.
    pub(super) fn give_up(&mut self, bytes: usize, fate: Fate) {
        self.reserved -= 1;
        self.in_hand -= 1;
        self.in_hand_bytes -= bytes;
        self.doubtful |= fate == Fate::Unknown;
    }

    /// What was reserved is here.
    pub(super) fn accept(&mut self, delivery: ReadyDelivery) {
        self.reserved -= 1;
        self.ready.push_back(delivery);
    }

    /// One that was ready is in hand no more.
    pub(super) fn let_go(&mut self, delivery: &ReadyDelivery) {
        self.in_hand -= 1;
        self.in_hand_bytes -= delivery.data.as_bytes().len();
    }

    /// Whether nothing is in hand or under way.
    pub(super) fn is_empty_handed(&self) -> bool {
        self.in_hand == 0 && self.under_way == 0
    }

    pub(super) fn has_more_in_store(&mut self) {
        self.behind = true;
        self.woken_since_start = true;
    }

    pub(super) fn is_held(&self, now: Timestamp) -> bool {
        matches!(self.health.admission(now), Admission::HeldUntil(_))
    }

    /// When the hold ends, if there is one.
    pub(super) fn hold_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.health.hold(now)?.until
    }

    /// What was known of the endpoint counts no more.
    pub(super) fn forget_health(&mut self) {
        self.health = Health::default();
        self.held = false;
    }

    pub(super) fn begin_claim(&mut self, tests_only: bool) {
        self.claiming = true;
        if tests_only {
            self.test_waits = false;
        } else if self.cursor == Cursor::START {
            // From the start on, it sees all that it was told of.
            self.test_waits = false;
            self.woken_since_start = false;
        }
    }

    /// Takes what was claimed in hand, and gives the time at which the store
    /// has more, if that is later.
    pub(super) fn end_claim(
        &mut self,
        claimed: ClaimedDeliveries,
        tests_only: bool,
        limit: usize,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.claiming = false;
        let full = claimed.ready.len() >= limit;
        let took_some = !claimed.ready.is_empty();
        let (tests, others): (Vec<_>, Vec<_>) =
            claimed.ready.into_iter().partition(|ready| ready.trigger == Trigger::Test);
        self.in_hand += others.len() + tests.len();
        let bytes = |ready: &ReadyDelivery| ready.data.as_bytes().len();
        self.in_hand_bytes += others.iter().chain(&tests).map(bytes).sum::<usize>();
        self.ready.extend(others);
        tests.into_iter().for_each(|test| self.ready.push_front(test));
        if tests_only {
            // There may be more of them than the claim took.
            self.test_waits |= full;
            return None;
        }
        let more_is_due = claimed.next_due.is_some_and(|due| due <= now);
        // Of what goes in order, there may be more behind what was looked at.
        let more_to_see = claimed.more_after.is_some() || (full && self.has_ordered());
        self.cursor = claimed.more_after.unwrap_or(Cursor::START);
        // Where some were taken, others may have been left for want of room.
        self.woken_since_start |= claimed.more_after.is_some() && took_some;
        self.behind = more_is_due || more_to_see || self.woken_since_start;
        claimed.next_due.filter(|due| *due > now)
    }

    /// How many deliveries are worth claiming at a time: what can be sent in
    /// some rounds. While the breaker is not closed, that is a few, one of them
    /// another than the last probe; the rest would lie here while the endpoint
    /// is away.
    pub(super) fn appetite(&self) -> usize {
        if self.health.breaker.state() == State::Closed {
            CLAIM.min(ROUNDS * self.limit.allowed())
        } else {
            4
        }
    }

    /// Whether something may be sent, as far as the limit goes.
    pub(super) fn is_runnable(&self) -> bool {
        // A test passes what holds the others; so few may be under way beside them.
        let allowed = self.limit.allowed() + if self.test_is_first() { TESTS_BESIDE } else { 0 };
        !self.leaving && !self.ready.is_empty() && self.under_way < allowed
    }

    /// Whether a test is the next in hand: tests are put before the others.
    fn test_is_first(&self) -> bool {
        self.ready.front().is_some_and(|ready| ready.trigger == Trigger::Test)
    }

    /// Whether something in hand goes in the order of its key.
    fn has_ordered(&self) -> bool {
        self.ready.iter().any(|ready| ready.ordered)
    }

    /// Moves the first delivery of a kind that may go to the front, if there is one.
    pub(super) fn put_first(&mut self, may_go: impl Fn(Kind) -> bool) -> bool {
        let Some(place) = self.ready.iter().position(|ready| may_go(Kind::of(ready))) else { return false };
        if place > 0
            && let Some(chosen) = self.ready.remove(place)
        {
            self.ready.push_front(chosen);
        }
        true
    }

    /// The next delivery, if nothing holds it.
    pub(super) fn next(&mut self, now: Timestamp, terms: &Terms) -> Next {
        if !self.is_runnable() || terms.standing == Standing::Gone {
            return Next::Nothing;
        }
        let is_test = self.test_is_first();
        if !is_test {
            if terms.standing == Standing::Held {
                return Next::Nothing;
            }
            match self.health.admission(now) {
                Admission::Go => self.held = false,
                Admission::Probe => self.prepare_probe(),
                Admission::HeldUntil(_) | Admission::ProbeUnderWay => {
                    self.held = true;
                    return Next::Nothing;
                }
            }
            if let Some(at) = self.paced_until(now, terms) {
                return Next::NotBefore(at);
            }
        }
        let Some(mut next) = self.ready.pop_front() else { return Next::Nothing };
        self.under_way += 1;
        self.last_busy = now;
        self.let_go(&next);
        if !is_test {
            if let Some(pace) = &mut self.pace {
                pace.take(now);
            }
            if self.health.admission(now) == Admission::Probe {
                self.health.breaker.begin_probe(next.id);
                if next.trigger == Trigger::Automatic {
                    next.trigger = Trigger::Probe;
                }
            }
        }
        Next::Send(next)
    }

    /// Puts another delivery first than the last probe's, if there is one.
    fn prepare_probe(&mut self) {
        self.held = true;
        let last = self.health.breaker.last_probe();
        if self.ready.front().map(|ready| ready.id) == last
            && let Some(place) = self.ready.iter().position(|ready| Some(ready.id) != last)
            && let Some(other) = self.ready.remove(place)
        {
            self.ready.push_front(other);
        }
    }

    /// When the pace lets the next one go, if that is not now.
    fn paced_until(&mut self, now: Timestamp, terms: &Terms) -> Option<Timestamp> {
        let Some(rate) = terms.rate else {
            self.pace = None;
            return None;
        };
        let pace = match &mut self.pace {
            Some(pace) if pace.is(rate) => pace,
            pace => pace.insert(Pace::new(rate, now)),
        };
        Some(pace.next_at()).filter(|at| *at > now)
    }

    /// Learns from how a call ended.
    pub(super) fn ended(&mut self, ended: &Ended, took: Duration, entropy: &dyn Entropy) -> Learned {
        self.under_way -= 1;
        self.unrecorded += 1;
        self.last_busy = ended.at;
        if ended.trigger != Trigger::Test {
            self.limit.learn(ended.error_class, took);
        }
        let was_clean = self.health.is_clean();
        let findings = self.health.learn(&Ended { under_way: self.under_way, ..*ended }, entropy);
        if findings.contains(&Finding::BreakerClosed) {
            self.limit.restart();
        }
        self.held = self.health.admission(ended.at) != Admission::Go;
        let tell = !was_clean || !self.health.is_clean();
        Learned { findings, health: tell.then(|| self.health.clone()) }
    }

    /// One that was given out was not sent. The store has it as claimed, so
    /// the lane is given back as soon as it is quiet.
    pub(super) fn abandoned(&mut self, delivery: DeliveryId) {
        self.under_way -= 1;
        self.health.breaker.forget(delivery);
        self.doubtful = true;
    }

    /// Something of this lane may be claimed in the store and in nobody's hands.
    pub(super) fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// Whether a test is in hand or in the store.
    pub(super) fn has_test(&self) -> bool {
        self.test_waits || self.test_is_first()
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Whether nothing is under way or about to come.
    pub(super) fn is_quiet(&self) -> bool {
        self.under_way == 0 && self.unrecorded == 0 && self.reserved == 0 && !self.claiming
    }

    pub(super) fn is_resting(&self, now: Timestamp, idle_after: Duration) -> bool {
        let soon = now.plus(idle_after);
        self.is_quiet()
            && self.ready.is_empty()
            && !self.behind
            && now.since(self.last_busy) >= idle_after
            && self.timer.is_none_or(|timer| timer > soon)
            && self.pace_timer.is_none()
    }
}
