//! Deliveries and their attempts.

use std::sync::Arc;

use async_trait::async_trait;

use model::attempt::{Attempt, ErrorClass};
use model::audit::Entry;
use model::clock::Timestamp;
use model::delivery::{Delivery, VisibleStatus};
use model::event::{Event, EventData, Label};
use model::event_type::Pattern;
use model::failure::Verdict;
use model::health::Health;
use model::ids::{DeliveryId, EndpointId, EventId, ProjectId, ReplayId, TenantId};
use model::names::Subject;

use crate::idempotency::{Once, Performed};
use crate::lanes::Epoch;
use crate::page::{Page, PageRequest};
use crate::{Result, View};

/// An attempt that ended, and what follows from it.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The project.
    pub project: ProjectId,
    /// The endpoint that was called.
    pub endpoint: EndpointId,
    /// The epoch of the lane in which the call was made.
    pub epoch: Epoch,
    /// The attempt.
    pub attempt: Attempt,
    /// What follows for the delivery.
    pub verdict: Verdict,
    /// The lane's health, if the attempt changed it.
    pub health: Option<Health>,
}

/// What became of a finished attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The attempt is in the log, and the delivery has its next state.
    Advanced,
    /// The attempt is in the log; the delivery was taken over, sent again or
    /// canceled meanwhile, so its state is another's to change.
    Late,
}

/// Which deliveries are wanted.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// To this endpoint.
    pub endpoint: Option<EndpointId>,
    /// Of this event.
    pub event: Option<EventId>,
    /// With an event of this type.
    pub event_type: Option<Pattern>,
    /// With an event that has this label.
    pub label: Option<Label>,
    /// With an event about this object.
    pub subject: Option<Subject>,
    /// Sent by this replay.
    pub replay: Option<ReplayId>,
    /// With one of these; empty for all.
    pub statuses: Vec<VisibleStatus>,
    /// Those alone that have not arrived and were not withdrawn.
    pub undelivered: bool,
    /// Whose last attempt ended like this.
    pub error_class: Option<ErrorClass>,
    /// Whose last attempt was answered like this.
    pub http_status: Option<u16>,
    /// With an event not before this.
    pub occurred_after: Option<Timestamp>,
    /// With an event before this.
    pub occurred_before: Option<Timestamp>,
}

/// What became of a wish to send a delivery again.
#[derive(Debug, Clone)]
pub enum Replayed {
    /// It goes out on a fresh schedule, or at once if it was waiting; so it
    /// stands now.
    Due(Box<Delivery>),
    /// It is a test, which is never sent again.
    Test,
    /// It was delivered, and nobody insisted.
    AlreadyDelivered,
    /// Its endpoint is paused, disabled or deleted.
    EndpointNotEnabled,
    /// There is no such delivery.
    NotFound,
}

/// What became of a wish to cancel a delivery.
#[derive(Debug, Clone)]
pub enum Canceled {
    /// No further attempt is made; so it stands now.
    Done(Box<Delivery>),
    /// It has already been delivered, failed or been canceled.
    AlreadyEnded,
    /// There is no such delivery.
    NotFound,
}

/// Deliveries.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// The time of day jumped by so many microseconds: what was waiting before
    /// is given that time again, and what was put off too far comes sooner.
    async fn make_up_for_jump(&self, before: Timestamp, by: i64) -> Result<()>;

    /// Writes an attempt and the delivery's next state in one commit.
    async fn finish(&self, finished: Arc<Finished>) -> Result<Recorded>;

    /// A delivery.
    async fn find_delivery(&self, view: View, id: DeliveryId) -> Result<Option<Delivery>>;

    /// Deliveries, newest or oldest first.
    async fn list_deliveries(
        &self,
        view: View,
        filter: &DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<Delivery>>;

    /// The attempts of a delivery, in their order.
    async fn list_attempts(
        &self,
        view: View,
        id: DeliveryId,
        page: PageRequest,
    ) -> Result<Option<Page<Attempt>>>;

    /// What the body of a delivery is made of.
    async fn read_payload(&self, view: View, id: DeliveryId) -> Result<Option<(Delivery, Event, EventData)>>;

    /// Sends the same delivery again. `force` is for one that was delivered.
    async fn replay(
        &self,
        view: View,
        id: DeliveryId,
        force: bool,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Replayed>>;

    /// Withdraws a delivery that waits.
    async fn cancel(
        &self,
        view: View,
        id: DeliveryId,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Canceled>>;

    /// Gives up deliveries that have waited since before `since` on endpoints
    /// that are not enabled, and cancels what waits for deleted ones; at most
    /// `limit` of each. Gives how many that were.
    async fn settle_held(&self, since: Timestamp, limit: u32) -> Result<u64>;

    /// Deletes ended events with all that belongs to them, when they are
    /// older than their project keeps them, and idempotency keys that have
    /// expired; at most `limit` of each. Gives how many that were.
    async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64>;
}
