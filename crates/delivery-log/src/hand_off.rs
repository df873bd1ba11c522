//! From the commit straight into the lane.
//!
//! Where the process that accepts an event also owns the lane of the
//! endpoint it goes to, nobody needs to look the delivery up in the store:
//! the writer reserves a place in the lane before it commits, marks the
//! delivery as claimed, and hands it over after the commit. Everything else
//! is found in the store by the lane's owner.

use std::sync::Arc;

use model::attempt::{ErrorClass, Trigger};
use model::event::{Event, EventData};
use model::failure::Spent;
use model::ids::{DeliveryId, EndpointId};
use model::payload::PayloadForm;

use crate::lanes::Epoch;

/// A delivery in the hands of its lane's owner, with all that a call needs.
#[derive(Debug, Clone)]
pub struct ReadyDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Where to.
    pub endpoint: EndpointId,
    /// The epoch in which it was claimed.
    pub epoch: Epoch,
    /// The event, shared by all its deliveries.
    pub event: Arc<Event>,
    /// The publisher's bytes.
    pub data: EventData,
    /// The form of the body.
    pub form: PayloadForm,
    /// How many attempts were made so far.
    pub attempts: u32,
    /// What its schedule has used up.
    pub spent: Spent,
    /// What the next attempt is made for.
    pub trigger: Trigger,
    /// How the last attempt ended, if there was one.
    pub last_error: Option<ErrorClass>,
    /// Whether others of the same ordering key wait until it has ended.
    pub ordered: bool,
}

/// A place in a lane that was promised to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// Whose lane.
    pub endpoint: EndpointId,
    /// The epoch of the lane.
    pub epoch: Epoch,
    /// How many bytes of data were promised room.
    pub bytes: usize,
}

/// What is known of a write that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing of it is in the store.
    NotWritten,
    /// It may be there all the same.
    Unknown,
}

/// What the writer tells the owner of lanes in the same process.
///
/// All methods are called while the writer works: they must not wait.
pub trait HandOff: Send + Sync {
    /// Whether the endpoint's lane is owned here.
    fn owns(&self, endpoint: EndpointId) -> bool;

    /// A place for a delivery with so many bytes of data, if the lane is
    /// owned here, nothing older waits in the store, and there is room.
    fn reserve(&self, endpoint: EndpointId, bytes: usize) -> Option<Epoch>;

    /// The reserved deliveries are committed: here they are.
    fn hand_over(&self, ready: Vec<ReadyDelivery>);

    /// These reservations came to nothing.
    fn give_up(&self, reserved: &[Reservation], fate: Fate);

    /// There is work in the store for these endpoints that is due.
    fn wake(&self, endpoints: &[EndpointId]);

    /// There is a test call in the store for this endpoint, which passes holds.
    fn wake_for_test(&self, endpoint: EndpointId);

    /// The endpoint has a new URL: what it answered before counts no more.
    fn lift_hold(&self, endpoint: EndpointId);

    /// A delivery was canceled: it should not be sent any more.
    fn withdraw(&self, endpoint: EndpointId, delivery: DeliveryId);
}

/// For a process that sends nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLanes;

impl HandOff for NoLanes {
    fn owns(&self, _: EndpointId) -> bool {
        false
    }

    fn reserve(&self, _: EndpointId, _: usize) -> Option<Epoch> {
        None
    }

    fn hand_over(&self, _: Vec<ReadyDelivery>) {}

    fn give_up(&self, _: &[Reservation], _: Fate) {}

    fn wake(&self, _: &[EndpointId]) {}

    fn wake_for_test(&self, _: EndpointId) {}

    fn lift_hold(&self, _: EndpointId) {}

    fn withdraw(&self, _: EndpointId, _: DeliveryId) {}
}
