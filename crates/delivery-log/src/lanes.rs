//! Lanes: who may send to an endpoint now.
//!
//! A process owns an endpoint's lane; only the owner sends. Each change of
//! owner begins a new epoch, and what was begun in an earlier one can no
//! longer change a delivery's state.

use std::time::Duration;

use async_trait::async_trait;

use model::clock::Timestamp;
use model::health::Health;
use model::ids::{EndpointId, ProcessId};

use crate::Result;
use crate::hand_off::ReadyDelivery;

/// Counts the owners of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

/// A lane that is owned now.
#[derive(Debug, Clone)]
pub struct TakenLane {
    /// Whose lane.
    pub endpoint: EndpointId,
    /// The epoch that begins.
    pub epoch: Epoch,
    /// What the owner before knew.
    pub health: Health,
}

/// Deliveries that were due, now in this process's hands.
#[derive(Debug, Clone)]
pub struct ClaimedDeliveries {
    /// The deliveries, oldest first.
    pub ready: Vec<ReadyDelivery>,
    /// When the first of what is left is due; `None` if nothing is left that
    /// waits for a time only.
    pub next_due: Option<Timestamp>,
    /// There may be more that is due, from here on: so many go in order that
    /// not all were looked at.
    pub more_after: Option<Cursor>,
}

/// How far a lane has looked through what is due: for the store to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// When the last one looked at was due.
    pub(crate) due_at: Timestamp,
    /// And which one that was, among those due then.
    pub(crate) place: u128,
}

impl Cursor {
    /// Before everything.
    pub const START: Self = Self::at(Timestamp::from_micros(-1), 0);

    /// At this one.
    pub const fn at(due_at: Timestamp, place: u128) -> Self {
        Self { due_at, place }
    }
}

/// Among those that go in order, so many are looked at in one claim: many may
/// wait behind one that is being retried.
pub const LOOKED_AT: u32 = 1_024;

/// What is to be claimed for a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimDue {
    /// Whose lane.
    pub endpoint: EndpointId,
    /// The epoch of its owner.
    pub epoch: Epoch,
    /// What is due at this time. At [`Timestamp::EPOCH`] those are tests
    /// alone, which may be sent during a hold.
    pub now: Timestamp,
    /// At most so many deliveries,
    pub limit: u32,
    /// and about so many bytes of data.
    pub max_bytes: usize,
    /// From here on.
    pub after: Cursor,
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

    /// Takes what is due into this process's hands. Of those that go in the
    /// order of their key, only the first of each key is taken.
    async fn claim_due(&self, claim: ClaimDue) -> Result<ClaimedDeliveries>;

    /// Gives lanes back. What was in hand and not sent can be claimed by the
    /// next owner at once, as if it had never been claimed.
    async fn release_lanes(&self, lanes: &[(EndpointId, Epoch)]) -> Result<()>;
}
