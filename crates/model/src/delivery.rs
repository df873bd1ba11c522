//! Deliveries: one event on its way to one endpoint.

use crate::attempt::{ErrorClass, Trigger};
use crate::clock::Timestamp;
use crate::event_type::EventType;
use crate::ids::{DeliveryId, EndpointId, EventId, ProjectId, TenantId};
use crate::names::{Subject, TenantHandle};
use crate::payload::PayloadForm;

/// Where a delivery stands, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// Waits for its first attempt, or for its first after a replay.
    Queued,
    /// Has failed, and a next try is set.
    Retrying,
    /// A receiver answered 2xx.
    Delivered,
    /// Given up.
    Failed(Failure),
    /// Withdrawn.
    Canceled,
}

crate::words!(
    /// Why a delivery was given up.
    Failure {
        /// The schedule has no further try.
        Exhausted = "exhausted",
        /// The receiver refused it, and will again.
        Permanent = "permanent",
        /// It was held for too long.
        Expired = "expired",
    }
);

impl DeliveryStatus {
    /// Whether an attempt is still to come.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Queued | Self::Retrying)
    }

    /// The failure, if it failed.
    pub fn failure(self) -> Option<Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

crate::words!(
    /// Where a delivery stands, as a reader is told.
    VisibleStatus {
        /// It waits for its first attempt, or for its first after a replay.
        Queued = "queued",
        /// An attempt failed, and a next one is set.
        Retrying = "retrying",
        /// It waits, and its endpoint may not be called: `held_by` says why.
        Held = "held",
        /// The receiver answered 2xx.
        Delivered = "delivered",
        /// It was given up: `failure` says why.
        Failed = "failed",
        /// It was withdrawn.
        Canceled = "canceled",
    }
);

crate::words!(
    /// What holds the deliveries of an endpoint.
    HeldBy {
        /// The endpoint, its tenant or its project is paused, or it is disabled.
        Paused = "paused" = 0,
        /// The endpoint failed too often: its breaker is open, and it is probed.
        Breaker = "breaker" = 1,
        /// The receiver asked for time (`Retry-After`), or the endpoint's own limit
        /// of calls spaces them.
        RateLimit = "rate_limit" = 2,
        /// An earlier event of the same ordering key is still on its way.
        Order = "order" = 3,
    }
);

/// A hold of an endpoint, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// What holds.
    pub by: HeldBy,
    /// `None` until someone lifts it.
    pub until: Option<Timestamp>,
}

/// A delivery as a reader sees it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The project.
    pub project: ProjectId,
    /// The tenant.
    pub tenant: TenantId,
    /// What callers know the tenant by.
    pub tenant_handle: TenantHandle,
    /// The event on its way.
    pub event: EventId,
    /// Where to.
    pub endpoint: EndpointId,
    /// The event's type.
    pub event_type: EventType,
    /// The event's subject.
    pub subject: Subject,
    /// When the event happened.
    pub occurred_at: Timestamp,
    /// Whether it is a test, which is sent once and never replayed.
    pub test: bool,
    /// The form of its body.
    pub payload: PayloadForm,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// What holds it, if it waits and its endpoint may not be called.
    pub hold: Option<Hold>,
    /// How the endpoint's last call failed, while it holds this one: class and
    /// status.
    pub endpoint_failed: Option<(ErrorClass, Option<u16>)>,
    /// How many attempts were made.
    pub attempts: u32,
    /// What the next attempt is made for.
    pub trigger: Trigger,
    /// When the next attempt is due, while it waits, not before its hold ends;
    /// `None` while nobody knows when that is.
    pub next_attempt_at: Option<Timestamp>,
    /// How the last attempt ended.
    pub last_error: Option<ErrorClass>,
    /// What the last attempt was answered.
    pub last_http_status: Option<u16>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Delivery {
    /// What a reader is told of its status.
    pub fn visible_status(&self) -> VisibleStatus {
        match self.status {
            DeliveryStatus::Queued | DeliveryStatus::Retrying if self.hold.is_some() => VisibleStatus::Held,
            DeliveryStatus::Queued => VisibleStatus::Queued,
            DeliveryStatus::Retrying => VisibleStatus::Retrying,
            DeliveryStatus::Delivered => VisibleStatus::Delivered,
            DeliveryStatus::Failed(_) => VisibleStatus::Failed,
            DeliveryStatus::Canceled => VisibleStatus::Canceled,
        }
    }
}
