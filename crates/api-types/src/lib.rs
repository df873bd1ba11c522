//! The JSON of the HTTP API, shared by the server and its clients.
//!
//! Requests refuse fields that they do not know. Answers may gain fields.

mod audit;
mod catalogue;
mod deliveries;
mod endpoints;
mod erasures;
mod events;
mod keys;
mod meta;
mod oauth;
mod page;
mod policies;
mod portal;
mod problem;
mod projects;
mod replays;
mod tenants;
pub mod words;

pub use audit::AuditEntry;
pub use catalogue::{
    ApplyPlan, ApplyRequest, ApplyStep, CutOff, Dependent, Dependents, EventType, EventTypeRequest,
    EventTypes, Preview, PreviewedEvent, QuarantinedEvent, ReleaseRequest, SchemaBreak, Version,
    VersionCheck, VersionRequest, VersionSummary, Versions, Warning,
};
pub use deliveries::{Attempt, Delivery, EndpointFailed, Milliseconds, ReplayRequest};
pub use endpoints::{
    ClientCertificateRequest, Endpoint, EndpointHealth, EndpointRequest, EndpointWithSecret, FilterCheck,
    FilterCheckRequest, FilteredEvent, LastError, Missed, Oauth, OauthRequest, RotateSecret, ScenarioAnswer,
    Secret, TestAnswer, TestOutcome, TestRequest,
};
pub use erasures::{ErasedCounts, Erasure, ErasureRequest};
pub use events::{BatchAnswer, BatchItem, BatchRequest, Event, PublishAnswer, PublishRequest, Unmatched};
pub use keys::{Key, KeyRequest, KeyWithSecret, RotateKey};
pub use meta::Meta;
pub use oauth::{OauthError, OauthToken, OauthTokenRequest};
pub use page::Page;
pub use policies::{RetryPolicies, RetryPolicy, RetryPolicyRequest};
pub use portal::{
    EndedPortalSessions, ExchangedPortalCode, OpenedPortalSession, PortalCode, PortalSession,
    PortalSessionRequest, PortalTheme,
};
pub use problem::{Code as ProblemCode, FieldError, Problem};
pub use projects::{Project, ProjectChange};
pub use replays::{Replay, ReplayFilter, ReplayPlan, ReplayWish};
pub use tenants::{Tenant, TenantRequest};

/// A JSON object of the caller's own, kept and given back.
pub type Metadata = serde_json::Map<String, serde_json::Value>;
