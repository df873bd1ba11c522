//! What the sentences have in common: a project, a tenant, an endpoint.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::attempt::{Answer, Attempt, ErrorClass, Phases, Trigger};
use model::audit::{Action, Actor, Entry};
use model::calls::CallOptions;
use model::clock::{ManualClock, Timestamp};
use model::delivery::DeliveryStatus;
use model::endpoint::{ActiveSecret, Credentials, CustomHeader, Endpoint, EndpointStatus};
use model::entropy::SeededEntropy;
use model::event::{EventData, Labels};
use model::event_type::EventType;
use model::failure::Verdict;
use model::ids::{AttemptId, DeliveryId, EndpointId, ProcessId, TenantId};
use model::names::{ProjectName, Subject, TenantHandle};
use model::payload::PayloadMode;
use model::retry::NextReason;
use model::secret::SigningSecret;

use super::Backend;
use crate::access::Project;
use crate::deliveries::Finished;
use crate::endpoints::SecretEndpoint;
use crate::events::{Publish, Published};
use crate::hand_off::{Fate, HandOff, ReadyDelivery, Reservation};
use crate::idempotency::Performed;
use crate::lanes::{ClaimDue, Cursor, Epoch, TakenLane};
use crate::page::{Order, PageRequest};
use crate::tenants::{Created, Tenant};
use crate::{Edited, Env, SharedStore, View};

/// An open store with a project, a tenant `acme`, and an endpoint that wants
/// everything.
pub struct Scene {
    /// The database.
    pub backend: Arc<dyn Backend>,
    /// The clock of the store.
    pub clock: Arc<ManualClock>,
    /// Clock and randomness.
    pub env: Env,
    /// The open store.
    pub store: SharedStore,
    /// The project.
    pub project: Project,
    /// The tenant `acme`.
    pub tenant: Tenant,
    /// Its endpoint, which wants everything.
    pub endpoint: Endpoint,
}

/// What the audit log is to say of a change in a test.
pub fn entry() -> Entry {
    Entry::by(Actor::CommandLine, Action::ProjectUpdated, "a test")
}

const START: Timestamp = Timestamp::from_secs(1_795_262_400);

impl Scene {
    /// Sets the scene.
    pub async fn open(backend: Arc<dyn Backend>) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let env = Env::new(clock.clone(), Arc::new(SeededEntropy::new(1)));
        let store = backend.open(env.clone()).await;
        let name = ProjectName::parse("shop").expect("a name");
        let project = store.ensure_project(&name, entry()).await.expect("a project");
        let tenant = new_tenant(&env, &project, "acme");
        let created = store.create_tenant(&tenant, None, entry()).await.expect("a tenant");
        assert!(matches!(created, Performed::First(Created::New)));
        let new = new_endpoint(&env, &tenant);
        let endpoint = new.endpoint.clone();
        store.create_endpoint(&new, 50, None, entry()).await.expect("an endpoint");
        Self { backend, clock, env, store, project, tenant, endpoint }
    }

    /// Everything of the project.
    pub fn view(&self) -> View {
        View { project: self.project.id, tenant: None }
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.env.now()
    }

    /// Lets time pass, in seconds.
    pub fn advance(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    /// Adds a tenant.
    pub async fn add_tenant(&self, handle: &str) -> Tenant {
        let tenant = new_tenant(&self.env, &self.project, handle);
        self.store.create_tenant(&tenant, None, entry()).await.expect("a tenant");
        tenant
    }

    /// Adds an endpoint that wants everything, changed a little.
    pub async fn add_endpoint(&self, tenant: &Tenant, change: impl FnOnce(&mut Endpoint)) -> Endpoint {
        let mut new = new_endpoint(&self.env, tenant);
        change(&mut new.endpoint);
        self.store.create_endpoint(&new, 1_000, None, entry()).await.expect("an endpoint");
        new.endpoint
    }

    /// Changes the endpoint.
    pub async fn change_endpoint(&self, change: impl FnOnce(&mut Endpoint)) {
        let secret = self.store.find_endpoint(self.view(), self.tenant.id, self.endpoint.id).await;
        let mut after = secret.expect("reads").expect("an endpoint").endpoint;
        let expected = after.updated_at;
        change(&mut after);
        self.clock.advance(Duration::from_millis(1));
        after.updated_at = self.now();
        assert_eq!(
            self.store.update_endpoint(&after, expected, entry()).await.expect("updates"),
            Edited::Done
        );
    }

    /// Enables, pauses or disables the endpoint.
    pub async fn set_status(&self, status: EndpointStatus) {
        self.change_endpoint(|endpoint| endpoint.status = status).await;
    }

    /// An event for the tenant.
    pub fn event(&self, subject: &str) -> Publish {
        event_of_type(&self.project, self.tenant.id, "order.paid", subject)
    }

    /// The attempts of a delivery, in their order, read in pages of two.
    pub async fn attempts(&self, id: DeliveryId) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        let mut request = PageRequest { limit: 2, after: None, order: Order::Ascending };
        loop {
            let page = self.store.list_attempts(self.view(), id, request).await.expect("reads");
            let page = page.expect("is there");
            attempts.extend(page.rows);
            match page.next {
                Some(next) => request.after = Some(next),
                None => return attempts,
            }
        }
    }

    /// Publishes one event, and gives its only delivery.
    pub async fn publish_one(&self, subject: &str) -> DeliveryId {
        let published = self.store.publish(self.event(subject)).await.expect("publishes");
        let Published::Accepted { event, .. } = published else { panic!("accepted, not {published:?}") };
        let page = self.store.deliveries_of_event(self.view(), event, Default::default()).await;
        page.expect("lists").rows[0].id
    }

    /// A process that has just joined.
    pub async fn new_process(&self) -> ProcessId {
        let process = self.env.new_id::<ProcessId>();
        self.store.join(process).await.expect("joins");
        process
    }

    /// Takes the lane of the endpoint for a new process.
    pub async fn take_lane(&self) -> TakenLane {
        let process = self.new_process().await;
        let taken = self.store.take_lanes(process, &[self.endpoint.id]).await.expect("takes");
        taken.into_iter().next().expect("the lane was free")
    }

    /// What a claim for the endpoint's lane wants.
    pub fn wish(&self, epoch: Epoch, now: Timestamp, limit: u32) -> ClaimDue {
        let endpoint = self.endpoint.id;
        ClaimDue { endpoint, epoch, now, limit, max_bytes: 1 << 20, after: Cursor::START }
    }

    /// Claims what is due for the endpoint.
    pub async fn claim(&self, epoch: Epoch, limit: u32) -> Vec<ReadyDelivery> {
        let claimed = self.store.claim_due(self.wish(epoch, self.now(), limit)).await;
        claimed.expect("claims").ready
    }

    /// An attempt of a delivery in hand that was answered with `http_status`.
    pub fn finished(&self, ready: &ReadyDelivery, http_status: u16, status: DeliveryStatus) -> Arc<Finished> {
        let next = status.is_waiting().then(|| self.now().plus(Duration::from_secs(5)));
        let reason = match status {
            DeliveryStatus::Delivered => NextReason::Delivered,
            DeliveryStatus::Retrying => NextReason::Backoff,
            _ => NextReason::GivenUp,
        };
        let mut spent = ready.spent;
        spent.tries += 1;
        Arc::new(Finished {
            project: self.project.id,
            endpoint: ready.endpoint,
            epoch: ready.epoch,
            attempt: Attempt {
                id: self.env.new_id::<AttemptId>(),
                delivery: ready.id,
                number: ready.attempts + 1,
                trigger: ready.trigger,
                started_at: self.now(),
                phases: Phases {
                    dns: None,
                    connect: Some(Duration::from_micros(1_500)),
                    first_byte: Some(Duration::from_micros(9_250)),
                    total: Duration::from_micros(10_125),
                },
                remote_ip: Some("203.0.113.7".parse().expect("an address")),
                http_version: Some("HTTP/1.1"),
                request_headers: vec![("webhook-id".into(), ready.event.id.to_string())],
                answer: Some(Answer {
                    status: http_status,
                    headers: vec![("server".into(), "test".to_owned())],
                    body: b"\xff\x00body".to_vec(),
                    truncated: true,
                }),
                error_class: ErrorClass::of_status(http_status),
                error_detail: None,
                next_attempt_at: next,
                next_reason: reason,
            },
            verdict: Verdict { status, next_attempt_at: next, reason, spent, hold_until: None },
            health: None,
        })
    }

    /// Publishes, claims and finishes one delivery.
    pub async fn deliver(
        &self,
        epoch: Epoch,
        subject: &str,
        http: u16,
        status: DeliveryStatus,
    ) -> DeliveryId {
        let id = self.publish_one(subject).await;
        let ready = self.claim(epoch, 10).await;
        assert_eq!(ready.len(), 1);
        self.store.finish(self.finished(&ready[0], http, status)).await.expect("finishes");
        id
    }
}

fn new_tenant(env: &Env, project: &Project, handle: &str) -> Tenant {
    let now = env.now();
    Tenant {
        id: env.new_id::<TenantId>(),
        project: project.id,
        handle: TenantHandle::parse(handle).expect("a handle"),
        name: format!("Customer {handle}"),
        metadata: "{}".to_owned(),
        contacts: vec!["ops@acme.example".to_owned()],
        paused_at: None,
        created_at: now,
        updated_at: now,
    }
}

fn new_endpoint(env: &Env, tenant: &Tenant) -> SecretEndpoint {
    let now = env.now();
    SecretEndpoint {
        endpoint: Endpoint {
            id: env.new_id::<EndpointId>(),
            project: tenant.project,
            tenant: tenant.id,
            url: "https://example.com/hook".parse().expect("a URL"),
            description: String::new(),
            subscriptions: vec!["*".parse().expect("a pattern")],
            payload: PayloadMode::Full,
            headers: vec![CustomHeader { name: "x-api-key".to_owned(), value: "sesame".to_owned().into() }],
            timeout: Some(Duration::from_secs(15)),
            calls: CallOptions::default(),
            credentials: Credentials::default(),
            status: EndpointStatus::Enabled,
            disabled_reason: None,
            missed_since: None,
            metadata: "{}".to_owned(),
            created_at: now,
            updated_at: now,
        },
        secrets: vec![ActiveSecret {
            secret: SigningSecret::generate(env.entropy.as_ref()),
            expires_at: None,
        }],
    }
}

/// An event to publish.
pub fn event_of_type(project: &Project, tenant: TenantId, event_type: &str, subject: &str) -> Publish {
    Publish {
        project: project.id,
        tenant,
        event_type: EventType::parse(event_type).expect("a type"),
        schema_version: 1,
        subject: Subject::parse(subject).expect("a subject"),
        revision: Some(7),
        occurred_at: None,
        ordering_key: None,
        labels: Labels::parse(vec![("region".to_owned(), "eu".to_owned())]).expect("labels"),
        data: EventData::parse(r#"{"total": 1.10, "id": 9007199254740993}"#, 1_000).expect("data"),
        matched: None,
        key_use: None,
        test: None,
        endpoints: 0,
    }
}

/// A process that owns one lane and takes all that is handed to it.
pub(super) struct OneLane {
    pub(super) endpoint: EndpointId,
    pub(super) epoch: Epoch,
    pub(super) taken: Mutex<Vec<ReadyDelivery>>,
}

impl HandOff for OneLane {
    fn owns(&self, endpoint: EndpointId) -> bool {
        endpoint == self.endpoint
    }

    fn reserve(&self, endpoint: EndpointId, _: usize) -> Option<Epoch> {
        (endpoint == self.endpoint).then_some(self.epoch)
    }

    fn hand_over(&self, ready: Vec<ReadyDelivery>) {
        self.taken.lock().expect("not poisoned").extend(ready);
    }

    fn give_up(&self, _: &[Reservation], _: Fate) {}

    fn wake(&self, _: &[EndpointId]) {}

    fn wake_for_test(&self, _: EndpointId) {}

    fn lift_hold(&self, _: EndpointId) {}

    fn withdraw(&self, _: EndpointId, _: DeliveryId) {}
}

/// The trigger of most attempts.
pub(super) const AUTOMATIC: Trigger = Trigger::Automatic;
