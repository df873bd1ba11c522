//! Tenants.

use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Metadata;

/// A tenant to be made, or what it is to become.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantRequest {
    /// The caller's id for it: `[A-Za-z0-9][A-Za-z0-9._:|-]{0,127}`. In the path, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// For people; the id if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Mail addresses of those who want to know when an endpoint only fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    /// The caller's own notes.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Metadata,
}

/// A customer of the product.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Tenant {
    /// The caller's id for it.
    pub id: String,
    /// For people.
    pub name: String,
    /// Mail addresses of those who want to know when an endpoint only fails.
    pub contacts: Vec<String>,
    /// Since when all of its deliveries are held, if somebody paused it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_at: Option<Timestamp>,
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
