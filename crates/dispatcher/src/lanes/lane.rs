//! One endpoint's lane.

use std::collections::VecDeque;
use std::time::Duration;

use delivery_log::hand_off::{Fate, ReadyDelivery};
use delivery_log::lanes::{ClaimedDeliveries, Epoch, LaneHealth, TakenLane};
use model::attempt::{ErrorClass, Trigger};
use model::clock::Timestamp;
use model::failure::{GONE_EVENTS, GONE_WINDOW};
use model::ids::{EventId, TenantId};

use super::Standing;
use crate::limits::InFlightLimit;

/// What this process knows of an endpoint whose deliveries it sends.
pub(crate) struct Lane {
    pub(super) tenant: TenantId,
    pub(super) epoch: Epoch,
    pub(super) health: LaneHealth,
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
    /// News of more work since the claim began.
    woken_while_claiming: bool,
    /// Something may be claimed in the store that is not in hand.
    pub(super) doubtful: bool,
    /// Starts nothing more: it is given back when it is quiet.
    pub(super) leaving: bool,
    /// Whether it stands in the turns.
    pub(super) queued: bool,
    /// Whether it waits for a retry's slot.
    pub(super) crowded: bool,
    pub(super) timer: Option<Timestamp>,
    last_busy: Timestamp,
}

impl Lane {
    pub(super) fn new(taken: TakenLane, tenant: TenantId, cap: usize, now: Timestamp) -> Self {
        Self {
            tenant,
            epoch: taken.epoch,
            health: taken.health,
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
            woken_while_claiming: false,
            doubtful: false,
            leaving: false,
            queued: false,
            crowded: false,
            timer: None,
            last_busy: now,
        }
    }

    /// A place for one more, unless older ones wait in the store: those go first.
    pub(super) fn reserve(&mut self, bytes: usize) -> Option<Epoch> {
        let unsure = self.behind || self.claiming || self.doubtful || self.leaving;
        if unsure || self.health.hold_until.is_some() {
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
        self.woken_while_claiming = true;
    }

    pub(super) fn is_held(&self, now: Timestamp) -> bool {
        self.health.hold_until.is_some_and(|end| end > now)
    }

    pub(super) fn begin_claim(&mut self) {
        self.claiming = true;
        self.test_waits = false;
        self.woken_while_claiming = false;
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
        self.behind = more_is_due || self.woken_while_claiming;
        claimed.next_due.filter(|due| *due > now)
    }

    /// Whether something may be sent, as far as the limit goes.
    pub(super) fn is_runnable(&self) -> bool {
        !self.leaving && !self.ready.is_empty() && self.under_way < self.limit.allowed()
    }

    /// Moves the first delivery that is not a retry to the front, if there is one.
    pub(super) fn put_new_first(&mut self) -> bool {
        let Some(place) = self.ready.iter().position(|ready| ready.attempts == 0) else { return false };
        if let Some(new) = self.ready.remove(place) {
            self.ready.push_front(new);
        }
        true
    }

    /// The next delivery, if nothing holds it.
    pub(super) fn next(&mut self, now: Timestamp, standing: Standing) -> Option<ReadyDelivery> {
        if !self.is_runnable() {
            return None;
        }
        if self.health.hold_until.is_some_and(|end| end <= now) {
            self.health.hold_until = None;
        }
        let held = self.is_held(now) || standing == Standing::Held;
        let is_test = self.ready.front().is_some_and(|ready| ready.trigger == Trigger::Test);
        if standing == Standing::Gone || (held && !is_test) {
            return None;
        }
        self.under_way += 1;
        self.last_busy = now;
        let next = self.ready.pop_front()?;
        self.let_go(&next);
        Some(next)
    }

    pub(super) fn ended(&mut self, how: ErrorClass, hold_until: Option<Timestamp>, now: Timestamp) {
        self.under_way -= 1;
        self.unrecorded += 1;
        self.last_busy = now;
        self.limit.learn(how);
        self.health.hold_until = self.health.hold_until.max(hold_until);
    }

    /// One that was given out was not sent. The store has it as claimed, so
    /// the lane is given back as soon as it is quiet.
    pub(super) fn abandoned(&mut self) {
        self.under_way -= 1;
        self.doubtful = true;
    }

    /// Something of this lane may be claimed in the store and in nobody's hands.
    pub(crate) fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// Whether a test is in hand or in the store.
    pub(super) fn has_test(&self) -> bool {
        self.test_waits || self.ready.front().is_some_and(|ready| ready.trigger == Trigger::Test)
    }

    /// Notes that the endpoint answered 410, and tells whether that was once
    /// too often: for so many different events within an hour.
    pub(crate) fn note_gone(&mut self, event: EventId, now: Timestamp) -> bool {
        let gone = &mut self.health.gone;
        gone.retain(|(other, at)| *other != event && now.since(*at) <= GONE_WINDOW);
        gone.push((event, now));
        let too_often = gone.len() >= GONE_EVENTS;
        if too_often {
            // Enabled again, it starts anew.
            gone.clear();
        }
        too_often
    }

    /// What the next owner should know.
    pub(crate) fn health(&self) -> &LaneHealth {
        &self.health
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
    }
}
