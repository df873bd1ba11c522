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
        let entry = Entry::new(author(caller), action, target);
        match caller.view().tenant {
            Some(own) => self.of_tenant(entry, own),
            None => entry,
        }
    }

    /// The same of a change to something that belongs to a tenant.
    pub(crate) fn entry_in(
        &self,
        caller: &Caller,
        tenant: TenantId,
        action: Action,
        target: impl Display,
    ) -> Entry {
        self.of_tenant(Entry::new(author(caller), action, target), tenant)
    }

    fn of_tenant(&self, entry: Entry, id: TenantId) -> Entry {
        match self.store.configuration().tenant_by_id(id) {
            Some(tenant) => entry.of_tenant(id, &tenant.handle),
            None => entry,
        }
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

fn author(caller: &Caller) -> Author {
    Author { actor: caller.actor(), address: request_context::address(), request: request_context::id() }
}
