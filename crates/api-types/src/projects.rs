//! The project that a key belongs to.

use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words;

/// An isolated namespace of a deployment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// What happens to an event for a tenant that does not exist: `reject` or `create`.
    #[schema(value_type = words::UnknownTenant)]
    pub unknown_tenant: String,
    /// What happens to an event of a type that is not in the catalogue: `accept` or `reject`.
    #[schema(value_type = words::UndeclaredTypes)]
    pub undeclared_types: String,
    /// What happens to an event whose data does not fit its schema: `reject`, `quarantine` or `warn`.
    #[schema(value_type = words::Validation)]
    pub validation: String,
    /// For how many days events and what became of them are kept.
    #[schema(minimum = 1, maximum = 365)]
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
    #[schema(value_type = Option<words::UnknownTenant>)]
    pub unknown_tenant: Option<String>,
    /// `accept` or `reject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::UndeclaredTypes>)]
    pub undeclared_types: Option<String>,
    /// `reject`, `quarantine` or `warn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<words::Validation>)]
    pub validation: Option<String>,
    /// 1 to 365.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 365)]
    pub retention_days: Option<u32>,
}
