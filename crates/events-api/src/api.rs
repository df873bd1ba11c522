//! What every handler works with.

use std::path::PathBuf;
use std::sync::Arc;

use delivery_log::tenants::Tenant;
use delivery_log::{Env, SharedStore};
use model::address::TargetPolicy;
use model::audit::Entry;
use model::clock::Timestamp;
use model::ids::{ProjectId, TenantId};
use model::names::TenantHandle;
use model::operations;

use crate::audit::reads::Reads;
use crate::auth::Caller;
use crate::catalogue::reasoning::Turn;
use crate::key_uses::KeyUses;
use crate::limits::{Limits, RequestRates};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::problem::Problem;

/// Asks whether something can work, and if not, why.
#[derive(Clone)]
pub struct Readiness(Arc<dyn Fn() -> Result<(), &'static str> + Send + Sync>);

impl Readiness {
    /// By asking this.
    pub fn new(ask: impl Fn() -> Result<(), &'static str> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        (self.0)()
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Readiness")
    }
}

/// How the API works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which addresses endpoints may have.
    pub targets: TargetPolicy,
    /// The networks from which calls come, as the operator states them.
    pub egress_addresses: Vec<ipnet::IpNet>,
    /// The greatest length of an event's `data`, in bytes.
    pub max_data_bytes: usize,
    /// Whether the other parts of the process can work, beside the store.
    pub others_ready: Readiness,
    /// How many endpoints a tenant may have.
    pub max_endpoints_per_tenant: usize,
    /// The proxies whose word counts for where a request comes from.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// How many threads serve requests.
    pub workers: usize,
    /// How many connections callers may have, all together.
    pub max_connections: usize,
    /// How often callers may ask.
    pub request_rates: RequestRates,
    /// Where the outside reaches this API, for links to the portal.
    pub public_url: String,
    /// How many connections operators may have.
    pub max_operator_connections: usize,
    /// The program that answers questions about schemas, when it is run with
    /// the argument `reason`.
    pub program: PathBuf,
}

/// What every handler works with.
pub(crate) struct Api {
    pub(crate) store: SharedStore,
    pub(crate) env: Env,
    pub(crate) settings: Settings,
    pub(crate) metrics: Metrics,
    /// Whose turn it is to check a change of the catalogue.
    pub(crate) catalogue_turn: Turn,
    /// What requests and answers hold in memory.
    pub(crate) memory: Memory,
    /// The last uses of keys that are not written yet.
    pub(crate) key_uses: KeyUses,
    /// Reads that are counted for the audit log.
    pub(crate) reads: Reads,
    /// How often callers have asked lately.
    pub(crate) limits: Limits,
}

impl Api {
    /// Where the outside reaches this API, without a slash at the end.
    pub(crate) fn public_url(&self) -> &str {
        self.settings.public_url.trim_end_matches('/')
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.env.now()
    }

    /// The tenant in a path, if the caller may see it.
    pub(crate) async fn tenant(&self, caller: &Caller, handle: &str) -> Result<Arc<Tenant>, Problem> {
        let missing = || Problem::not_found("tenant");
        let handle = TenantHandle::parse(handle).map_err(|_| missing())?;
        self.find_tenant(caller, &handle).await?.ok_or_else(missing)
    }

    /// A tenant by its handle, from memory, or from the store if it is new.
    pub(crate) async fn find_tenant(
        &self,
        caller: &Caller,
        handle: &TenantHandle,
    ) -> Result<Option<Arc<Tenant>>, Problem> {
        let view = caller.view();
        if let Some(own) = view.tenant {
            // One that is there and one that is not take the same time.
            let own = self.store.configuration().tenant_by_id(own);
            return Ok(own.filter(|own| own.handle == *handle));
        }
        let known = || self.store.configuration().tenant(view.project, handle);
        let tenant = match known() {
            Some(tenant) => Some(tenant),
            None => {
                self.store.refresh().await?;
                known()
            }
        };
        // The platform's own tenants are nobody's to name.
        Ok(tenant.filter(|tenant| !operations::is_reserved(&tenant.handle)))
    }

    /// Makes the tenant of a name that nobody knows yet, and gives it. If another
    /// request makes it first, that one is given; none if the project is gone.
    pub(crate) async fn make_tenant(
        &self,
        project: ProjectId,
        handle: &TenantHandle,
        name: &str,
        entry: Entry,
    ) -> Result<Option<Arc<Tenant>>, Problem> {
        let now = self.now();
        let tenant = Tenant {
            id: self.env.new_id::<TenantId>(),
            project,
            handle: handle.clone(),
            name: name.to_owned(),
            metadata: "{}".to_owned(),
            contacts: Vec::new(),
            paused_at: None,
            created_at: now,
            updated_at: now,
        };
        let entry = entry.of_tenant(tenant.id, handle);
        self.store.create_tenant(&tenant, None, entry).await?;
        self.store.refresh().await?;
        Ok(self.store.configuration().tenant(project, handle))
    }

    /// When a thing that is changed now was changed: later than ever before,
    /// so that its `ETag` is a new one.
    pub(crate) fn change_time(&self, before: Timestamp) -> Timestamp {
        self.now().max(Timestamp::from_micros(before.as_micros() + 1))
    }
}
