//! The words of the API, as its description lists them.
//!
//! Requests and answers carry them as text, so that a client of today can read
//! what a later server answers. What is written here names the set that a field
//! is from; the sets themselves stand where they belong, most of them in `model`.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

model::words!(
    /// Whether an endpoint is called: its circuit breaker.
    Breaker {
        /// All goes.
        Closed = "closed",
        /// All is held.
        Open = "open",
        /// Single probes go.
        HalfOpen = "half_open",
    }
);

model::words!(
    /// What has become of an event that was published.
    Publication {
        /// It is stored, and on its way.
        Accepted = "accepted",
        /// It waits in quarantine, because its data does not fit its schema.
        Quarantined = "quarantined",
    }
);

model::words!(
    /// What came of the test of a scenario.
    TestResult {
        /// The receiver answered as a good one does.
        Passed = "passed",
        /// It did not; `why` says how.
        Failed = "failed",
        /// Not all calls have ended: ask with `wait=10` to be told.
        Pending = "pending",
    }
);

model::words!(
    /// What a step of applying a catalogue does.
    StepAction {
        /// It makes a type or a version.
        Create = "create",
        /// It changes one.
        Change = "change",
    }
);

model::words!(
    /// How the body of an answer stands in the log.
    BodyEncoding {
        /// As it is.
        Text = "text",
        /// In base 64 (RFC 4648), because it is no text.
        Base64 = "base64",
    }
);

model::words!(
    /// In which order a list runs.
    ListOrder {
        /// The newest first.
        Descending = "desc",
        /// The oldest first.
        Ascending = "asc",
    }
);

/// Names a set of words in the description of the API.
macro_rules! described {
    ($($name:ident = $words:path;)+) => {$(
        #[doc = concat!("The words of [`", stringify!($words), "`] in the description of the API.")]
        #[derive(Debug)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                use $words as Words;
                one_of(Words::ABOUT, Words::WORDS, Words::MEANINGS)
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )+};
}

/// A text that is one of these words.
fn one_of(about: &str, words: &[&str], meanings: &[&str]) -> RefOr<Schema> {
    let mut description = about.trim().to_owned();
    for (word, meaning) in words.iter().zip(meanings) {
        description.push_str(&format!("\n- `{word}`: {}", meaning.trim()));
    }
    let schema = ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    Schema::Object(schema.enum_values(Some(words.iter().copied())).build()).into()
}

described! {
    ApplyAction = crate::words::StepAction;
    AuditAction = model::audit::Action;
    AttemptTrigger = model::attempt::Trigger;
    BreakerState = crate::words::Breaker;
    ColorScheme = model::portal::ColorScheme;
    DeliveryFailure = model::delivery::Failure;
    DeliveryStatus = model::delivery::VisibleStatus;
    EndpointStatus = model::endpoint::EndpointStatus;
    ErasureState = model::erasure::ErasureState;
    ErrorClass = model::attempt::ErrorClass;
    HeldBy = model::delivery::HeldBy;
    NextAttemptReason = model::retry::NextReason;
    NoMatchReason = model::endpoint::NoMatch;
    OauthAuthMethod = model::calls::TokenAuth;
    Order = crate::words::ListOrder;
    Ordering = model::calls::Ordering;
    PayloadFormat = model::calls::Format;
    PayloadMode = model::payload::PayloadMode;
    ProblemCode = crate::problem::Code;
    PublishStatus = crate::words::Publication;
    QuarantineState = model::quarantine::QuarantineState;
    ReplayMode = model::replay::ReplayMode;
    ReplayState = model::replay::ReplayState;
    ResponseBodyEncoding = crate::words::BodyEncoding;
    ScenarioResult = crate::words::TestResult;
    Signature = model::calls::SignatureScheme;
    SignatureHeaders = model::calls::SignatureHeaders;
    TestScenario = model::scenario::Scenario;
    UndeclaredTypes = model::project::UndeclaredTypes;
    UnknownTenant = model::project::UnknownTenant;
    Validation = model::project::Validation;
    VersionRelation = model::catalogue::Relation;
    VersionStatus = model::catalogue::VersionStatus;
}

/// The words of [`model::access::Scope`], and the one for all of them.
#[derive(Debug)]
pub struct Scope;

impl PartialSchema for Scope {
    fn schema() -> RefOr<Schema> {
        use model::access::Scope as Words;
        let words = [&["*"], Words::WORDS].concat();
        let meanings = [&["Everything, now and later."], Words::MEANINGS].concat();
        one_of(Words::ABOUT, &words, &meanings)
    }
}

impl ToSchema for Scope {
    fn name() -> Cow<'static, str> {
        "Scope".into()
    }
}
