//! Deliveries: one event on its way to one endpoint.

use std::fmt;
use std::str::FromStr;

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

/// Why a delivery was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The schedule has no further try.
    Exhausted,
    /// The receiver refused it, and will again.
    Permanent,
    /// It was held for too long.
    Expired,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exhausted, Self::Permanent, Self::Expired];

    /// The name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Permanent => "permanent",
            Self::Expired => "expired",
        }
    }
}

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

/// What a reader is told: the stored status, or that the delivery is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisibleStatus {
    /// See [`DeliveryStatus::Queued`].
    Queued,
    /// See [`DeliveryStatus::Retrying`].
    Retrying,
    /// Waits, and its endpoint may not be called.
    Held,
    /// See [`DeliveryStatus::Delivered`].
    Delivered,
    /// See [`DeliveryStatus::Failed`].
    Failed,
    /// See [`DeliveryStatus::Canceled`].
    Canceled,
}

impl VisibleStatus {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Retrying, Self::Held, Self::Delivered, Self::Failed, Self::Canceled];

    /// The name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Retrying => "retrying",
            Self::Held => "held",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// A text that names no delivery status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be queued, retrying, held, delivered, failed or canceled")]
pub struct UnknownStatus;

impl FromStr for VisibleStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(UnknownStatus)
    }
}

impl fmt::Display for VisibleStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What holds the deliveries of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBy {
    /// The endpoint, its tenant or its project is paused, or it is disabled.
    Paused,
    /// The endpoint's breaker is open.
    Breaker,
    /// The receiver asked for time (`Retry-After`), or the endpoint's own limit
    /// of calls spaces them.
    RateLimit,
    /// An earlier event of the same ordering key is still on its way.
    Order,
}

impl HeldBy {
    /// A small number that stands for it in a store, for ever.
    pub fn code(self) -> i64 {
        match self {
            Self::Paused => 0,
            Self::Breaker => 1,
            Self::RateLimit => 2,
            Self::Order => 3,
        }
    }

    /// What a store's number stands for.
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::Paused, Self::Breaker, Self::RateLimit, Self::Order].into_iter().find(|by| by.code() == code)
    }

    /// The name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Breaker => "breaker",
            Self::Order => "order",
            Self::RateLimit => "rate_limit",
        }
    }
}

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
