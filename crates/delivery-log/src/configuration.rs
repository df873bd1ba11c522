//! What the hot path needs to know, in memory: projects, keys, tenants and
//! endpoints.
//!
//! Every change of configuration raises a version in the store and stamps
//! the changed rows with it, so that a process reads only what changed since
//! it looked last. Publishing compares versions within its transaction, so a
//! new endpoint misses no event, whoever made it.

mod sessions;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock, RwLock};
use std::time::Duration;

use async_trait::async_trait;

use model::access::{ApiKey, TokenHash};
use model::audit::Entry;
use model::catalogue::EventTypeEntry;
use model::clock::Timestamp;
use model::endpoint::{ActiveSecret, CustomHeader, Endpoint, EndpointStatus};
use model::event_type::EventType;
use model::ids::{EndpointId, KeyId, PortalSessionId, ProjectId, TenantId};
use model::names::TenantHandle;
use model::operations::is_reserved;
use model::portal::PortalSession;
use model::retry::RetryPolicy;
use model::signature::Signer;

use self::sessions::Sessions;
use crate::Result;
use crate::access::{KeyTokens, Project};
use crate::durability::SecondMachine;
use crate::endpoints::SecretEndpoint;
use crate::hand_off::HandOff;
use crate::portal::SessionTokens;
use crate::tenants::Tenant;

/// An endpoint, ready to be called.
#[derive(Debug)]
pub struct LiveEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    signers: Vec<(Signer, Option<Timestamp>)>,
}

impl LiveEndpoint {
    fn new(secret: SecretEndpoint) -> Self {
        let scheme = secret.endpoint.calls.signature;
        let signer = |active: &ActiveSecret| (Signer::new(&active.secret, scheme), active.expires_at);
        let signers = secret.secrets.iter().map(signer).collect();
        Self { endpoint: secret.endpoint, signers }
    }

    /// The signatures of a body with every secret that is active, for
    /// `webhook-signature`.
    pub fn sign(&self, id: &str, now: Timestamp, body: &[u8]) -> String {
        let active = self.signers.iter().filter(|(_, end)| end.is_none_or(|end| now < end));
        active.map(|(signer, _)| signer.sign(id, now, body)).collect::<Vec<_>>().join(" ")
    }

    /// The custom headers.
    pub fn headers(&self) -> &[CustomHeader] {
        &self.endpoint.headers
    }
}

/// A key as it is kept in memory.
#[derive(Debug, Clone)]
pub struct KnownKey {
    /// The key.
    pub key: ApiKey,
    /// The tokens that it answers to.
    pub tokens: KeyTokens,
}

/// A portal session as it is kept in memory.
#[derive(Debug, Clone)]
pub struct KnownSession {
    /// The session.
    pub session: PortalSession,
    /// What it is opened by.
    pub tokens: SessionTokens,
}

/// A row that changed: as it is now, or gone.
#[derive(Debug)]
pub enum Change {
    /// A project.
    Project(Project),
    /// A tenant.
    Tenant(Tenant),
    /// A tenant that was deleted.
    NoTenant(TenantId),
    /// An endpoint.
    Endpoint(Box<SecretEndpoint>),
    /// An endpoint that was deleted.
    NoEndpoint(TenantId, EndpointId),
    /// A retry policy of a project, or that it is gone.
    Policy(ProjectId, String, Option<RetryPolicy>),
    /// An event type of a project with its versions, or that it is gone.
    EventType(ProjectId, EventType, Option<EventTypeEntry>),
    /// A key.
    Key(Box<KnownKey>),
    /// A key that was revoked.
    NoKey(KeyId),
    /// A portal session.
    Session(Box<KnownSession>),
    /// A portal session that has ended.
    NoSession(PortalSessionId),
}

/// Which state of the configuration something is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Version {
    /// Counts the changes.
    pub number: i64,
    /// The history of the database that it is of. After a failover that is another
    /// one, in which a number may be something else.
    pub history: Arc<str>,
}

/// What is known of those that an event may go to.
pub(crate) struct ForEvent {
    /// As of this version.
    pub(crate) version: Version,
    /// The endpoints of the tenant; `None` if there is no such tenant.
    pub(crate) endpoints: Option<Vec<Arc<LiveEndpoint>>>,
    /// Its type, if that is in the catalogue.
    pub(crate) event_type: Option<Arc<EventTypeEntry>>,
}

#[derive(Default)]
struct State {
    version: Version,
    projects: HashMap<ProjectId, Arc<Project>>,
    tenants: HashMap<TenantId, Arc<Tenant>>,
    handles: HashMap<(ProjectId, TenantHandle), TenantId>,
    endpoints: HashMap<EndpointId, Arc<LiveEndpoint>>,
    of_tenant: HashMap<TenantId, Vec<EndpointId>>,
    policies: HashMap<(ProjectId, String), Arc<RetryPolicy>>,
    event_types: HashMap<ProjectId, BTreeMap<EventType, Arc<EventTypeEntry>>>,
    keys: HashMap<KeyId, Arc<KnownKey>>,
    tokens: HashMap<TokenHash, KeyId>,
    sessions: Sessions,
}

/// The configuration in memory, as of one version.
#[derive(Default)]
pub struct Configuration(RwLock<State>);

impl Configuration {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The version that this is.
    pub fn version(&self) -> i64 {
        self.read().version.number
    }

    /// The version, in its history.
    pub fn version_in_history(&self) -> Version {
        self.read().version.clone()
    }

    /// All that an event is matched with, as of one version.
    pub(crate) fn for_event(&self, project: ProjectId, tenant: TenantId, event_type: &EventType) -> ForEvent {
        let state = self.read();
        ForEvent {
            version: state.version.clone(),
            endpoints: state.endpoints_of(tenant),
            event_type: state.event_types.get(&project).and_then(|types| types.get(event_type)).cloned(),
        }
    }

    /// Goes on to `version` in the same history. Older news than what is known
    /// changes nothing.
    pub fn apply(&self, version: i64, history: &str, changes: Vec<Change>) {
        let mut state = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if version <= state.version.number || history != &*state.version.history {
            return;
        }
        state.version.number = version;
        for change in changes {
            state.apply(change);
        }
    }

    /// Forgets everything for what is so in another history.
    pub fn replace(&self, version: i64, history: &str, changes: Vec<Change>) {
        let version = Version { number: version, history: history.into() };
        let mut state = State { version, ..State::default() };
        for change in changes {
            state.apply(change);
        }
        *self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = state;
    }

    /// A project.
    pub fn project(&self, id: ProjectId) -> Option<Arc<Project>> {
        self.read().projects.get(&id).cloned()
    }

    /// The tenant that goes by this handle.
    pub fn tenant(&self, project: ProjectId, handle: &TenantHandle) -> Option<Arc<Tenant>> {
        let state = self.read();
        let id = state.handles.get(&(project, handle.clone()))?;
        state.tenants.get(id).cloned()
    }

    /// A tenant by the id that the store knows it by.
    pub fn tenant_by_id(&self, id: TenantId) -> Option<Arc<Tenant>> {
        self.read().tenants.get(&id).cloned()
    }

    /// What the audit log is to say, about a tenant that is known.
    pub fn entry_about(&self, entry: Entry, tenant: Option<TenantId>) -> Entry {
        match tenant.and_then(|id| self.tenant_by_id(id)) {
            Some(tenant) => entry.of_tenant(tenant.id, &tenant.handle),
            None => entry,
        }
    }

    /// An endpoint.
    pub fn endpoint(&self, id: EndpointId) -> Option<Arc<LiveEndpoint>> {
        self.read().endpoints.get(&id).cloned()
    }

    /// Whether an endpoint is called: neither it nor its tenant nor its project
    /// is paused, and it is not disabled. `None` if there is no such endpoint.
    pub fn is_called(&self, id: EndpointId) -> Option<bool> {
        self.terms(id).map(|(is_called, _)| is_called)
    }

    /// Whether an endpoint is called, and how many times a second at most.
    pub fn terms(&self, id: EndpointId) -> Option<(bool, Option<NonZeroU32>)> {
        let state = self.read();
        let endpoint = &state.endpoints.get(&id)?.endpoint;
        let tenant_paused =
            state.tenants.get(&endpoint.tenant).is_some_and(|tenant| tenant.paused_at.is_some());
        let project_paused =
            state.projects.get(&endpoint.project).is_some_and(|project| project.paused_at.is_some());
        let is_called = endpoint.status == EndpointStatus::Enabled && !tenant_paused && !project_paused;
        Some((is_called, endpoint.calls.rate_limit))
    }

    /// A retry policy of a project; `None` if there is none of this name.
    pub fn retry_policy(&self, project: ProjectId, name: &str) -> Option<Arc<RetryPolicy>> {
        let built_in = || RetryPolicy::built_in(name).map(Arc::new);
        // Read on every attempt, mostly for the first of them.
        if name == "standard" {
            static STANDARD: LazyLock<Arc<RetryPolicy>> = LazyLock::new(|| Arc::new(RetryPolicy::standard()));
            return Some(Arc::clone(&STANDARD));
        }
        built_in().or_else(|| self.read().policies.get(&(project, name.to_owned())).cloned())
    }

    /// All endpoints of a tenant, in the order in which they were made.
    /// `None` if there is no such tenant.
    pub fn endpoints_of(&self, tenant: TenantId) -> Option<Vec<Arc<LiveEndpoint>>> {
        self.read().endpoints_of(tenant)
    }

    /// How many endpoints a tenant has.
    pub fn count_endpoints(&self, tenant: TenantId) -> usize {
        self.read().of_tenant.get(&tenant).map_or(0, Vec::len)
    }

    /// An event type of a project, if it is in the catalogue.
    pub fn event_type(&self, project: ProjectId, name: &EventType) -> Option<Arc<EventTypeEntry>> {
        self.read().event_types.get(&project)?.get(name).cloned()
    }

    /// The catalogue of a project, by names.
    pub fn event_types(&self, project: ProjectId) -> Vec<Arc<EventTypeEntry>> {
        self.read().event_types.get(&project).into_iter().flat_map(|types| types.values().cloned()).collect()
    }

    /// All projects.
    pub fn all_projects(&self) -> Vec<Arc<Project>> {
        self.read().projects.values().cloned().collect()
    }

    /// All event types of all projects.
    pub fn all_event_types(&self) -> Vec<Arc<EventTypeEntry>> {
        self.read().event_types.values().flat_map(|types| types.values().cloned()).collect()
    }

    /// All endpoints of the tenants of a project, in no order; those of its
    /// operators are not among them.
    pub fn endpoints_in(&self, project: ProjectId) -> Vec<Arc<LiveEndpoint>> {
        let state = self.read();
        let own = state.endpoints.values().filter(|live| live.endpoint.project == project);
        let tenant = |live: &&Arc<LiveEndpoint>| state.tenants.get(&live.endpoint.tenant);
        own.filter(|live| tenant(live).is_some_and(|tenant| !is_reserved(&tenant.handle))).cloned().collect()
    }

    /// The key that answers to this token now.
    pub fn key(&self, token: &TokenHash, now: Timestamp) -> Option<Arc<KnownKey>> {
        let state = self.read();
        let known = state.keys.get(state.tokens.get(token)?)?;
        let good = known.tokens.any_is(now, |own| own == token);
        good.then(|| Arc::clone(known))
    }

    /// A key that was not revoked.
    pub fn key_by_id(&self, id: KeyId) -> Option<Arc<KnownKey>> {
        self.read().keys.get(&id).cloned()
    }

    /// The portal session that answers to this token now.
    pub fn session_by_token(&self, token: &TokenHash, now: Timestamp) -> Option<Arc<KnownSession>> {
        self.read().sessions.by_token(token).filter(|known| known.session.is_current(now))
    }

    /// A portal session that has not ended or run out.
    pub fn session(&self, id: PortalSessionId, now: Timestamp) -> Option<Arc<KnownSession>> {
        self.read().sessions.get(id).filter(|known| known.session.is_current(now))
    }
}

impl State {
    fn endpoints_of(&self, tenant: TenantId) -> Option<Vec<Arc<LiveEndpoint>>> {
        self.tenants.get(&tenant)?;
        let ids = self.of_tenant.get(&tenant).map_or(&[][..], Vec::as_slice);
        Some(ids.iter().filter_map(|id| self.endpoints.get(id).cloned()).collect())
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Project(project) => {
                self.projects.insert(project.id, Arc::new(project));
            }
            Change::Tenant(tenant) => {
                self.handles.insert((tenant.project, tenant.handle.clone()), tenant.id);
                self.tenants.insert(tenant.id, Arc::new(tenant));
            }
            Change::NoTenant(id) => {
                let Some(known) = self.tenants.remove(&id) else { return };
                let handle = (known.project, known.handle.clone());
                // The handle may already belong to a successor.
                if self.handles.get(&handle) == Some(&id) {
                    self.handles.remove(&handle);
                }
            }
            Change::Endpoint(secret) => {
                let (tenant, id) = (secret.endpoint.tenant, secret.endpoint.id);
                let ids = self.of_tenant.entry(tenant).or_default();
                if let Err(place) = ids.binary_search(&id) {
                    ids.insert(place, id);
                }
                self.endpoints.insert(id, Arc::new(LiveEndpoint::new(*secret)));
            }
            Change::NoEndpoint(tenant, id) => {
                self.endpoints.remove(&id);
                if let Some(ids) = self.of_tenant.get_mut(&tenant) {
                    ids.retain(|other| *other != id);
                }
            }
            Change::Policy(project, name, Some(policy)) => {
                self.policies.insert((project, name), Arc::new(policy));
            }
            Change::Policy(project, name, None) => drop(self.policies.remove(&(project, name))),
            Change::EventType(project, name, Some(entry)) => {
                self.event_types.entry(project).or_default().insert(name, Arc::new(entry));
            }
            Change::EventType(project, name, None) => {
                if let Some(types) = self.event_types.get_mut(&project) {
                    types.remove(&name);
                }
            }
            Change::Key(known) => {
                self.forget_tokens(known.key.id);
                self.tokens.insert(known.tokens.current, known.key.id);
                if let Some((previous, _)) = known.tokens.previous {
                    self.tokens.insert(previous, known.key.id);
                }
                self.keys.insert(known.key.id, Arc::new(*known));
            }
            Change::NoKey(id) => {
                self.forget_tokens(id);
                self.keys.remove(&id);
            }
            Change::Session(known) => self.sessions.insert(*known),
            Change::NoSession(id) => self.sessions.remove(id),
        }
    }

    fn forget_tokens(&mut self, id: KeyId) {
        if let Some(known) = self.keys.get(&id) {
            self.tokens.remove(&known.tokens.current);
            if let Some((previous, _)) = known.tokens.previous {
                self.tokens.remove(&previous);
            }
        }
    }
}

/// A store that keeps a [`Configuration`] up to date.
#[async_trait]
pub trait Configured: Send + Sync {
    /// What is known in memory.
    fn configuration(&self) -> &Configuration;

    /// Reads what changed since the version in memory. When this returns,
    /// every change that was committed before the call is known.
    async fn refresh(&self) -> Result<()>;

    /// Refreshes, unless that was done less than `age` ago.
    async fn ensure_fresh(&self, age: Duration) -> Result<()>;

    /// Who is told of committed deliveries from now on.
    fn connect(&self, hand_off: Arc<dyn HandOff>);

    /// Whether the database answers and its schema has all that this program
    /// was built for, and everything can be kept as is asked for.
    async fn check_ready(&self) -> Result<()>;

    /// How it stands with the second machine, where one is asked for.
    fn second_machine(&self) -> Option<SecondMachine>;

    /// Waits until all that was handed in is written, and closes the store.
    async fn close(&self);
}
