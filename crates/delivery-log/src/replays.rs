//! Replays: jobs that send many past deliveries of an endpoint again.

use async_trait::async_trait;

use model::audit::Entry;
use model::clock::Timestamp;
use model::ids::ReplayId;
use model::replay::{Replay, ReplayState};

use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::{Result, View};

/// How many deliveries a replay would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// So many, at most as many as it may send.
    Matched(u32),
    /// More events would have to be looked at than
    /// [`model::replay::MAX_LOOKED_AT`].
    TooManyToLookAt,
}

/// What became of a replay that was to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayCreated {
    /// It runs.
    Done,
    /// Its endpoint is not enabled, or gone.
    EndpointNotEnabled,
}

/// What became of a wish to pause, resume or cancel a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplaySet {
    /// It stands so now, or did before.
    Done,
    /// It has ended.
    Ended(ReplayState),
    /// There is no such replay.
    NotFound,
}

/// Replays.
#[async_trait]
pub trait Replays: Send + Sync {
    /// How many deliveries a replay that is not made yet would send.
    async fn count_replay(&self, wanted: &Replay) -> Result<Counted>;

    /// Adds a replay, which runs from then on.
    async fn create_replay(
        &self,
        new: &Replay,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<ReplayCreated>>;

    /// A replay, with what has become of its deliveries by now.
    async fn find_replay(&self, view: View, id: ReplayId) -> Result<Option<Replay>>;

    /// Replays, newest or oldest first.
    async fn list_replays(&self, view: View, page: PageRequest) -> Result<Page<Replay>>;

    /// Lets a replay run, pause, or end as canceled.
    async fn set_replay(
        &self,
        view: View,
        id: ReplayId,
        state: ReplayState,
        entry: Entry,
    ) -> Result<ReplaySet>;

    /// Running replays of which something is to be done by now; at most `limit`.
    async fn due_replays(&self, now: Timestamp, limit: u32) -> Result<Vec<ReplayId>>;

    /// Sends the next part of a replay, unless another process does so.
    async fn advance_replay(&self, id: ReplayId) -> Result<()>;

    /// Forgets replays that ended before `before`; at most `limit`. Gives how
    /// many those were.
    async fn forget_replays(&self, before: Timestamp, limit: u32) -> Result<u64>;
}
