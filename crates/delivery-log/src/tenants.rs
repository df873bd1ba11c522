//! Tenants: the customers of the product.

use async_trait::async_trait;

use model::audit::Entry;
use model::clock::Timestamp;
use model::ids::{ProjectId, TenantId};
use model::names::TenantHandle;

use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::{Edited, Result, View};

/// A customer of the product.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// What the store knows it by.
    pub id: TenantId,
    /// The project.
    pub project: ProjectId,
    /// What callers know it by.
    pub handle: TenantHandle,
    /// For people.
    pub name: String,
    /// The caller's own notes: the text of a JSON object.
    pub metadata: String,
    /// Mail addresses of those who want to know when an endpoint fails.
    pub contacts: Vec<String>,
    /// Since when none of its endpoints is called, if that is so.
    pub paused_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What became of a wish to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// It was created.
    New,
    /// There is one of this handle.
    Taken,
}

/// Tenants.
#[async_trait]
pub trait Tenants: Send + Sync {
    /// Adds a tenant.
    async fn create_tenant(
        &self,
        tenant: &Tenant,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Created>>;

    /// The tenant that goes by this handle.
    async fn find_tenant(&self, view: View, handle: &TenantHandle) -> Result<Option<Tenant>>;

    /// The tenants of a project.
    async fn list_tenants(&self, view: View, page: PageRequest) -> Result<Page<Tenant>>;

    /// Holds what waits for the tenant's endpoints from now on, or lets it go.
    /// `None` if there is no such tenant.
    async fn pause_tenant(
        &self,
        view: View,
        id: TenantId,
        paused: bool,
        entry: Entry,
    ) -> Result<Option<Tenant>>;

    /// Replaces name, metadata and contacts, if `expected` is still its last change.
    async fn update_tenant(&self, tenant: &Tenant, expected: Timestamp, entry: Entry) -> Result<Edited>;

    /// Removes a tenant, its endpoints and its keys. What waited is
    /// canceled. Outdated if it was gone or changed since `expected`.
    async fn delete_tenant(
        &self,
        view: View,
        id: TenantId,
        expected: Timestamp,
        entry: Entry,
    ) -> Result<Edited>;
}
