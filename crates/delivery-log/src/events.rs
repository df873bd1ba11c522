//! Events: publishing and reading them.

use std::sync::Arc;

use async_trait::async_trait;

use model::clock::Timestamp;
use model::delivery::Delivery;
use model::event::{Event, EventData, Label, Labels, OlderData};
use model::event_type::{EventType, Pattern};
use model::ids::{DeliveryId, EndpointId, EventId, ProjectId, TenantId};
use model::names::{OrderingKey, Subject, TenantHandle};

use crate::idempotency::{FirstAnswer, KeyUse};
use crate::page::{Page, PageRequest};
use crate::publishing::Matched;
use crate::{Result, View};

/// An event to be published, checked.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The project.
    pub project: ProjectId,
    /// The tenant.
    pub tenant: TenantId,
    /// What happened.
    pub event_type: EventType,
    /// The version of its schema.
    pub schema_version: u32,
    /// The object that it happened to.
    pub subject: Subject,
    /// The object's revision.
    pub revision: Option<u64>,
    /// When it happened; now if not given.
    pub occurred_at: Option<Timestamp>,
    /// The subject if not given.
    pub ordering_key: Option<OrderingKey>,
    /// For filters and lists.
    pub labels: Labels,
    /// The publisher's bytes.
    pub data: EventData,
    /// What a repetition is recognised by.
    pub key_use: Option<KeyUse>,
    /// Of the test route: goes to this endpoint alone, whatever it wants.
    pub test: Option<EndpointId>,
    /// The endpoints that it goes to, if it was matched with them before it is
    /// written. What is stale is matched again.
    pub matched: Option<Arc<Matched>>,
    /// How many endpoints it may go to, as far as is known: what it costs. The
    /// store fills it in.
    pub endpoints: usize,
}

/// What became of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// The event is on durable storage.
    Accepted {
        /// Its id.
        event: EventId,
        /// Its number among the tenant's events.
        sequence: u64,
        /// The delivery, for the test route.
        delivery: Option<DeliveryId>,
    },
    /// It was published before under the same key.
    Repeated {
        /// The id that it got then.
        event: EventId,
        /// The number that it got then.
        sequence: u64,
    },
    /// The key was used before, for something else.
    KeyReused,
    /// The tenant is not there, or no longer.
    UnknownTenant,
    /// The endpoint of the test route is not there, or no longer.
    UnknownEndpoint,
}

/// An endpoint that did not get an event, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Why, as in the API: `event_type`, `schema_version`, `version_retired`,
    /// `downgrade_failed`, `filter` or `disabled`.
    pub reason: String,
}

/// An event as it is read.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The event.
    pub event: Event,
    /// What callers know the tenant by.
    pub tenant: TenantHandle,
    /// The tenant's endpoints that did not get it.
    pub unmatched: Vec<Unmatched>,
}

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// For this tenant.
    pub tenant: Option<TenantId>,
    /// Of this type.
    pub event_type: Option<Pattern>,
    /// With an event that has this label.
    pub label: Option<Label>,
    /// About this object.
    pub subject: Option<Subject>,
    /// Not before this.
    pub occurred_after: Option<Timestamp>,
    /// Before this.
    pub occurred_before: Option<Timestamp>,
}

/// Events.
#[async_trait]
pub trait Events: Send + Sync {
    /// Writes an event and its deliveries in one commit; of those for very many
    /// endpoints, a part and a note of for whom the others are.
    ///
    /// When this returns, the event is on durable storage, or nothing of it is.
    async fn publish(&self, publish: Publish) -> Result<Published>;

    /// Writes events in their order, each as [`Self::publish`] does. Those of
    /// one tenant are numbered in this order.
    async fn publish_all(&self, publishes: Vec<Publish>) -> Vec<Result<Published>>;

    /// Goes on with events that were given to a part of their endpoints only, and
    /// not gone on with since `unmoved_since`: whoever was at it ended or failed.
    /// Takes at most `limit` events, and gives how many that were.
    async fn go_on_with_fan_outs(&self, unmoved_since: Timestamp, limit: u32) -> Result<u64>;

    /// What a request was answered when it came first.
    async fn first_answer(&self, project: ProjectId, key_use: &KeyUse) -> Result<FirstAnswer>;

    /// An event.
    async fn find_event(&self, view: View, id: EventId) -> Result<Option<StoredEvent>>;

    /// The publisher's bytes.
    async fn read_data(&self, view: View, id: EventId) -> Result<Option<EventData>>;

    /// The data in versions before that of the event, as far as somebody got it.
    async fn read_older_data(&self, view: View, id: EventId) -> Result<OlderData>;

    /// Events, by the order in which they were accepted.
    async fn list_events(
        &self,
        view: View,
        filter: &EventFilter,
        page: PageRequest,
    ) -> Result<Page<StoredEvent>>;

    /// The deliveries of an event.
    async fn deliveries_of_event(&self, view: View, id: EventId, page: PageRequest)
    -> Result<Page<Delivery>>;
}
