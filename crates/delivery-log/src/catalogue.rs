//! The catalogue of event types with the versions of their schemas.

use std::sync::Arc;

use async_trait::async_trait;

use model::audit::Entry;
use model::catalogue::EventTypeEntry;
use model::clock::Timestamp;
use model::event_type::EventType;
use model::ids::{EndpointId, ProjectId};

use crate::configuration::{Configuration, LiveEndpoint};
use crate::idempotency::{Once, Performed};
use crate::{Edited, Result, View};

/// How much an endpoint gets of an event type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// How many deliveries were made since; one more than [`COUNTED`] stands
    /// for all beyond.
    pub deliveries: u64,
    /// When the last one was made.
    pub last_at: Option<Timestamp>,
}

/// So far deliveries are counted.
pub const COUNTED: u64 = 10_000;

/// An endpoint that is pinned to a version of a type.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// The endpoint.
    pub live: Arc<LiveEndpoint>,
    /// The subscription that pins it.
    pub subscription: String,
}

/// The endpoints that are pinned to a version of a type, in the order in which
/// they were made. Those that are disabled are among them: they may be enabled.
pub fn pinned_to(configuration: &Configuration, entry: &EventTypeEntry, number: u32) -> Vec<Pinned> {
    let mut pinned: Vec<Pinned> = configuration
        .endpoints_in(entry.project)
        .into_iter()
        .filter_map(|live| {
            let subscription = entry
                .pins(&live.endpoint.subscriptions)
                .find(|pin| pin.number == number)?
                .subscription
                .to_string();
            Some(Pinned { live, subscription })
        })
        .collect();
    pinned.sort_by_key(|one| one.live.endpoint.id);
    pinned
}

/// The catalogue.
///
/// It is read from [`crate::configuration::Configuration`].
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// Writes types with all their versions, if nothing of the configuration
    /// has changed since `checked_at`, its version when the change was checked.
    async fn save_event_types(
        &self,
        entries: &[EventTypeEntry],
        checked_at: i64,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Edited>>;

    /// Removes a type with its versions, on the same condition.
    async fn remove_event_type(
        &self,
        project: ProjectId,
        name: &EventType,
        checked_at: i64,
        entry: Entry,
    ) -> Result<Edited>;

    /// How much an endpoint got of a type since a time.
    async fn usage(
        &self,
        view: View,
        endpoint: EndpointId,
        name: &EventType,
        since: Timestamp,
    ) -> Result<Usage>;
}
