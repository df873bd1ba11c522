//! Which delivery may go now.
//!
//! A lane is what this process knows of one endpoint whose deliveries it
//! sends: what is in hand, what is under way, what the store still has, and
//! what holds it. [`Lanes`] keeps all of them and gives out work in turns:
//! tenants first, then the endpoints of a tenant, so that neither a busy
//! tenant nor a busy endpoint delays the others. It decides and does
//! nothing: no I/O, no clock, no async.

mod claims;
mod in_flight;
mod intake;
mod lane;
mod ownership;
mod turns;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroU32;
use std::time::Duration;

use delivery_log::hand_off::ReadyDelivery;
use delivery_log::lanes::{Cursor, Epoch};
use model::attempt::Trigger;
use model::clock::Timestamp;
use model::entropy::Entropy;
use model::health::Ended;
use model::ids::EndpointId;

pub(crate) use lane::Learned;
use lane::{Lane, Next};
use turns::Turns;

/// The greatest number of deliveries in hand that are not under way.
const MAX_READY: usize = 8_192;
/// The greatest number of bytes of their data.
const MAX_READY_BYTES: usize = 64 * 1024 * 1024;
/// What one lane may have in hand, as a share of what is still free: one in
/// so many. Lanes that do not move fill ever smaller parts, and some is always
/// left for those that do (dynamic thresholds, Choudhury and Hahne, 1998).
const SHARE_OF_FREE: usize = 8;
/// A lane with fewer in hand than this asks the store for more.
const LOW: usize = 32;
/// How many are claimed at a time.
const CLAIM: usize = 256;
/// So many claims are under way at a time: a claim that waits too long in the
/// store is in doubt.
const MAX_CLAIMS: usize = 64;
/// The share of all slots that one endpoint may hold: one in so many.
const SHARE: usize = 8;
/// The share of all slots that retries may hold: one in so many.
const RETRY_SHARE: usize = 2;
/// The share of all slots that replays may hold: one in so many.
const REPLAY_SHARE: usize = 4;
/// For each slot, so many ended calls may wait to be logged. Beyond it
/// nothing is started: a log that cannot keep up must not be outrun.
const UNRECORDED_PER_SLOT: usize = 4;
/// How long a lane is left to the process that has it.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// What a lane wants from the store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ClaimWish {
    pub(crate) endpoint: EndpointId,
    pub(crate) epoch: Epoch,
    pub(crate) limit: u32,
    pub(crate) max_bytes: usize,
    /// Only tests, because everything else is held.
    pub(crate) tests_only: bool,
    /// How far the lane has looked.
    pub(crate) after: Cursor,
}

/// What the endpoint of a delivery allows at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Enabled,
    /// Paused or disabled: only tests may go.
    Held,
    Gone,
}

/// What an endpoint allows, and how it wants to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) standing: Standing,
    /// Calls a second, at most.
    pub(crate) rate: Option<NonZeroU32>,
}

/// Kinds of deliveries, of which each but the first has a share of the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    New,
    Retry,
    /// Sent again by hand, one or many.
    Replay,
}

impl Kind {
    fn of(delivery: &ReadyDelivery) -> Self {
        match delivery.trigger {
            Trigger::Manual | Trigger::Replay => Self::Replay,
            Trigger::Automatic | Trigger::Probe | Trigger::Test if delivery.attempts == 0 => Self::New,
            Trigger::Automatic | Trigger::Probe | Trigger::Test => Self::Retry,
        }
    }
}

/// All lanes of this process.
pub(crate) struct Lanes {
    lanes: HashMap<EndpointId, Lane>,
    turns: Turns,
    /// When lanes have work again that is not due yet.
    timers: BTreeSet<(Timestamp, EndpointId)>,
    /// When lanes may send again whose pace is limited.
    paces: BTreeSet<(Timestamp, EndpointId)>,
    timer_changed: bool,
    /// Lanes that may want something from the store.
    hungry: HashSet<EndpointId>,
    /// Lanes that wanted something while memory was full.
    starving: HashSet<EndpointId>,
    wanted: BTreeSet<EndpointId>,
    /// Lanes that another process has, and until when that is believed.
    elsewhere: HashMap<EndpointId, Timestamp>,
    /// Lanes with nothing but retries or replays, while those have no slot left.
    crowded: Vec<EndpointId>,
    slots: usize,
    under_way: usize,
    retries_under_way: usize,
    replays_under_way: usize,
    /// Ended, and not in the log yet.
    unrecorded: usize,
    ready: usize,
    ready_bytes: usize,
    /// How many deliveries claims under way may still bring.
    promised: usize,
    /// And how many bytes of their data.
    promised_bytes: usize,
    /// Claims under way.
    claims: usize,
    stopping: bool,
}

impl Lanes {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            lanes: HashMap::new(),
            turns: Turns::default(),
            timers: BTreeSet::new(),
            paces: BTreeSet::new(),
            timer_changed: false,
            hungry: HashSet::new(),
            starving: HashSet::new(),
            wanted: BTreeSet::new(),
            elsewhere: HashMap::new(),
            crowded: Vec::new(),
            slots,
            under_way: 0,
            retries_under_way: 0,
            replays_under_way: 0,
            unrecorded: 0,
            ready: 0,
            ready_bytes: 0,
            promised: 0,
            promised_bytes: 0,
            claims: 0,
            stopping: false,
        }
    }

    /// How many calls are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// How many deliveries are in hand and not under way.
    pub(crate) fn ready(&self) -> usize {
        self.ready
    }

    /// The next delivery to send, if a slot is free.
    pub(crate) fn next(
        &mut self,
        now: Timestamp,
        terms: impl Fn(EndpointId) -> Terms,
    ) -> Option<ReadyDelivery> {
        while !self.stopping
            && self.under_way < self.slots
            && self.unrecorded < self.slots * UNRECORDED_PER_SLOT
        {
            let (tenant, endpoint) = self.turns.next()?;
            let (retries, replays) = (self.retries_have_room(), self.replays_have_room());
            let Some(lane) = self.lanes.get_mut(&endpoint) else { continue };
            lane.queued = false;
            let may_go = |kind| match kind {
                Kind::New => true,
                Kind::Retry => retries,
                Kind::Replay => replays,
            };
            if !lane.put_first(may_go) {
                if !lane.ready.is_empty() && !std::mem::replace(&mut lane.crowded, true) {
                    self.crowded.push(endpoint);
                }
                continue;
            }
            let delivery = match lane.next(now, &terms(endpoint)) {
                Next::Send(delivery) => delivery,
                Next::NotBefore(at) => {
                    self.set_pace_timer(endpoint, at);
                    continue;
                }
                Next::Nothing => continue,
            };
            self.turns.charge(tenant, delivery.data.as_bytes().len());
            self.count_under_way(&delivery, 1);
            self.drop_ready(&delivery);
            let lane = self.lanes.get_mut(&endpoint).expect("the lane was there");
            if lane.is_runnable() {
                lane.queued = true;
                self.turns.add(tenant, endpoint);
            }
            if lane.behind && lane.ready.len() < LOW {
                self.hungry.insert(endpoint);
            }
            return Some(delivery);
        }
        None
    }

    fn retries_have_room(&self) -> bool {
        self.retries_under_way < (self.slots / RETRY_SHARE).max(1)
    }

    fn replays_have_room(&self) -> bool {
        self.replays_under_way < (self.slots / REPLAY_SHARE).max(1)
    }

    fn count_under_way(&mut self, delivery: &ReadyDelivery, change: isize) {
        let add = |count: &mut usize| *count = count.saturating_add_signed(change);
        add(&mut self.under_way);
        match Kind::of(delivery) {
            Kind::New => {}
            Kind::Retry => add(&mut self.retries_under_way),
            Kind::Replay => add(&mut self.replays_under_way),
        }
    }

    /// A call has ended, and its slot is free. It is not in the log yet.
    pub(crate) fn ended(
        &mut self,
        delivery: &ReadyDelivery,
        ended: &Ended,
        took: Duration,
        entropy: &dyn Entropy,
    ) -> Learned {
        self.free_slot(delivery);
        self.unrecorded += 1;
        let endpoint = delivery.endpoint;
        let Some(lane) = self.lane_of(endpoint, delivery.epoch) else {
            return Learned { findings: Vec::new(), health: None };
        };
        let learned = lane.ended(ended, took, entropy);
        if lane.behind {
            self.hungry.insert(endpoint);
        }
        self.queue(endpoint);
        self.set_hold_timer(endpoint, ended.at);
        learned
    }

    /// A delivery was given out and not sent: its endpoint has just gone.
    pub(crate) fn abandoned(&mut self, delivery: &ReadyDelivery) {
        self.free_slot(delivery);
        if let Some(lane) = self.lane_of(delivery.endpoint, delivery.epoch) {
            lane.abandoned(delivery.id);
        }
    }

    fn free_slot(&mut self, delivery: &ReadyDelivery) {
        self.count_under_way(delivery, -1);
        if Kind::of(delivery) != Kind::New {
            for endpoint in std::mem::take(&mut self.crowded) {
                if let Some(lane) = self.lanes.get_mut(&endpoint) {
                    lane.crowded = false;
                }
                self.queue(endpoint);
            }
        }
    }

    /// What became of a delivery is in doubt: its lane is given back as soon as can
    /// be, so that its next owner finds it in the store.
    pub(crate) fn doubt(&mut self, delivery: &ReadyDelivery) {
        if let Some(lane) = self.lane_of(delivery.endpoint, delivery.epoch) {
            lane.doubt();
        }
    }

    /// The call is in the log; the delivery is due again then, if it is.
    pub(crate) fn recorded(&mut self, delivery: &ReadyDelivery, due: Option<Timestamp>) {
        self.unrecorded -= 1;
        let endpoint = delivery.endpoint;
        if let Some(lane) = self.lane_of(endpoint, delivery.epoch) {
            lane.unrecorded -= 1;
            if delivery.ordered {
                // The next one of its key may go now.
                lane.has_more_in_store();
                self.hungry.insert(endpoint);
            }
            if let Some(due) = due {
                self.set_timer(endpoint, due);
            }
        }
    }

    /// A lane, if it is still owned as it was then. What was begun in an
    /// earlier epoch is of no concern to the lane as it is now.
    fn lane_of(&mut self, endpoint: EndpointId, epoch: Epoch) -> Option<&mut Lane> {
        self.lanes.get_mut(&endpoint).filter(|lane| lane.epoch == epoch)
    }

    /// Starts nothing more.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether there is something to ask of the store, or a timer is new.
    pub(crate) fn wants_attention(&mut self) -> bool {
        let may_claim = !self.hungry.is_empty() && self.claims < MAX_CLAIMS;
        std::mem::take(&mut self.timer_changed) || may_claim || !self.wanted.is_empty()
    }

    /// When the next thing happens by itself.
    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        let timers = [self.timers.first(), self.paces.first()];
        timers.into_iter().flatten().map(|(due, _)| *due).min()
    }

    fn remove(&mut self, endpoint: EndpointId) -> Option<(EndpointId, Epoch)> {
        let lane = self.lanes.remove(&endpoint)?;
        if let Some(timer) = lane.timer {
            self.timers.remove(&(timer, endpoint));
        }
        if let Some(timer) = lane.pace_timer {
            self.paces.remove(&(timer, endpoint));
        }
        lane.ready.iter().for_each(|delivery| self.drop_ready(delivery));
        Some((endpoint, lane.epoch))
    }

    fn drop_ready(&mut self, delivery: &ReadyDelivery) {
        self.ready -= 1;
        self.ready_bytes -= delivery.data.as_bytes().len();
        self.hungry.extend(self.starving.drain());
    }

    fn queue(&mut self, endpoint: EndpointId) {
        if let Some(lane) = self.lanes.get_mut(&endpoint)
            && !lane.queued
            && lane.is_runnable()
        {
            lane.queued = true;
            self.turns.add(lane.tenant, endpoint);
        }
    }

    fn set_timer(&mut self, endpoint: EndpointId, due: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return };
        if lane.timer.is_some_and(|timer| timer <= due) {
            return;
        }
        if let Some(later) = lane.timer.replace(due) {
            self.timers.remove(&(later, endpoint));
        }
        self.timers.insert((due, endpoint));
        self.timer_changed = true;
    }

    fn set_pace_timer(&mut self, endpoint: EndpointId, at: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return };
        if let Some(other) = lane.pace_timer.replace(at) {
            self.paces.remove(&(other, endpoint));
        }
        self.paces.insert((at, endpoint));
        self.timer_changed = true;
    }

    fn set_hold_timer(&mut self, endpoint: EndpointId, now: Timestamp) {
        let hold = self.lanes.get(&endpoint).and_then(|lane| lane.hold_end(now));
        if let Some(end) = hold {
            self.set_timer(endpoint, end);
        }
    }
}

#[cfg(test)]
mod tests;
