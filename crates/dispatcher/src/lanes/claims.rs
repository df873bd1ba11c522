//! What is wanted from the store.

use delivery_log::lanes::{ClaimedDeliveries, Cursor};
use model::clock::Timestamp;
use model::ids::EndpointId;

use super::{ClaimWish, LOW, Lane, Lanes, MAX_CLAIMS, SHARE_OF_FREE, Standing, Terms};

impl Lanes {
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

    /// The deliveries that lanes want claimed. `terms` tells what their
    /// endpoints allow.
    pub(crate) fn claims(&mut self, now: Timestamp, terms: impl Fn(EndpointId) -> Terms) -> Vec<ClaimWish> {
        while let Some((at, endpoint)) = self.paces.first().copied()
            && at <= now
        {
            self.paces.pop_first();
            if let Some(lane) = self.lanes.get_mut(&endpoint) {
                lane.pace_timer = None;
                self.queue(endpoint);
            }
        }
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
            let (free_count, free_bytes) = self.free();
            let Some(lane) = self.lanes.get_mut(&endpoint) else { continue };
            let held = lane.is_held(now) || terms(endpoint).standing != Standing::Enabled;
            let wants = if held { lane.test_waits } else { lane.behind && lane.ready.len() < LOW };
            if lane.claiming || lane.doubtful || lane.leaving || !wants {
                continue;
            }
            let (count, size) = (free_count / SHARE_OF_FREE, free_bytes / SHARE_OF_FREE);
            // A lane with nothing at all may always have one.
            let least = usize::from(lane.is_empty_handed());
            let limit = lane.appetite().min(count.saturating_sub(lane.in_hand)).max(least);
            if limit == 0 || (lane.in_hand_bytes >= size && least == 0) {
                self.starving.insert(endpoint);
                continue;
            }
            lane.begin_claim(held);
            self.claims += 1;
            let max_bytes = size.saturating_sub(lane.in_hand_bytes);
            self.promised += limit;
            self.promised_bytes += max_bytes;
            wishes.push(ClaimWish {
                endpoint,
                epoch: lane.epoch,
                limit: limit as u32,
                max_bytes,
                tests_only: held,
                after: if held { Cursor::START } else { lane.cursor },
            });
        }
        wishes
    }

    /// What came of a claim.
    pub(crate) fn claimed(&mut self, wish: &ClaimWish, claimed: ClaimedDeliveries, now: Timestamp) {
        self.end_claim(wish);
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
        self.end_claim(wish);
        if let Some(lane) = self.lane_of(wish.endpoint, wish.epoch) {
            lane.claiming = false;
            lane.doubtful = true;
        }
    }

    fn end_claim(&mut self, wish: &ClaimWish) {
        self.claims -= 1;
        self.promised -= wish.limit as usize;
        self.promised_bytes -= wish.max_bytes;
    }
}
