//! Lanes: who may send to an endpoint now.
//!
//! A process owns an endpoint's lane; only the owner sends. Each change of
//! owner begins a new epoch, and what was begun in an earlier one can no
//! longer change a delivery's state.

use std::time::Duration;

use async_trait::async_trait;

use model::clock::Timestamp;
use model::ids::{EndpointId, EventId, ProcessId};

use crate::Result;
use crate::hand_off::ReadyDelivery;

/// Counts the owners of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

/// What a lane's owner knows of its endpoint, stored for the next owner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaneHealth {
    /// Nothing goes to the endpoint before this.
    pub hold_until: Option<Timestamp>,
    /// Events that the endpoint last answered with 410, and when.
    pub gone: Vec<(EventId, Timestamp)>,
}

/// A lane that is owned now.
#[derive(Debug, Clone)]
pub struct TakenLane {
    /// Whose lane.
    pub endpoint: EndpointId,
    /// The epoch that begins.
    pub epoch: Epoch,
    /// What the owner before knew.
    pub health: LaneHealth,
}

/// Deliveries that were due, now in this process's hands.
#[derive(Debug, Clone)]
pub struct ClaimedDeliveries {
    /// The deliveries, oldest first.
    pub ready: Vec<ReadyDelivery>,
    /// When the first of what is left is due; `None` if nothing is left.
    pub next_due: Option<Timestamp>,
}

/// A process without a heartbeat for so long is given up: its lanes are taken
/// over. It sends nothing any more by then, by its own clock.
pub const LEASE: Duration = Duration::from_secs(6);

/// How a process stands, by its heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Its lanes are its own.
    Alive {
        /// The store's clock. Where that is another's than this host's, the two
        /// should differ by little: what is due is judged by this host's.
        store_clock: Timestamp,
    },
    /// It was given up, and owns nothing any more. It may join again under
    /// another id.
    GivenUp,
}

/// A lane as the store has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReviewedLane {
    /// Whose lane.
    pub endpoint: EndpointId,
    /// The epoch of its owner.
    pub epoch: Epoch,
    /// Something is due that is in nobody's hands.
    pub has_work: bool,
}

/// What the store says of this process and the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reviewed {
    /// The lanes of this process.
    pub lanes: Vec<ReviewedLane>,
    /// Lanes that any process owns.
    pub owned_by_all: usize,
    /// Processes that take lanes, this one included.
    pub processes: usize,
}

impl Reviewed {
    /// How many lanes more than its part this process owns, if that is worth
    /// the trouble of moving them.
    pub fn too_many(&self) -> usize {
        let fair = self.owned_by_all.div_ceil(self.processes.max(1));
        let too_many = self.lanes.len().saturating_sub(fair);
        if too_many > fair / 8 { too_many } else { 0 }
    }
}

/// Lanes.
#[async_trait]
pub trait Lanes: Send + Sync {
    /// A process that takes lanes appears.
    async fn join(&self, process: ProcessId) -> Result<()>;

    /// It is still there.
    async fn beat(&self, process: ProcessId) -> Result<Beat>;

    /// It goes. Lanes that it did not give back are taken over.
    async fn leave(&self, process: ProcessId) -> Result<()>;

    /// Frees the lanes of processes that are no more, and gives how many
    /// deliveries were in their hands.
    async fn take_over_dead(&self) -> Result<u64>;

    /// The lanes that the store says this process owns, where they may differ
    /// from what the process knows: an answer can be lost, and news as well.
    async fn review_lanes(&self, process: ProcessId, now: Timestamp) -> Result<Reviewed>;

    /// Endpoints whose lanes nobody owns and which have work that is due.
    async fn find_idle_lanes_with_work(&self, now: Timestamp, limit: u32) -> Result<Vec<EndpointId>>;

    /// Takes those of the lanes that nobody owns.
    async fn take_lanes(&self, process: ProcessId, endpoints: &[EndpointId]) -> Result<Vec<TakenLane>>;

    /// Takes what is due at `now` into this process's hands: at most `limit`
    /// deliveries, and about `max_bytes` of data. What is due at
    /// [`Timestamp::EPOCH`] are tests alone, which may be sent during a hold.
    async fn claim_due(
        &self,
        endpoint: EndpointId,
        epoch: Epoch,
        now: Timestamp,
        limit: u32,
        max_bytes: usize,
    ) -> Result<ClaimedDeliveries>;

    /// Gives lanes back. What was in hand and not sent can be claimed by the
    /// next owner at once, as if it had never been claimed.
    async fn release_lanes(&self, lanes: &[(EndpointId, Epoch)]) -> Result<()>;
}
