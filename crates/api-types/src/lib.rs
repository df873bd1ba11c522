//! The JSON of the HTTP API, shared by the server and its clients.
//!
//! Requests refuse fields that they do not know. Answers may gain fields.

mod catalogue;
mod deliveries;
mod endpoints;
mod events;
mod keys;
mod meta;
mod page;
mod policies;
mod problem;
mod projects;
mod replays;
mod tenants;

pub use catalogue::{
    ApplyPlan, ApplyRequest, ApplyStep, CutOff, Dependent, Dependents, EventType, EventTypeRequest,
    EventTypes, Preview, PreviewedEvent, QuarantinePage, QuarantinedEvent, ReleaseRequest, SchemaBreak,
    Version, VersionCheck, VersionRequest, VersionSummary, Versions, Warning,
};
pub use deliveries::{
    Attempt, AttemptPage, Delivery, DeliveryPage, EndpointFailed, Milliseconds, ReplayRequest,
};
pub use endpoints::{
    ClientCertificateRequest, Endpoint, EndpointHealth, EndpointPage, EndpointRequest, EndpointWithSecret,
    FilterCheck, FilterCheckRequest, FilteredEvent, LastError, Missed, Oauth, OauthRequest, RotateSecret,
    ScenarioAnswer, Secret, TestAnswer, TestRequest,
};
pub use events::{
    BatchAnswer, BatchItem, BatchRequest, Event, EventPage, PublishAnswer, PublishRequest, Unmatched,
};
pub use keys::{Key, KeyPage, KeyRequest, KeyWithSecret, RotateKey};
pub use meta::Meta;
pub use page::Page;
pub use policies::{RetryPolicies, RetryPolicy, RetryPolicyRequest};
pub use problem::{FieldError, Problem};
pub use projects::{Project, ProjectChange};
pub use replays::{Replay, ReplayFilter, ReplayPage, ReplayPlan, ReplayWish};
pub use tenants::{Tenant, TenantPage, TenantRequest};

/// A JSON object of the caller's own, kept and given back.
pub type Metadata = serde_json::Map<String, serde_json::Value>;
