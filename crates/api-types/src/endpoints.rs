//! Endpoints.

use std::collections::BTreeMap;

use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Metadata, Page};

/// An endpoint to be made, or what it is to become.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointRequest {
    /// Where it is called.
    pub url: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Names and patterns such as `invoice.paid`, `order.*`, `invoice.paid@1`; all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_types: Option<Vec<String>>,
    /// `full`, `thin` or `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// Sent with every call; values can be written and not read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// `whsec_…`, to bring a secret along; made if not given. Only when the endpoint is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// How long a call may take, 1 to 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// `enabled`, `paused` or `disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The caller's own notes.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Metadata,
}

/// A URL that a tenant registered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// The tenant.
    pub tenant: String,
    /// Where it is called.
    pub url: String,
    /// For people.
    pub description: String,
    /// Names and patterns of the events it gets.
    pub event_types: Vec<String>,
    /// How much of them: `full`, `thin` or `data`.
    pub payload: String,
    /// Sent with every call; the values are masked.
    pub headers: BTreeMap<String, String>,
    /// How long a call may take.
    pub timeout_seconds: u64,
    /// `enabled`, `paused` or `disabled`.
    pub status: String,
    /// Why Posthorn disabled it, if it did.
    pub disabled_reason: Option<String>,
    /// The caller's own notes.
    #[schema(value_type = Object)]
    pub metadata: Metadata,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// An endpoint that was just made, with its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EndpointWithSecret {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// `whsec_…`, with which receivers check signatures.
    pub secret: String,
}

/// Endpoints.
pub type EndpointPage = Page<Endpoint>;

/// The signing secret of an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// `whsec_…`.
    pub secret: String,
    /// The secret before it, while both sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret: Option<String>,
    /// Until when the one before signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous_expires_at: Option<Timestamp>,
}

/// How to give an endpoint a new secret.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// `whsec_…`, to bring one along; made if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// For how many seconds the old one signs too; 86400 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<u64>,
}

/// A test call.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// The event type to send; `posthorn.test` if not given.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
}
