//! Events that wait because their data does not fit its schema.

use async_trait::async_trait;

use model::audit::Entry;
use model::clock::Timestamp;
use model::event::EventData;
use model::ids::{EventId, ProjectId, QuarantineId, TenantId};
use model::quarantine::{QuarantineState, QuarantinedEvent};
use model::schema::Fault;

use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::{Edited, Result, View};

/// How many events of a project may wait.
pub const MAX_HELD: u64 = 10_000;

/// An event that waits, or waited.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantined {
    /// Its id, which is not that of an event yet.
    pub id: QuarantineId,
    /// The project.
    pub project: ProjectId,
    /// The tenant.
    pub tenant: TenantId,
    /// All of it but the data.
    pub event: QuarantinedEvent,
    /// The publisher's bytes.
    pub data: EventData,
    /// Why it waits.
    pub faults: Vec<Fault>,
    /// What has become of it.
    pub state: QuarantineState,
    /// The event that it became.
    pub became: Option<EventId>,
    /// When it was published.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What became of a wish to keep an event in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuarantineKept {
    /// It waits.
    Done,
    /// [`MAX_HELD`] wait already.
    Full,
    /// The tenant was deleted meanwhile.
    NoTenant,
}

/// Events in quarantine.
#[async_trait]
pub trait Quarantine: Send + Sync {
    /// Keeps an event.
    async fn keep_in_quarantine(
        &self,
        new: &Quarantined,
        once: Option<Once>,
    ) -> Result<Performed<QuarantineKept>>;

    /// An event.
    async fn find_quarantined(&self, view: View, id: QuarantineId) -> Result<Option<Quarantined>>;

    /// Events in one state or in all, newest or oldest first.
    async fn list_quarantined(
        &self,
        view: View,
        state: Option<QuarantineState>,
        page: PageRequest,
    ) -> Result<Page<Quarantined>>;

    /// Gives up an event. Outdated if it waits no longer.
    async fn drop_quarantined(
        &self,
        view: View,
        id: QuarantineId,
        now: Timestamp,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Edited>>;

    /// Takes an event out of quarantine, to be published: nobody else drops it
    /// then. Outdated if it waits no longer; one whose publishing was cut off
    /// is given again.
    async fn begin_release(&self, view: View, id: QuarantineId) -> Result<Edited>;

    /// What a release came to: the event, or back into quarantine. The answer is
    /// kept if there is an event.
    async fn end_release(
        &self,
        view: View,
        id: QuarantineId,
        became: Option<EventId>,
        now: Timestamp,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<()>>;

    /// Forgets what is older than its project keeps events; at most `limit`.
    /// Gives how many those were.
    async fn forget_quarantined(&self, now: Timestamp, limit: u32) -> Result<u64>;
}
