//! The project that a key belongs to.

use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An isolated namespace of a deployment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// What happens to an event for a tenant that does not exist: `reject` or `create`.
    pub unknown_tenant: String,
    /// What happens to an event of a type that is not in the catalogue: `accept` or `reject`.
    pub undeclared_types: String,
    /// What happens to an event whose data does not fit its schema: `reject`, `quarantine` or `warn`.
    pub validation: String,
    /// For how many days events and what became of them are kept.
    pub retention_days: u32,
    /// Since when all of its deliveries are held, if somebody paused it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_at: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// Settings to change; what is not given stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectChange {
    /// `reject` or `create`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_tenant: Option<String>,
    /// `accept` or `reject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undeclared_types: Option<String>,
    /// `reject`, `quarantine` or `warn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<String>,
    /// 1 to 365.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
}
