//! The writer's side of the lanes: what is committed comes straight here.

use std::sync::Arc;

use delivery_log::hand_off::{Fate, HandOff, ReadyDelivery, Reservation};
use delivery_log::lanes::Epoch;
use model::ids::{DeliveryId, EndpointId};

use crate::context::Context;

/// Takes in what the store hands over.
pub(crate) struct Intake(pub(crate) Arc<Context>);

impl HandOff for Intake {
    fn owns(&self, endpoint: EndpointId) -> bool {
        self.0.lease.is_valid() && self.0.lanes().owns(endpoint)
    }

    fn reserve(&self, endpoint: EndpointId, bytes: usize) -> Option<Epoch> {
        if !self.0.lease.is_valid() {
            return None;
        }
        self.0.lanes().reserve(endpoint, bytes)
    }

    fn hand_over(&self, ready: Vec<ReadyDelivery>) {
        self.0.with_lanes(|lanes| ready.into_iter().for_each(|delivery| lanes.hand_over(delivery)));
    }

    fn give_up(&self, reserved: &[Reservation], fate: Fate) {
        let mut lanes = self.0.lanes();
        reserved.iter().for_each(|place| lanes.give_up(place, fate));
    }

    fn wake(&self, endpoints: &[EndpointId]) {
        self.0.with_lanes(|lanes| endpoints.iter().for_each(|endpoint| lanes.wake(*endpoint)));
    }

    fn wake_for_test(&self, endpoint: EndpointId) {
        self.0.with_lanes(|lanes| lanes.wake_for_test(endpoint));
    }

    fn lift_hold(&self, endpoint: EndpointId) {
        self.0.with_lanes(|lanes| lanes.lift_hold(endpoint));
    }

    fn withdraw(&self, endpoint: EndpointId, delivery: DeliveryId) {
        self.0.with_lanes(|lanes| lanes.withdraw(endpoint, delivery));
    }
}
