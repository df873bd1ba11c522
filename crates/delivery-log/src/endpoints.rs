//! Endpoints: the URLs that tenants registered.

use std::time::Duration;

use async_trait::async_trait;

use model::attempt::ErrorClass;
use model::audit::Entry;
use model::clock::Timestamp;
use model::endpoint::{ActiveSecret, Endpoint};
use model::health::Health;
use model::ids::{EndpointId, TenantId};

use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::{Edited, Result, View};

/// An endpoint with its secrets.
#[derive(Debug, Clone)]
pub struct SecretEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Newest first. All that have not expired sign.
    pub secrets: Vec<ActiveSecret>,
}

/// How many attempts of late a report is made of.
pub const RECENT_ATTEMPTS: u32 = 200;
/// So far the deliveries that wait are counted.
pub const COUNTED_BACKLOG: u64 = 10_000;

/// An attempt, in short.
#[derive(Debug, Clone, PartialEq)]
pub struct RecentAttempt {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// How it failed, if it did.
    pub error_class: ErrorClass,
    /// What was answered.
    pub http_status: Option<u16>,
    /// What exactly went wrong, for people.
    pub error_detail: Option<String>,
}

/// How an endpoint does.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointReport {
    /// What the owner of its lane wrote down last.
    pub health: Health,
    /// Attempts of late, the newest first.
    pub recent: Vec<RecentAttempt>,
    /// How many deliveries wait; one more than [`COUNTED_BACKLOG`] stands for
    /// all beyond.
    pub waiting: u64,
}

/// What became of a new endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointCreated {
    /// It is there.
    Done,
    /// Its tenant is gone.
    NoTenant,
    /// Its tenant has as many as it may have.
    TooMany,
}

/// Endpoints.
#[async_trait]
pub trait Endpoints: Send + Sync {
    /// Adds an endpoint to a tenant that may have so many at most.
    async fn create_endpoint(
        &self,
        new: &SecretEndpoint,
        most: usize,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<EndpointCreated>>;

    /// An endpoint of a tenant.
    async fn find_endpoint(
        &self,
        view: View,
        tenant: TenantId,
        id: EndpointId,
    ) -> Result<Option<SecretEndpoint>>;

    /// The endpoints of a tenant.
    async fn list_endpoints(
        &self,
        view: View,
        tenant: TenantId,
        page: PageRequest,
    ) -> Result<Page<SecretEndpoint>>;

    /// Replaces all but the ids and secrets, if `expected` is still its last
    /// change.
    async fn update_endpoint(&self, endpoint: &Endpoint, expected: Timestamp, entry: Entry)
    -> Result<Edited>;

    /// Replaces the secrets, if `expected` is still its last change.
    async fn replace_secrets(
        &self,
        endpoint: &Endpoint,
        secrets: &[ActiveSecret],
        expected: Timestamp,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Edited>>;

    /// Disables an endpoint on Posthorn's own account, with the reason that
    /// its owner will read. Outdated if it is no longer enabled, or elsewhere.
    async fn disable_endpoint(&self, as_it_was: &Endpoint, reason: &str, entry: Entry) -> Result<Edited>;

    /// How an endpoint does.
    async fn report_on_endpoint(&self, id: EndpointId) -> Result<EndpointReport>;

    /// Forgets what the endpoint answered: its breaker is closed, it may be
    /// called at once, and what failed is due now (the first hundred thousand
    /// deliveries).
    async fn reset_endpoint(&self, endpoint: &Endpoint, entry: Entry) -> Result<()>;

    /// Removes an endpoint; what waited is canceled. Outdated if it was gone
    /// or changed since `expected`.
    async fn delete_endpoint(
        &self,
        view: View,
        id: EndpointId,
        expected: Timestamp,
        entry: Entry,
    ) -> Result<Edited>;
}
