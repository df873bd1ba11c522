//! Whose lanes are whose: taking, giving back, losing.

use std::time::Duration;

use delivery_log::lanes::{Epoch, Reviewed, TakenLane};
use model::clock::Timestamp;
use model::ids::{EndpointId, TenantId};

use super::{LEFT_ALONE, Lane, Lanes, SHARE, Standing, Terms};

impl Lanes {
    /// A lane is owned from now on. What it has is found in the store.
    pub(crate) fn own(&mut self, taken: TakenLane, tenant: TenantId, now: Timestamp) {
        let endpoint = taken.endpoint;
        let mut lane = Lane::new(taken, tenant, (self.slots / SHARE).max(1), now);
        lane.test_waits = true;
        self.lanes.insert(endpoint, lane);
        self.hungry.insert(endpoint);
        self.set_hold_timer(endpoint, now);
    }

    /// Whether an endpoint's lane is owned here.
    pub(crate) fn owns(&self, endpoint: EndpointId) -> bool {
        self.lanes.contains_key(&endpoint)
    }

    /// How many lanes are owned.
    pub(crate) fn owned(&self) -> usize {
        self.lanes.len()
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

    /// A lane could not be taken: another process has it. For a while, news of
    /// its work are left to that one.
    pub(crate) fn refused(&mut self, endpoint: EndpointId, now: Timestamp) {
        self.elsewhere.insert(endpoint, now.plus(LEFT_ALONE));
    }

    /// Forgets who had what a while ago.
    pub(crate) fn forget_refusals(&mut self, now: Timestamp) {
        self.elsewhere.retain(|_, until| *until > now);
    }

    /// Compares with what the store says that this process owns: lanes with
    /// work are told of it, and those that are not known here are given.
    /// Lanes beyond this process's fair part are left to others.
    pub(crate) fn review(&mut self, reviewed: &Reviewed) -> Vec<(EndpointId, Epoch)> {
        self.leave_some(reviewed.too_many());
        let mut unknown = Vec::new();
        for lane in &reviewed.lanes {
            match self.lane_of(lane.endpoint, lane.epoch) {
                Some(_) if lane.has_work => self.wake(lane.endpoint),
                Some(_) => {}
                None => unknown.push((lane.endpoint, lane.epoch)),
            }
        }
        unknown
    }

    /// Starts nothing more in so many lanes, so that they can be given back: a
    /// process that came later has its part of the work then. Those with the
    /// fewest calls under way are quiet soonest.
    fn leave_some(&mut self, count: usize) {
        let leaving = self.lanes.values().filter(|lane| lane.leaving).count();
        let mut staying: Vec<(usize, EndpointId)> = self
            .lanes
            .iter()
            .filter(|(_, lane)| !lane.leaving)
            .map(|(endpoint, lane)| (lane.under_way(), *endpoint))
            .collect();
        staying.sort_unstable();
        for (_, endpoint) in staying.into_iter().take(count.saturating_sub(leaving)) {
            if let Some(lane) = self.lanes.get_mut(&endpoint) {
                lane.leaving = true;
            }
        }
    }

    /// All lanes were taken from this process. What is under way there goes on
    /// to its end, and is late.
    pub(crate) fn lose_all(&mut self) {
        let endpoints: Vec<EndpointId> = self.lanes.keys().copied().collect();
        for endpoint in endpoints {
            self.remove(endpoint);
        }
    }

    /// Removes lanes that have had nothing to do for `idle_after`, or whose
    /// endpoint is not called any more, and gives them to be released.
    pub(crate) fn take_idle(
        &mut self,
        now: Timestamp,
        idle_after: Duration,
        terms: impl Fn(EndpointId) -> Terms,
    ) -> Vec<(EndpointId, Epoch)> {
        let idle = |(endpoint, lane): (&EndpointId, &Lane)| {
            let resting = lane.is_resting(now, idle_after);
            let blocked =
                lane.is_quiet() && !lane.has_test() && terms(*endpoint).standing != Standing::Enabled;
            let gone = lane.is_quiet() && terms(*endpoint).standing == Standing::Gone;
            let doubtful = lane.is_quiet() && lane.doubtful;
            let left = lane.is_quiet() && lane.leaving;
            (resting || blocked || gone || doubtful || left).then_some(*endpoint)
        };
        let endpoints: Vec<EndpointId> = self.lanes.iter().filter_map(idle).collect();
        for endpoint in &endpoints {
            // Whoever has too few shall be first.
            if self.lanes.get(endpoint).is_some_and(|lane| lane.leaving) {
                self.refused(*endpoint, now);
            }
        }
        endpoints.into_iter().filter_map(|endpoint| self.remove(endpoint)).collect()
    }

    /// Removes all lanes in which everything that was begun is in the log, to
    /// be released. The others stay claimed: what was under way there is
    /// logged as interrupted by whoever takes them over.
    pub(crate) fn take_all(&mut self) -> Vec<(EndpointId, Epoch)> {
        let quiet = self.lanes.iter().filter(|(_, lane)| lane.is_quiet());
        let endpoints: Vec<EndpointId> = quiet.map(|(endpoint, _)| *endpoint).collect();
        endpoints.into_iter().filter_map(|endpoint| self.remove(endpoint)).collect()
    }
}
