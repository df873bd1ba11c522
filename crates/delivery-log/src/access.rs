//! Projects, and the API keys that open them.

use async_trait::async_trait;

use model::access::{ApiKey, Grant, LastUse, TokenHash};
use model::audit::Entry;
use model::clock::Timestamp;
use model::ids::{KeyId, ProjectId, TenantId};
use model::names::ProjectName;
use model::project::{UndeclaredTypes, UnknownTenant, Validation};
use model::vault::MasterKey;

use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::{Edited, Result, View};

/// An isolated namespace of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: ProjectName,
    /// What happens to an event for a tenant that does not exist.
    pub unknown_tenant: UnknownTenant,
    /// What happens to an event of a type that is not in the catalogue.
    pub undeclared_types: UndeclaredTypes,
    /// What happens to an event whose data does not fit its schema.
    pub validation: Validation,
    /// For how many days events and what became of them are kept.
    pub retention_days: u32,
    /// Since when none of its endpoints is called, if that is so.
    pub paused_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// For how many days events are kept, unless a project says otherwise.
pub const DEFAULT_RETENTION_DAYS: u32 = 30;

/// A token that a key answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTokens {
    /// The hash of the token.
    pub current: TokenHash,
    /// The token before it, and until when it is good.
    pub previous: Option<(TokenHash, Timestamp)>,
}

impl KeyTokens {
    /// Whether one of the tokens that are good now is the one that is meant.
    pub fn any_is(&self, now: Timestamp, is_meant: impl Fn(&TokenHash) -> bool) -> bool {
        is_meant(&self.current) || self.previous.is_some_and(|(token, end)| now < end && is_meant(&token))
    }
}

/// How many keys a project can have that are bound to no tenant.
pub const MAX_KEYS: usize = 1_000;
/// How many keys can be bound to one tenant.
pub const MAX_KEYS_OF_TENANT: usize = 100;

/// How many keys there can be like one that is bound so.
pub(crate) fn most_keys(tenant: Option<TenantId>) -> i64 {
    let most = if tenant.is_some() { MAX_KEYS_OF_TENANT } else { MAX_KEYS };
    most as i64
}

/// What became of a wish for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyCreated {
    /// It was made.
    Done,
    /// There are as many as there may be.
    TooMany,
    /// The tenant that it is to be bound to was deleted meanwhile.
    NoTenant,
}

/// What becomes of the portal sessions that a key opened, when the key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionsOfKey {
    /// They go on until they end by themselves.
    GoOn,
    /// They end with it.
    End,
}

/// Projects and API keys.
#[async_trait]
pub trait Access: Send + Sync {
    /// The project of this name, made if it is not there.
    async fn ensure_project(&self, name: &ProjectName, entry: Entry) -> Result<Project>;

    /// A project.
    async fn find_project(&self, id: ProjectId) -> Result<Option<Project>>;

    /// Replaces a project's settings, if `expected` is still its last change.
    async fn update_project(&self, project: &Project, expected: Timestamp, entry: Entry) -> Result<Edited>;

    /// Holds what waits for all endpoints of a project from now on, or lets it go.
    async fn pause_project(&self, id: ProjectId, paused: bool, entry: Entry) -> Result<Option<Project>>;

    /// Adds a key that answers to a token.
    async fn create_key(
        &self,
        key: &ApiKey,
        token: TokenHash,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<KeyCreated>>;

    /// A key, with the project's view or that of a tenant it is bound to.
    async fn find_key(&self, view: View, id: KeyId) -> Result<Option<ApiKey>>;

    /// The keys of a project; those alone that were not used since a time and are
    /// older, if one is given.
    async fn list_keys(
        &self,
        view: View,
        unused_since: Option<Timestamp>,
        page: PageRequest,
    ) -> Result<Page<ApiKey>>;

    /// Writes when and from where keys were used, unless a later use is known.
    async fn note_key_uses(&self, uses: &[(KeyId, LastUse)]) -> Result<()>;

    /// The keys of the whole deployment with their projects, for its operator.
    async fn list_all_keys(&self) -> Result<Vec<(ProjectName, ApiKey)>>;

    /// A grant, sealed: whoever has it cannot read or change it, and every process of
    /// this store can open it.
    fn seal_grant(&self, grant: &Grant) -> Vec<u8>;

    /// What was sealed so; `None` if it was not, or not by this store.
    fn open_grant(&self, sealed: &[u8]) -> Option<Grant>;

    /// Wraps the data keys with another master key, and gives how many there are.
    /// Processes that run know them already; who opens the store from now on needs
    /// `to`. `None` if they are not wrapped with `from`.
    async fn rotate_master_key(&self, from: &MasterKey, to: &MasterKey) -> Result<Option<usize>>;

    /// Gives a key a new token, if `expected` is still its last change; the one
    /// before stays good until `overlap_until`.
    async fn rotate_key(
        &self,
        key: &ApiKey,
        expected: Timestamp,
        token: TokenHash,
        overlap_until: Timestamp,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<Edited>>;

    /// Ends a key at once, if `expected` is still its last change.
    async fn revoke_key(
        &self,
        view: View,
        id: KeyId,
        expected: Timestamp,
        sessions: SessionsOfKey,
        entry: Entry,
    ) -> Result<Edited>;

    /// Ends a key of whatever project, for the operator of the deployment; or the
    /// sessions alone of one that was revoked before.
    async fn revoke_any_key(&self, id: KeyId, sessions: SessionsOfKey, entry: Entry) -> Result<Edited>;
}
