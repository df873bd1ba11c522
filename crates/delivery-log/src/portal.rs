//! Portal sessions, which products open for their customers.

use async_trait::async_trait;

use model::access::TokenHash;
use model::audit::Entry;
use model::clock::Timestamp;
use model::ids::{KeyId, PortalSessionId, ProjectId, TenantId};
use model::portal::PortalSession;

use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::{Edited, Result, View};

/// What a session is opened by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTokens {
    /// The hash of the token that its opener got.
    pub token: TokenHash,
    /// The hash of the code in its link, until that was exchanged.
    pub code: Option<TokenHash>,
    /// Until when the code may be exchanged.
    pub code_until: Timestamp,
    /// The hash of the token that its page got for the code.
    pub page_token: Option<TokenHash>,
}

/// What became of a session that was to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOpened {
    /// It is good.
    Done,
    /// The tenant has as many as it may have.
    TooMany,
    /// The key that opens it was revoked, or the tenant deleted, meanwhile.
    Gone,
}

/// Whose sessions end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndSessions {
    /// This one of the tenant.
    One(TenantId, PortalSessionId),
    /// All of the tenant.
    OfTenant(TenantId),
    /// All that this key opened.
    OpenedBy(KeyId),
}

/// Portal sessions.
#[async_trait]
pub trait Portal: Send + Sync {
    /// Opens a session.
    async fn open_portal_session(
        &self,
        new: &PortalSession,
        tokens: SessionTokens,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<SessionOpened>>;

    /// The sessions of a tenant that have not ended and not run out.
    async fn list_portal_sessions(
        &self,
        view: View,
        tenant: TenantId,
        page: PageRequest,
    ) -> Result<Page<PortalSession>>;

    /// Ends sessions at once, in every process. Gives how many those were.
    async fn end_portal_sessions(&self, view: View, which: EndSessions, entry: Entry) -> Result<u64>;

    /// Gives the page of a session its token for the code, once. Outdated if the
    /// code was exchanged before, or is another, or the session has ended.
    async fn exchange_portal_code(
        &self,
        project: ProjectId,
        id: PortalSessionId,
        code: TokenHash,
        page_token: TokenHash,
        entry: Entry,
    ) -> Result<Edited>;

    /// Forgets sessions that ran out before `before`; at most `limit`. Gives how
    /// many those were.
    async fn forget_portal_sessions(&self, before: Timestamp, limit: u32) -> Result<u64>;
}
