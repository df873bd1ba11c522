//! Retry policies that projects made themselves.

use async_trait::async_trait;

use model::audit::Entry;
use model::clock::Timestamp;
use model::ids::ProjectId;
use model::retry::RetryPolicy;

use crate::Result;
use crate::idempotency::{Once, Performed};

/// A retry policy with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedPolicy {
    /// The project.
    pub project: ProjectId,
    /// Its name, of which a project has one.
    pub name: String,
    /// The policy.
    pub policy: RetryPolicy,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What became of a wish to make or change a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicySaved {
    /// It is there now.
    Done,
    /// There is one of this name already.
    Taken,
    /// The project has as many as it may have.
    TooMany,
    /// It was changed since, or is gone.
    Changed,
}

/// What became of a wish to remove a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyRemoved {
    /// It is gone.
    Done,
    /// So many endpoints use it.
    InUse(u64),
    /// There is none of this name.
    NotFound,
}

/// Retry policies.
#[async_trait]
pub trait Policies: Send + Sync {
    /// The policies of a project by their names, without those that every
    /// project has.
    async fn list_policies(&self, project: ProjectId) -> Result<Vec<NamedPolicy>>;

    /// Adds a policy, or replaces it if `expected` is still its last change.
    async fn save_policy(
        &self,
        new: &NamedPolicy,
        expected: Option<Timestamp>,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<PolicySaved>>;

    /// Removes a policy that no endpoint uses.
    async fn remove_policy(&self, project: ProjectId, name: &str, entry: Entry) -> Result<PolicyRemoved>;
}
