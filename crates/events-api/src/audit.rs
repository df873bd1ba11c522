//! What the API tells the audit log: who changes what, and who reads what is
//! confidential.

pub(crate) mod reads;

use std::fmt::Display;

use model::access::Scope;
use model::audit::{Action, Author, Entry};
use model::ids::TenantId;

use crate::api::Api;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::request_context;

impl Api {
    /// What the audit log is to say of a change that a caller makes.
    pub(crate) fn entry(&self, caller: &Caller, action: Action, target: impl Display) -> Entry {
        self.entry_in(caller, caller.view().tenant, action, target)
    }

    /// The same of a change to something that belongs to a tenant.
    pub(crate) fn entry_in(
        &self,
        caller: &Caller,
        tenant: impl Into<Option<TenantId>>,
        action: Action,
        target: impl Display,
    ) -> Entry {
        let author = Author {
            actor: caller.actor(),
            address: request_context::address(),
            request: request_context::id(),
        };
        let entry = Entry::new(author, action, target);
        self.store.configuration().entry_about(entry, tenant.into())
    }

    /// The secret of a tenant's endpoint is read. By those who see all tenants, each
    /// time is written before it is answered; by a tenant of its own, it is counted.
    pub(crate) async fn note_secret_read(
        &self,
        caller: &Caller,
        tenant: TenantId,
        target: impl Display,
    ) -> Result<(), Problem> {
        if caller.view().tenant.is_some() {
            self.reads.count(caller, Action::SecretRead, self.now());
            return Ok(());
        }
        let entry = self.entry_in(caller, tenant, Action::SecretRead, target);
        Ok(self.store.record(caller.view().project, entry).await?)
    }

    /// Payloads or answers are shown, if the caller may read them. Programs do so
    /// all the time: it is counted.
    pub(crate) fn note_payload_read(&self, caller: &Caller) {
        if caller.may(Scope::PayloadsRead) {
            self.reads.count(caller, Action::PayloadRead, self.now());
        }
    }
}
