//! Erasures of tenants and of subjects.

use async_trait::async_trait;

use model::audit::Entry;
use model::clock::Timestamp;
use model::erasure::Erasure;
use model::ids::{ErasureId, ProjectId};
use model::names::TenantHandle;

use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::tenants::Tenant;
use crate::{Result, View};

/// What became of a wish to erase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasureBegun {
    /// The tenant is deleted, and the rest goes step by step.
    Done,
    /// The tenant is not as it was when it was read.
    Outdated,
}

/// How far an erasure came in one step.
#[derive(Debug, Clone, PartialEq)]
pub enum ErasureStep {
    /// There may be more to do at once.
    GoesOn(Erasure),
    /// Calls that are under way have to end first.
    Waits(Erasure),
    /// Everything is gone.
    Ended(Erasure),
}

/// Erasures.
#[async_trait]
pub trait Erasures: Send + Sync {
    /// What is left outside of the rows of this store after an erasure, and until when.
    fn remains(&self) -> &'static [&'static str];

    /// The tenants that went by a handle and are deleted, and were not erased.
    async fn deleted_tenants(&self, project: ProjectId, handle: &TenantHandle) -> Result<Vec<Tenant>>;

    /// Begins an erasure. If it is of a whole tenant, the one that is there is
    /// deleted, if `expected` is still its last change; its name, contacts and URLs
    /// are gone when this returns.
    async fn begin_erasure(
        &self,
        erasure: &Erasure,
        expected: Option<Timestamp>,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<ErasureBegun>>;

    /// Goes on with an erasure, by about `limit` events. `None` if there is none.
    async fn advance_erasure(&self, id: ErasureId, limit: u32) -> Result<Option<ErasureStep>>;

    /// An erasure.
    async fn find_erasure(&self, view: View, id: ErasureId) -> Result<Option<Erasure>>;

    /// Erasures, newest or oldest first.
    async fn list_erasures(&self, view: View, page: PageRequest) -> Result<Page<Erasure>>;

    /// Erasures that have not ended, at most `limit`.
    async fn running_erasures(&self, limit: u32) -> Result<Vec<ErasureId>>;
}
