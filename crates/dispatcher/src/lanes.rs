//! Which delivery may go now.
//!
//! A lane is what this process knows of one endpoint whose deliveries it
//! sends: what is in hand, what is under way, what the store still has, and
//! what holds it. [`Lanes`] keeps all of them and gives out work in turns:
//! tenants first, then the endpoints of a tenant, so that neither a busy
//! tenant nor a busy endpoint delays the others. It decides and does
//! nothing: no I/O, no clock, no async.

mod lane;
mod turns;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use delivery_log::hand_off::{Fate, ReadyDelivery, Reservation};
use delivery_log::lanes::{ClaimedDeliveries, Epoch, ReviewedLane, TakenLane};
use model::attempt::ErrorClass;
use model::clock::Timestamp;
use model::ids::{DeliveryId, EndpointId, TenantId};

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
const CLAIM: usize = 128;
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
            claims: 0,
            stopping: false,
        }
    }

    /// How many lanes are owned.
    pub(crate) fn owned(&self) -> usize {
        self.lanes.len()
    }

    /// How many calls are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// How many deliveries are in hand and not under way.
    pub(crate) fn ready(&self) -> usize {
        self.ready
    }

    // What the writer says, through `HandOff`.

    pub(crate) fn reserve(&mut self, endpoint: EndpointId, bytes: usize) -> Option<Epoch> {
        if self.stopping {
            return None;
        }
        let (count, size) = self.free();
        let lane = self.lanes.get_mut(&endpoint)?;
        let fits = lane.in_hand < count / SHARE_OF_FREE && lane.in_hand_bytes + bytes <= size / SHARE_OF_FREE;
        let epoch = if fits { lane.reserve(bytes)? } else { return None };
        self.ready += 1;
        self.ready_bytes += bytes;
        Some(epoch)
    }

    /// Deliveries and bytes for which there is room.
    fn free(&self) -> (usize, usize) {
        let count = MAX_READY.saturating_sub(self.ready + self.promised);
        (count, MAX_READY_BYTES.saturating_sub(self.ready_bytes))
    }

    pub(crate) fn give_up(&mut self, place: &Reservation, fate: Fate) {
        self.ready -= 1;
        self.ready_bytes -= place.bytes;
        if let Some(lane) = self.lane_of(place.endpoint, place.epoch) {
            lane.give_up(place.bytes, fate);
        }
    }

    pub(crate) fn hand_over(&mut self, delivery: ReadyDelivery) {
        let endpoint = delivery.endpoint;
        let Some(lane) = self.lane_of(endpoint, delivery.epoch) else {
            // Lost between reservation and commit: the next owner finds it in the store.
            self.ready -= 1;
            self.ready_bytes -= delivery.data.as_bytes().len();
            return;
        };
        lane.accept(delivery);
        self.queue(endpoint);
    }

    /// The store has due work for the endpoint.
    pub(crate) fn wake(&mut self, endpoint: EndpointId) {
        match self.lanes.get_mut(&endpoint) {
            Some(lane) => {
                lane.has_more_in_store();
                self.hungry.insert(endpoint);
                // It may just have been enabled.
                self.queue(endpoint);
            }
            // Another process had it a moment ago: it was told as well.
            None if self.elsewhere.contains_key(&endpoint) => {}
            None => drop(self.wanted.insert(endpoint)),
        }
    }

    /// A lane could not be taken: another process has it. For a while, news of
    /// its work are left to that one.
    pub(crate) fn refused(&mut self, endpoint: EndpointId, now: Timestamp) {
        self.elsewhere.insert(endpoint, now.plus(LEFT_ALONE));
    }

    /// Forgets who had what a while ago.
    pub(crate) fn forget_refusals(&mut self, now: Timestamp) {
        self.elsewhere.retain(|_, until| *until > now);
    }

    pub(crate) fn wake_for_test(&mut self, endpoint: EndpointId) {
        self.wake(endpoint);
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            lane.test_waits = true;
        }
    }

    /// A hold has ended before its time.
    pub(crate) fn lift_hold(&mut self, endpoint: EndpointId) {
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            lane.health = Default::default();
        }
        self.wake(endpoint);
    }

    pub(crate) fn withdraw(&mut self, endpoint: EndpointId, delivery: DeliveryId) {
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return };
        if let Some(place) = lane.ready.iter().position(|ready| ready.id == delivery)
            && let Some(withdrawn) = lane.ready.remove(place)
        {
            lane.let_go(&withdrawn);
            if lane.behind {
                self.hungry.insert(endpoint);
            }
            self.drop_ready(&withdrawn);
        }
    }

    // What is wanted from the store.

    /// Looks at every lane again: an endpoint may have been enabled since its
    /// lane was told of work.
    pub(crate) fn reconsider(&mut self) {
        let wants = |lane: &Lane| lane.behind || lane.test_waits || !lane.ready.is_empty();
        let with_work = self.lanes.iter().filter(|(_, lane)| wants(lane));
        let endpoints: Vec<EndpointId> = with_work.map(|(endpoint, _)| *endpoint).collect();
        for endpoint in endpoints {
            self.hungry.insert(endpoint);
            self.queue(endpoint);
        }
    }

    /// Compares with what the store says that this process owns: lanes with
    /// work are told of it, and those that are not known here are given.
    pub(crate) fn review(&mut self, reviewed: &[ReviewedLane]) -> Vec<(EndpointId, Epoch)> {
        let mut unknown = Vec::new();
        for lane in reviewed {
            match self.lane_of(lane.endpoint, lane.epoch) {
                Some(_) if lane.has_work => self.wake(lane.endpoint),
                Some(_) => {}
                None => unknown.push((lane.endpoint, lane.epoch)),
            }
        }
        unknown
    }

    /// Lanes to be taken, if there are any.
    pub(crate) fn take_wanted(&mut self, limit: usize) -> Vec<EndpointId> {
        if self.stopping {
            return Vec::new();
        }
        let mut taken = Vec::new();
        while taken.len() < limit
            && let Some(endpoint) = self.wanted.pop_first()
        {
            taken.push(endpoint);
        }
        taken
    }

    /// A lane is owned from now on. What it has is found in the store.
    pub(crate) fn own(&mut self, taken: TakenLane, tenant: TenantId, now: Timestamp) {
        let endpoint = taken.endpoint;
        let mut lane = Lane::new(taken, tenant, (self.slots / SHARE).max(1), now);
        lane.test_waits = true;
        self.lanes.insert(endpoint, lane);
        self.hungry.insert(endpoint);
        self.set_hold_timer(endpoint, now);
    }

    /// The deliveries that lanes want claimed. `standing` tells how their
    /// endpoints stand.
    pub(crate) fn claims(
        &mut self,
        now: Timestamp,
        standing: impl Fn(EndpointId) -> Standing,
    ) -> Vec<ClaimWish> {
        while let Some((due, endpoint)) = self.timers.first().copied()
            && due <= now
        {
            self.timers.pop_first();
            if let Some(lane) = self.lanes.get_mut(&endpoint) {
                lane.timer = None;
                lane.has_more_in_store();
                self.hungry.insert(endpoint);
                self.queue(endpoint);
                // The timer may have stood for a retry before the end of a hold.
                self.set_hold_timer(endpoint, now);
            }
        }
        if self.stopping {
            return Vec::new();
        }
        let mut wishes = Vec::new();
        for endpoint in std::mem::take(&mut self.hungry) {
            if self.claims >= MAX_CLAIMS {
                self.hungry.insert(endpoint);
                continue;
            }
            let Some(lane) = self.lanes.get_mut(&endpoint) else { continue };
            let held = lane.is_held(now) || standing(endpoint) != Standing::Enabled;
            let wants = if held { lane.test_waits } else { lane.behind && lane.ready.len() < LOW };
            if lane.claiming || lane.doubtful || !wants {
                continue;
            }
            let count = MAX_READY.saturating_sub(self.ready + self.promised) / SHARE_OF_FREE;
            let size = MAX_READY_BYTES.saturating_sub(self.ready_bytes) / SHARE_OF_FREE;
            // A lane with nothing at all may always have one.
            let least = usize::from(lane.is_empty_handed());
            let limit = CLAIM.min(count.saturating_sub(lane.in_hand)).max(least);
            if limit == 0 || (lane.in_hand_bytes >= size && least == 0) {
                self.starving.insert(endpoint);
                continue;
            }
            lane.begin_claim();
            self.claims += 1;
            self.promised += limit;
            wishes.push(ClaimWish {
                endpoint,
                epoch: lane.epoch,
                limit: limit as u32,
                max_bytes: size.saturating_sub(lane.in_hand_bytes),
                tests_only: held,
            });
        }
        wishes
    }

    /// What came of a claim.
    pub(crate) fn claimed(&mut self, wish: &ClaimWish, claimed: ClaimedDeliveries, now: Timestamp) {
        self.claims -= 1;
        self.promised -= wish.limit as usize;
        for delivery in &claimed.ready {
            self.ready += 1;
            self.ready_bytes += delivery.data.as_bytes().len();
        }
        let Some(lane) = self.lane_of(wish.endpoint, wish.epoch) else {
            claimed.ready.iter().for_each(|delivery| self.drop_ready(delivery));
            return;
        };
        let next_due = lane.end_claim(claimed, wish.tests_only, wish.limit as usize, now);
        if lane.behind || lane.test_waits {
            self.hungry.insert(wish.endpoint);
        }
        if let Some(due) = next_due {
            self.set_timer(wish.endpoint, due);
        }
        self.queue(wish.endpoint);
    }

    /// A claim failed. It may have been committed all the same: given back
    /// and taken again, the lane has nothing claimed that is not in hand.
    pub(crate) fn claim_failed(&mut self, wish: &ClaimWish) {
        self.claims -= 1;
        self.promised -= wish.limit as usize;
        if let Some(lane) = self.lane_of(wish.endpoint, wish.epoch) {
            lane.claiming = false;
            lane.doubtful = true;
        }
    }

    // What goes out.

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

    /// Whether an endpoint's lane is owned here.
    pub(crate) fn owns(&self, endpoint: EndpointId) -> bool {
        self.lanes.contains_key(&endpoint)
    }

    /// All lanes were taken from this process. What is under way there goes on
    /// to its end, and is late.
    pub(crate) fn lose_all(&mut self) {
        let endpoints: Vec<EndpointId> = self.lanes.keys().copied().collect();
        for endpoint in endpoints {
            self.remove(endpoint);
        }
    }

    // What is given back.

    /// Removes lanes that have had nothing to do for `idle_after`, or whose
    /// endpoint is not called any more, and gives them to be released.
    pub(crate) fn take_idle(
        &mut self,
        now: Timestamp,
        idle_after: Duration,
        standing: impl Fn(EndpointId) -> Standing,
    ) -> Vec<(EndpointId, Epoch)> {
        let idle = |(endpoint, lane): (&EndpointId, &Lane)| {
            let resting = lane.is_resting(now, idle_after);
            let blocked = lane.is_quiet() && !lane.has_test() && standing(*endpoint) != Standing::Enabled;
            let doubtful = lane.is_quiet() && lane.doubtful;
            (resting || blocked || doubtful).then_some(*endpoint)
        };
        let endpoints: Vec<EndpointId> = self.lanes.iter().filter_map(idle).collect();
        endpoints.into_iter().filter_map(|endpoint| self.remove(endpoint)).collect()
    }

    /// Starts nothing more.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Removes all lanes in which everything that was begun is in the log, to
    /// be released. The others stay claimed: what was under way there is
    /// logged as interrupted by whoever takes them over.
    pub(crate) fn take_all(&mut self) -> Vec<(EndpointId, Epoch)> {
        let quiet = self.lanes.iter().filter(|(_, lane)| lane.is_quiet());
        let endpoints: Vec<EndpointId> = quiet.map(|(endpoint, _)| *endpoint).collect();
        endpoints.into_iter().filter_map(|endpoint| self.remove(endpoint)).collect()
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
