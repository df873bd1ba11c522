//! The delivery log: what was published, what is on its way, what became of it.
//!
//! This crate is the contract between the events API and the dispatcher,
//! which never meet: the API writes events and reads the log, the dispatcher
//! takes what is due and writes attempts. One trait stands for each
//! aggregate, in the words of the domain; a backend implements them all and
//! passes the suite in [`conformance`]. Nothing outside this crate names SQL.
//!
//! On the way of one event this is the third stop ([`events::Events::publish`],
//! after the API, before the dispatcher's lanes) and the seventh
//! ([`deliveries::Deliveries::finish`], after the call was made).

#![allow(clippy::duplicate_mod, reason = "what both backends say in the same words is compiled for each")]

pub mod access;
pub mod audit;
pub mod catalogue;
pub mod configuration;
pub mod deliveries;
pub mod durability;
mod edited;
pub mod endpoints;
mod env;
pub mod erasures;
mod error;
pub mod events;
pub mod hand_off;
pub mod idempotency;
pub mod lanes;
mod migrations;
pub mod page;
pub mod policies;
pub mod portal;
pub mod postgres;
pub mod publishing;
pub mod quarantine;
mod queue;
pub mod replays;
mod shared;
pub mod sqlite;
pub mod tenants;

#[cfg(feature = "conformance")]
pub mod conformance;

use std::sync::Arc;

pub use edited::Edited;
pub use env::Env;
pub use error::StoreError;

use model::ids::{ProjectId, TenantId};

/// The result of a store's method.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Everything that a backend does.
pub trait Store:
    access::Access
    + audit::Audit
    + tenants::Tenants
    + endpoints::Endpoints
    + erasures::Erasures
    + events::Events
    + deliveries::Deliveries
    + lanes::Lanes
    + policies::Policies
    + portal::Portal
    + replays::Replays
    + catalogue::Catalogue
    + quarantine::Quarantine
    + configuration::Configured
{
}

impl<T> Store for T where
    T: access::Access
        + audit::Audit
        + tenants::Tenants
        + endpoints::Endpoints
        + erasures::Erasures
        + events::Events
        + deliveries::Deliveries
        + lanes::Lanes
        + policies::Policies
        + portal::Portal
        + replays::Replays
        + catalogue::Catalogue
        + quarantine::Quarantine
        + configuration::Configured
{
}

/// A store as the parts of the program share it.
pub type SharedStore = Arc<dyn Store>;

/// Whose things a reader may see: a project's, or one tenant's alone.
///
/// Every method takes it, so that what belongs to others is never found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The project.
    pub project: ProjectId,
    /// The only tenant, or all of them.
    pub tenant: Option<TenantId>,
}
