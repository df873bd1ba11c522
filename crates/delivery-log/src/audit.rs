//! The audit log of each project.

use async_trait::async_trait;

use model::audit::chain::{BEGINNING, Broken, Digest};
use model::audit::{Action, Actor, Content, Entry};
use model::clock::Timestamp;
use model::ids::{AuditId, ErasureId, ProjectId, TenantId};

use crate::page::{Page, PageRequest};
use crate::{Result, View};

/// An entry as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Its place in the log of its project.
    pub number: u64,
    /// Its id.
    pub id: AuditId,
    /// When it was written.
    pub at: Timestamp,
    /// What it says, or the erasure that removed it.
    pub content: std::result::Result<Box<Content>, ErasureId>,
}

/// Which entries are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// What was done by this one.
    pub actor: Option<Actor>,
    /// What was one of these.
    pub actions: Vec<Action>,
    /// What was done to this thing.
    pub target: Option<String>,
    /// What is about this tenant.
    pub tenant: Option<TenantId>,
    /// Written at this time or after it.
    pub after: Option<Timestamp>,
    /// Written before this time.
    pub before: Option<Timestamp>,
}

/// What became of checking a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// How many entries were found right, from the first on.
    pub entries: u64,
    /// How many of them have been erased.
    pub erased: u64,
    /// The number of the last entry, and its link: noted somewhere else, it shows
    /// whether an earlier state of the log was put back.
    pub last: (u64, Digest),
    /// The first thing that is wrong.
    pub broken: Option<Broken>,
}

impl Verified {
    /// Of a log without entries.
    pub const NOTHING: Self = Self { entries: 0, erased: 0, last: (0, BEGINNING), broken: None };
}

/// The audit log. Entries about changes are written with the changes.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Writes an entry about something that changed nothing.
    async fn record(&self, project: ProjectId, entry: Entry) -> Result<()>;

    /// Entries, newest or oldest first.
    async fn list_audit(&self, view: View, filter: &AuditFilter, page: PageRequest)
    -> Result<Page<Recorded>>;

    /// Checks the log of a project from its first entry to its last.
    async fn verify_audit(&self, project: ProjectId) -> Result<Verified>;

    /// Forgets entries from before a time; at most `limit`. Gives how many those were.
    async fn forget_audit(&self, before: Timestamp, limit: u32) -> Result<u64>;
}
