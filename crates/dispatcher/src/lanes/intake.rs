//! What comes in: from the writer, and from whoever changes deliveries.

use delivery_log::hand_off::{Fate, ReadyDelivery, Reservation};
use delivery_log::lanes::Epoch;
use model::ids::{DeliveryId, EndpointId};

use super::{Lanes, MAX_READY, MAX_READY_BYTES, SHARE_OF_FREE};

impl Lanes {
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
    pub(super) fn free(&self) -> (usize, usize) {
        let count = MAX_READY.saturating_sub(self.ready + self.promised);
        (count, MAX_READY_BYTES.saturating_sub(self.ready_bytes + self.promised_bytes))
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

    pub(crate) fn wake_for_test(&mut self, endpoint: EndpointId) {
        self.wake(endpoint);
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            lane.test_waits = true;
        }
    }

    /// A hold has ended before its time.
    pub(crate) fn lift_hold(&mut self, endpoint: EndpointId) {
        if let Some(lane) = self.lanes.get_mut(&endpoint) {
            lane.forget_health();
        }
        self.wake(endpoint);
    }

    pub(crate) fn withdraw(&mut self, endpoint: EndpointId, delivery: DeliveryId) {
        let Some(lane) = self.lanes.get_mut(&endpoint) else { return };
        // What was behind it in its order may go now.
        lane.has_more_in_store();
        self.hungry.insert(endpoint);
        if let Some(place) = lane.ready.iter().position(|ready| ready.id == delivery)
            && let Some(withdrawn) = lane.ready.remove(place)
        {
            lane.let_go(&withdrawn);
            self.drop_ready(&withdrawn);
        }
    }
}
