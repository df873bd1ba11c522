//! What follows from a commit.

use std::sync::Arc;

use model::attempt::Trigger;
use model::event::{Event, EventData};
use model::ids::EndpointId;

use super::decide::NewDelivery;
use super::fan_out::FanOut;
use super::place::Place;
use crate::hand_off::{Fate, HandOff, ReadyDelivery};

/// Endpoints that got work through the store.
#[derive(Debug, Default)]
pub(crate) struct ToWake {
    pub(crate) endpoints: Vec<EndpointId>,
    /// Those that got a test, which passes holds.
    pub(crate) for_test: Vec<EndpointId>,
}

impl ToWake {
    pub(crate) fn of<'a>(deliveries: impl Iterator<Item = &'a NewDelivery>) -> Self {
        let mut wake = Self::default();
        // What waits for a paused endpoint waits until it is enabled.
        for new in deliveries.filter(|new| new.claimed().is_none()) {
            match new.trigger {
                Trigger::Test => wake.for_test.push(new.endpoint),
                _ if new.called => wake.endpoints.push(new.endpoint),
                _ => {}
            }
        }
        for endpoints in [&mut wake.endpoints, &mut wake.for_test] {
            endpoints.sort_unstable();
            endpoints.dedup();
        }
        wake
    }

    fn extend(&mut self, other: Self) {
        self.endpoints.extend(other.endpoints);
        self.for_test.extend(other.for_test);
    }
}

/// What is to be told, and to be gone on with, when events are committed. `K` is
/// what rows know an event by. Dropped instead, it gives up the places in lanes
/// that it has.
pub(crate) struct Effects<K> {
    /// Deliveries with a place in a lane of this process.
    direct: Vec<(Place, ReadyDelivery)>,
    /// Endpoints with new work in the store.
    wake: ToWake,
    /// Events of which a part is written.
    pub(crate) fan_outs: Vec<FanOut<K>>,
}

impl<K> Default for Effects<K> {
    fn default() -> Self {
        Self { direct: Vec::new(), wake: ToWake::default(), fan_outs: Vec::new() }
    }
}

impl<K> Effects<K> {
    /// What is to be told of deliveries that go through the store.
    pub(crate) fn add_woken(&mut self, wake: ToWake) {
        self.wake.extend(wake);
    }

    /// What is to be told of a delivery that has a place in a lane.
    pub(crate) fn add(&mut self, new: NewDelivery, event: &Arc<Event>, data: &EventData) {
        self.direct.extend(new.handed_over(event, data));
    }

    /// From now on, what was written may be there even if nobody says so.
    pub(crate) fn set_fate(&mut self, fate: Fate) {
        self.direct.iter_mut().for_each(|(place, _)| place.set_fate(fate));
    }

    /// It is committed.
    pub(crate) fn tell(self, hand_off: &dyn HandOff) {
        if !self.direct.is_empty() {
            let hand = |(place, ready): (Place, ReadyDelivery)| {
                place.take();
                ready
            };
            hand_off.hand_over(self.direct.into_iter().map(hand).collect());
        }
        if !self.wake.endpoints.is_empty() {
            hand_off.wake(&self.wake.endpoints);
        }
        for endpoint in self.wake.for_test {
            hand_off.wake_for_test(endpoint);
        }
    }
}
