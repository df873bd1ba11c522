//! Endpoints: the URLs that tenants registered.

use async_trait::async_trait;

use model::clock::Timestamp;
use model::endpoint::{ActiveSecret, Endpoint};
use model::ids::{EndpointId, TenantId};

use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::{Result, View};

/// An endpoint with its secrets.
#[derive(Debug, Clone)]
pub struct SecretEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Newest first. All that have not expired sign.
    pub secrets: Vec<ActiveSecret>,
}

/// Endpoints.
#[async_trait]
pub trait Endpoints: Send + Sync {
    /// Adds an endpoint. `false` if its tenant is gone.
    async fn create_endpoint(&self, new: &SecretEndpoint, once: Option<Once>) -> Result<Performed<bool>>;

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
    async fn update_endpoint(&self, endpoint: &Endpoint, expected: Timestamp) -> Result<bool>;

    /// Replaces the secrets, if `expected` is still its last change.
    async fn replace_secrets(
        &self,
        endpoint: &Endpoint,
        secrets: &[ActiveSecret],
        expected: Timestamp,
        once: Option<Once>,
    ) -> Result<Performed<bool>>;

    /// Disables an endpoint on Posthorn's own account, with the reason that
    /// its owner will read.
    async fn disable_endpoint(&self, id: EndpointId, reason: &str) -> Result<()>;

    /// Forgets what the endpoint answered: its breaker is closed, and it may be
    /// called at once.
    async fn reset_endpoint(&self, id: EndpointId) -> Result<()>;

    /// Removes an endpoint; what waited is canceled. `false` if it was gone
    /// or changed since `expected`.
    async fn delete_endpoint(&self, view: View, id: EndpointId, expected: Timestamp) -> Result<bool>;
}
