//! A place in a lane that nobody can forget to give up.

use std::sync::Arc;

use model::ids::EndpointId;

use crate::hand_off::{Fate, HandOff, Reservation};
use crate::lanes::Epoch;

/// A place in a lane of this process, promised to a delivery that is about to be
/// written. It is given up when it is dropped before it was taken.
pub(crate) struct Place {
    hand_off: Arc<dyn HandOff>,
    reservation: Reservation,
    /// What is known of the delivery if the place is given up.
    fate: Fate,
    taken: bool,
}

impl Place {
    /// A place for so many bytes of data, if there is one.
    pub(super) fn reserve(hand_off: Arc<dyn HandOff>, endpoint: EndpointId, bytes: usize) -> Option<Self> {
        let epoch = hand_off.reserve(endpoint, bytes)?;
        let reservation = Reservation { endpoint, epoch, bytes };
        Some(Self { hand_off, reservation, fate: Fate::NotWritten, taken: false })
    }

    /// The epoch of the lane.
    pub(super) fn epoch(&self) -> Epoch {
        self.reservation.epoch
    }

    /// What is known of the delivery from now on.
    pub(super) fn set_fate(&mut self, fate: Fate) {
        self.fate = fate;
    }

    /// The delivery comes.
    pub(super) fn take(mut self) {
        self.taken = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.taken {
            self.hand_off.give_up(&[self.reservation], self.fate);
        }
    }
}
