//! The audit log: who changed what, and who read what is confidential.
//!
//! An entry is written in the transaction of the change that it tells of. What it
//! says is one JSON text, its content; a [chain](chain) over the digests of all
//! contents shows whether one was changed or is missing. Publishing and delivering
//! have logs of their own, and are not in it.

pub mod chain;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::ids::{AuditId, InvalidId, KeyId, PortalSessionId, TenantId};
use crate::names::TenantHandle;

/// For how long entries are kept.
pub const KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// The longest state of a thing that an entry shows, in bytes of JSON.
pub const MAX_STATE: usize = 64 * 1024;

crate::words!(
    /// What was done.
    Action {
        /// A project was made.
        ProjectCreated = "project.created",
        /// The settings of the project were changed.
        ProjectUpdated = "project.updated",
        /// All deliveries of the project were held.
        ProjectPaused = "project.paused",
        /// The deliveries of the project were let go.
        ProjectResumed = "project.resumed",
        /// An API key was made.
        KeyCreated = "api_key.created",
        /// An API key was given a new secret.
        KeyRotated = "api_key.rotated",
        /// An API key was ended.
        KeyRevoked = "api_key.revoked",
        /// The data keys were wrapped with another master key.
        MasterKeyRotated = "master_key.rotated",
        /// A portal session was opened.
        SessionOpened = "portal_session.opened",
        /// The code of a portal session was exchanged for its token.
        SessionExchanged = "portal_session.exchanged",
        /// Portal sessions were ended.
        SessionEnded = "portal_session.ended",
        /// A tenant was made.
        TenantCreated = "tenant.created",
        /// What is known of a tenant was changed.
        TenantUpdated = "tenant.updated",
        /// All deliveries of a tenant were held.
        TenantPaused = "tenant.paused",
        /// The deliveries of a tenant were let go.
        TenantResumed = "tenant.resumed",
        /// A tenant was removed.
        TenantDeleted = "tenant.deleted",
        /// An endpoint was made.
        EndpointCreated = "endpoint.created",
        /// The settings of an endpoint were changed.
        EndpointUpdated = "endpoint.updated",
        /// An endpoint was removed.
        EndpointDeleted = "endpoint.deleted",
        /// An endpoint was disabled because of its answers.
        EndpointDisabled = "endpoint.disabled",
        /// The breaker of an endpoint was closed, and what waits was made due.
        EndpointReset = "endpoint.reset",
        /// An endpoint was given a new signing secret.
        SecretRotated = "endpoint.secret_rotated",
        /// A signing secret was read.
        SecretRead = "endpoint.secret_read",
        /// A retry policy was made.
        PolicyCreated = "retry_policy.created",
        /// A retry policy was changed.
        PolicyUpdated = "retry_policy.updated",
        /// A retry policy was removed.
        PolicyDeleted = "retry_policy.deleted",
        /// Event types were made or changed.
        CatalogueUpdated = "catalogue.updated",
        /// An event type was removed.
        EventTypeDeleted = "event_type.deleted",
        /// What is kept of a tenant or a subject is being erased.
        ErasureBegun = "erasure.begun",
        /// An event was released from quarantine.
        QuarantineReleased = "quarantine.released",
        /// An event in quarantine was dropped.
        QuarantineDropped = "quarantine.dropped",
        /// A delivery was sent again.
        DeliveryReplayed = "delivery.replayed",
        /// A delivery was withdrawn.
        DeliveryCanceled = "delivery.canceled",
        /// What was sent, or an answer, was read.
        PayloadRead = "payload.read",
        /// A replay of many deliveries was begun.
        ReplayCreated = "replay.created",
        /// A replay was paused.
        ReplayPaused = "replay.paused",
        /// A replay was let go on.
        ReplayResumed = "replay.resumed",
        /// A replay was canceled.
        ReplayCanceled = "replay.canceled",
    }
);

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Whoever has an API key.
    Key(KeyId),
    /// Whoever has a portal session.
    Session(PortalSessionId),
    /// An operator, on the command line.
    CommandLine,
    /// Posthorn by itself.
    Posthorn,
}

const COMMAND_LINE: &str = "command_line";
const POSTHORN: &str = "posthorn";

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Session(session) => session.fmt(f),
            Self::CommandLine => f.write_str(COMMAND_LINE),
            Self::Posthorn => f.write_str(POSTHORN),
        }
    }
}

/// A text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of an API key (key_…) or of a portal session (ses_…), {COMMAND_LINE} or {POSTHORN}")]
pub struct UnknownActor;

impl FromStr for Actor {
    type Err = UnknownActor;

    fn from_str(text: &str) -> Result<Self, UnknownActor> {
        let unknown = |_: InvalidId| UnknownActor;
        match text {
            COMMAND_LINE => Ok(Self::CommandLine),
            POSTHORN => Ok(Self::Posthorn),
            key if key.starts_with(KeyId::PREFIX) => key.parse().map(Self::Key).map_err(unknown),
            session => session.parse().map(Self::Session).map_err(unknown),
        }
    }
}

/// Who did something, and by which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Who.
    pub actor: Actor,
    /// From which address.
    pub address: Option<IpAddr>,
    /// The id of the request.
    pub request: Option<String>,
}

/// What the audit log is to say of one change, or of reading something confidential.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Who did it.
    pub author: Author,
    /// What was done.
    pub action: Action,
    /// To which thing: its id, or its name where it has none.
    pub target: String,
    /// The tenant that it is about.
    pub tenant: Option<(TenantId, TenantHandle)>,
    /// The thing before, as the API shows it: without secrets.
    pub before: Option<Value>,
    /// The thing after, as the API shows it.
    pub after: Option<Value>,
    /// Why, where that was asked.
    pub reason: Option<String>,
}

impl Entry {
    /// Of an action on a thing.
    pub fn new(author: Author, action: Action, target: impl fmt::Display) -> Self {
        Self {
            author,
            action,
            target: target.to_string(),
            tenant: None,
            before: None,
            after: None,
            reason: None,
        }
    }

    /// Of an action that no request asked for.
    pub fn by(actor: Actor, action: Action, target: impl fmt::Display) -> Self {
        Self::new(Author { actor, address: None, request: None }, action, target)
    }

    /// It is about a tenant.
    pub fn of_tenant(mut self, id: TenantId, handle: &TenantHandle) -> Self {
        self.tenant = Some((id, handle.clone()));
        self
    }

    /// What the thing was before, as the API shows it.
    pub fn before(mut self, state: &impl Serialize) -> Self {
        self.before = Some(shown(state));
        self
    }

    /// What the thing is now, as the API shows it.
    pub fn after(mut self, state: &impl Serialize) -> Self {
        self.after = Some(shown(state));
        self
    }

    /// Why it was done.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into()).filter(|reason| !reason.is_empty());
        self
    }
}

/// A state as it is kept: what is too long is left out, and said to be.
fn shown(state: &impl Serialize) -> Value {
    let value = serde_json::to_value(state).unwrap_or(Value::Null);
    let length = value.to_string().len();
    if length <= MAX_STATE { value } else { json!({ "left_out_bytes": length }) }
}

/// What an entry says, as it is kept: the text of this in JSON is its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// Its id.
    pub id: AuditId,
    /// Its place in the log of its project, from 1 on without a gap.
    pub number: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Who did it.
    pub actor: String,
    /// From which address.
    pub address: Option<IpAddr>,
    /// The id of the request.
    pub request: Option<String>,
    /// What was done: a word of [`Action`], or of a later version of it.
    pub action: String,
    /// To which thing.
    pub target: String,
    /// The tenant, as callers knew it then.
    pub tenant: Option<String>,
    /// The same, as the store knows it.
    pub tenant_id: Option<uuid::Uuid>,
    /// The thing before.
    pub before: Option<Value>,
    /// The thing after.
    pub after: Option<Value>,
    /// Why.
    pub reason: Option<String>,
}

impl Content {
    /// What an entry says that is written now.
    pub fn new(entry: Entry, id: AuditId, number: u64, at: Timestamp) -> Self {
        Self {
            id,
            number,
            at,
            actor: entry.author.actor.to_string(),
            address: entry.author.address,
            request: entry.author.request,
            action: entry.action.to_string(),
            target: entry.target,
            tenant_id: entry.tenant.as_ref().map(|(id, _)| id.0),
            tenant: entry.tenant.map(|(_, handle)| handle.to_string()),
            before: entry.before,
            after: entry.after,
            reason: entry.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn an_actor_is_read_as_it_is_written_and_nothing_else_is() {
        let id = Uuid::from_u128(7);
        for actor in
            [Actor::Key(KeyId(id)), Actor::Session(PortalSessionId(id)), Actor::CommandLine, Actor::Posthorn]
        {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
        for other in ["", "key_", "key_x", "evt_00000000000000000000000007", "Posthorn", "acme"] {
            assert_eq!(other.parse::<Actor>(), Err(UnknownActor), "{other}");
        }
    }

    #[test]
    fn a_state_that_is_too_long_is_left_out_and_said_to_be() {
        let entry =
            |text: String| Entry::by(Actor::Posthorn, Action::TenantUpdated, "acme").after(&text).after;
        assert_eq!(entry("x".repeat(MAX_STATE - 2)), Some(Value::from("x".repeat(MAX_STATE - 2))));
        assert_eq!(entry("x".repeat(MAX_STATE - 1)), Some(json!({ "left_out_bytes": MAX_STATE + 1 })));
    }
}
