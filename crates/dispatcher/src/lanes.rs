//! Which delivery may go now.
//!
//! A lane is what this process knows of one endpoint whose deliveries it
//! sends: what is in hand, what is under way, what the store still has, and
//! what holds it. [`Lanes`] keeps all of them and gives out work in turns:
//! tenants first, then the endpoints of a tenant, so that neither a busy
//! tenant nor a busy endpoint delays the others. It decides and does
//! nothing: no I/O, no clock, no async.

mod claims;
mod intake;
mod lane;
mod ownership;
mod turns;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use delivery_log::hand_off::ReadyDelivery;
use delivery_log::lanes::Epoch;
use model::attempt::ErrorClass;
use model::clock::Timestamp;
use model::ids::EndpointId;

pub(crate) use lane::Lane;
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
/// So many claims are under way at a time: the store has few connections, and a
/// claim that waits too long for one is in doubt.
const MAX_CLAIMS: usize = 64;
/// The share of all slots that one endpoint may hold: one in so many.
const SHARE: usize = 8;
/// The share of all slots that retries may hold: one in so many.
const RETRY_SHARE: usize = 2;
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
}

/// What the endpoint of a delivery allows at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Enabled,
    /// Paused or disabled: only tests may go.
    Held,
    Gone,
}

/// All lanes of this process.
pub(crate) struct Lanes {
    lanes: HashMap<EndpointId, Lane>,
    turns: Turns,
    /// When lanes have work again that is not due yet.
    timers: BTreeSet<(Timestamp, EndpointId)>,
    timer_changed: bool,
    /// Lanes that may want something from the store.
    hungry: HashSet<EndpointId>,
    /// Lanes that wanted something while memory was full.
    starving: HashSet<EndpointId>,
    wanted: BTreeSet<EndpointId>,
    /// Lanes that another process has, and until when that is believed.
    elsewhere: HashMap<EndpointId, Timestamp>,
    /// Lanes whose next delivery is a retry, while retries have no slot left.
    crowded: Vec<EndpointId>,
    slots: usize,
    under_way: usize,
    retries_under_way: usize,
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
            timer_changed: false,
            hungry: HashSet::new(),
            starving: HashSet::new(),
            wanted: BTreeSet::new(),
            elsewhere: HashMap::new(),
            crowded: Vec::new(),
            slots,
            under_way: 0,
            retries_under_way: 0,
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
        standing: impl Fn(EndpointId) -> Standing,
    ) -> Option<ReadyDelivery> {
        while !self.stopping
            && self.under_way < self.slots
            && self.unrecorded < self.slots * UNRECORDED_PER_SLOT
        {
            let (tenant, endpoint) = self.turns.next()?;
            let Some(lane) = self.lanes.get_mut(&endpoint) else { continue };
            lane.queued = false;
            let mut is_retry = lane.ready.front().is_some_and(|ready| ready.attempts > 0);
            if is_retry && self.retries_under_way >= (self.slots / RETRY_SHARE).max(1) {
                // What is new goes first then, if there is something.
                if !lane.put_new_first() {
                    if !std::mem::replace(&mut lane.crowded, true) {
                        self.crowded.push(endpoint);
                    }
                    continue;
                }
                is_retry = false;
            }
            let Some(delivery) = lane.next(now, standing(endpoint)) else { continue };
            self.under_way += 1;
            self.retries_under_way += usize::from(is_retry);
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

    /// A call has ended, and its slot is free. It is not in the log yet.
    pub(crate) fn ended(
        &mut self,
        delivery: &ReadyDelivery,
        how: ErrorClass,
        hold_until: Option<Timestamp>,
        now: Timestamp,
    ) {
        self.free_slot(delivery);
        self.unrecorded += 1;
        let endpoint = delivery.endpoint;
        if let Some(lane) = self.lane_of(endpoint, delivery.epoch) {
            lane.ended(how, hold_until, now);
            if lane.behind {
                self.hungry.insert(endpoint);
            }
            self.queue(endpoint);
            if hold_until.is_some() {
                self.set_hold_timer(endpoint, now);
            }
        }
    }

    /// A delivery was given out and not sent: its endpoint has just gone.
    pub(crate) fn abandoned(&mut self, delivery: &ReadyDelivery) {
        self.free_slot(delivery);
        if let Some(lane) = self.lane_of(delivery.endpoint, delivery.epoch) {
            lane.abandoned();
        }
    }

    fn free_slot(&mut self, delivery: &ReadyDelivery) {
        self.under_way -= 1;
        if delivery.attempts > 0 {
            self.retries_under_way -= 1;
            for endpoint in std::mem::take(&mut self.crowded) {
                if let Some(lane) = self.lanes.get_mut(&endpoint) {
                    lane.crowded = false;
                }
                self.queue(endpoint);
            }
        }
    }

    /// The call is in the log; the delivery is due again then, if it is.
    /// Tells whether that lets others go which waited for the log.
    pub(crate) fn recorded(&mut self, endpoint: EndpointId, epoch: Epoch, due: Option<Timestamp>) -> bool {
        let throttled = self.unrecorded >= self.slots * UNRECORDED_PER_SLOT;
        self.unrecorded -= 1;
        if let Some(lane) = self.lane_of(endpoint, epoch) {
            lane.unrecorded -= 1;
            if let Some(due) = due {
                self.set_timer(endpoint, due);
            }
        }
        throttled
    }

    /// A lane, if it is still owned as it was then. What was begun in an
    /// earlier epoch is of no concern to the lane as it is now.
    pub(crate) fn lane_of(&mut self, endpoint: EndpointId, epoch: Epoch) -> Option<&mut Lane> {
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
        self.timers.first().map(|(due, _)| *due)
    }

    fn remove(&mut self, endpoint: EndpointId) -> Option<(EndpointId, Epoch)> {
        let lane = self.lanes.remove(&endpoint)?;
        if let Some(timer) = lane.timer {
            self.timers.remove(&(timer, endpoint));
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

    fn set_hold_timer(&mut self, endpoint: EndpointId, now: Timestamp) {
        let hold = self.lanes.get(&endpoint).and_then(|lane| lane.health.hold_until);
        if let Some(end) = hold.filter(|end| *end > now) {
            self.set_timer(endpoint, end);
        }
    }
}

#[cfg(test)]
mod tests;
