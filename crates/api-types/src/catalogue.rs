//! The catalogue: event types, versions of their schemas, and events that do
//! not fit them.

use model::clock::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::words;

/// Tells a field that is null from one that is not there.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// An event type to be made or changed. What is not given stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventTypeRequest {
    /// Its name, such as `invoice.paid`. Only when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How many bytes of data its events should have at most; a warning is given beyond.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    pub size_budget_bytes: Option<Option<u32>>,
    /// Its first versions. Only when it is made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<VersionRequest>,
}

/// A version to be made or changed. What is not given stays; `schema`,
/// `example` and `downgrade` are replaced as a whole.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionRequest {
    /// Its number; the next one if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub number: Option<u32>,
    /// A JSON Schema of draft 2020-12 or draft-07, kept as it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub schema: Option<Box<RawValue>>,
    /// Data as it may be, which test calls send.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    pub example: Option<Box<RawValue>>,
    /// What changed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changelog: Option<String>,
    /// `active`, `deprecated` or `retired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::VersionStatus>)]
    pub status: Option<String>,
    /// When a deprecated version goes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sunset_at: Option<Option<Timestamp>>,
    /// How its data becomes data of the version before: `{"steps":[{"rename":"/total_cents","to":"total"},
    /// {"move":"/a","to":"/b/c"},{"drop":"/x"},{"default":"/y","value":1},{"map":"/s","values":{"a":"b"},
    /// "otherwise":"c"}],"at_sunset":"stop"}`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    pub downgrade: Option<Value>,
}

/// An event type.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EventType {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// How many bytes of data its events should have at most.
    pub size_budget_bytes: Option<u32>,
    /// The version that is published unless another is named.
    pub newest_version: Option<u32>,
    /// Its versions, without their schemas.
    pub versions: Vec<VersionSummary>,
    /// What could be better, after a change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it or one of its versions last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// Event types.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EventTypes {
    /// By their names, all of them.
    pub data: Vec<EventType>,
    /// Always null: there is one page.
    pub next_cursor: Option<String>,
}

/// A version, in short.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VersionSummary {
    /// Its number.
    #[schema(minimum = 1)]
    pub number: u32,
    /// `active`, `deprecated` or `retired`.
    #[schema(value_type = words::VersionStatus)]
    pub status: String,
    /// What it is to the one before: `first`, `compatible`, `downgrade` or `breaking`.
    #[schema(value_type = words::VersionRelation)]
    pub relation: String,
    /// When it goes.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sunset_at: Option<Timestamp>,
}

/// A version of an event type.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Its number.
    #[schema(minimum = 1)]
    pub number: u32,
    /// Its schema, as it was written.
    #[schema(value_type = Object)]
    pub schema: Box<RawValue>,
    /// Data as it may be.
    #[schema(value_type = Option<Object>)]
    pub example: Option<Box<RawValue>>,
    /// What changed.
    pub changelog: String,
    /// `active`, `deprecated` or `retired`.
    #[schema(value_type = words::VersionStatus)]
    pub status: String,
    /// Since when it is deprecated.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub deprecated_at: Option<Timestamp>,
    /// When it goes.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sunset_at: Option<Timestamp>,
    /// The version that its pinned endpoints get since it is retired; none if they get nothing.
    pub successor: Option<u32>,
    /// How its data becomes data of the version before.
    #[schema(value_type = Option<Object>)]
    pub downgrade: Option<Value>,
    /// What it is to the one before: `first`, `compatible`, `downgrade` or `breaking`.
    #[schema(value_type = words::VersionRelation)]
    pub relation: String,
    /// What could be better, after a change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// Versions of an event type.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Versions {
    /// From the first on, all of them.
    pub data: Vec<Version>,
    /// Always null: there is one page.
    pub next_cursor: Option<String>,
}

/// Something that does not stand in the way, and should be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// Where, as a JSON pointer into the request.
    pub pointer: String,
    /// `over_budget`, `schema`, `deprecated_version`, `downgrade` or `not_told`.
    pub code: String,
    /// What.
    pub detail: String,
}

/// What a change of a version would do.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct VersionCheck {
    /// Whether it would be accepted.
    pub accepted: bool,
    /// What it would be to the version before.
    #[schema(value_type = Option<words::VersionRelation>)]
    pub relation: Option<String>,
    /// How it differs from the version before, for receivers of that.
    pub breaks: Vec<SchemaBreak>,
    /// Why it would be refused.
    pub errors: Vec<crate::FieldError>,
    /// Endpoints that would get nothing more.
    pub cut_off: Vec<CutOff>,
    /// What could not be told, or could be better.
    pub warnings: Vec<Warning>,
}

/// A difference between two schemas that a receiver may stumble over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SchemaBreak {
    /// Where in the schema.
    pub pointer: String,
    /// Whether it breaks for certain, or cannot be told.
    pub certain: bool,
    /// What changed.
    pub detail: String,
}

/// An endpoint that a change would leave without events of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CutOff {
    /// The tenant.
    pub tenant: String,
    /// The endpoint.
    pub endpoint: String,
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The version that it is pinned to.
    pub version: u32,
}

/// Who depends on a version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Dependents {
    /// How many endpoints are pinned to it.
    pub endpoints: usize,
    /// Up to a hundred of them.
    pub data: Vec<Dependent>,
}

/// An endpoint that is pinned to a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dependent {
    /// The tenant.
    pub tenant: String,
    /// The endpoint.
    pub endpoint: String,
    /// The subscription that pins it.
    pub subscription: String,
    /// How many deliveries of the type it got in the last seven days, up to 10,000.
    pub deliveries_7d: u64,
    /// When the last of them was made.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_delivery_at: Option<Timestamp>,
}

/// The last events of a type in another version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// The newest first.
    pub data: Vec<PreviewedEvent>,
}

/// An event in another version.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PreviewedEvent {
    /// Its id.
    pub id: String,
    /// What it is about.
    pub subject: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    pub occurred_at: Timestamp,
    /// The version that it was published in.
    pub published_version: u32,
    /// Its data in the version that was asked for; what is sensitive is masked without `payloads:read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Box<RawValue>>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A catalogue to be applied: each type with its versions as they are to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The types. Others stay as they are.
    pub types: Vec<EventTypeRequest>,
    /// Shows what would be done, and does nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What applying a catalogue does.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ApplyPlan {
    /// Whether it was done.
    pub applied: bool,
    /// The steps.
    pub steps: Vec<ApplyStep>,
    /// What stands in the way.
    pub errors: Vec<crate::FieldError>,
    /// Endpoints that would get nothing more.
    pub cut_off: Vec<CutOff>,
    /// What could be better.
    pub warnings: Vec<Warning>,
}

/// A step of applying a catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApplyStep {
    /// `create` or `change`.
    #[schema(value_type = words::ApplyAction)]
    pub action: String,
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The version; none for the type itself.
    pub version: Option<u32>,
    /// What a new version is to the one before.
    #[schema(value_type = Option<words::VersionRelation>)]
    pub relation: Option<String>,
    /// What breaks for receivers of the version before, where there is no
    /// downgrade.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<SchemaBreak>,
}

/// An event that waits because its data does not fit its schema.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct QuarantinedEvent {
    /// Its id: `qua_…`. It becomes an event with an id of its own when it is released.
    pub id: String,
    /// The tenant.
    pub tenant: String,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The version of its schema.
    pub schema_version: u32,
    /// What it is about.
    pub subject: String,
    /// `held`, `released` or `dropped`.
    #[schema(value_type = words::QuarantineState)]
    pub state: String,
    /// The event that it became.
    pub event: Option<String>,
    /// Why it waits.
    pub errors: Vec<crate::FieldError>,
    /// Its data, for a reader with `payloads:read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Box<RawValue>>,
    /// When it was published.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// How to release an event from quarantine.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// Corrected data; as it was published if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Box<RawValue>>,
    /// The version to publish it in; if not given, the one that the publisher
    /// named, or the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u32>,
}
