//! API keys.

use model::clock::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words;

/// A key to be made.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// For people.
    pub name: String,
    /// What it may do; no more than the key that makes it.
    #[schema(value_type = Vec<words::Scope>)]
    pub scopes: Vec<String>,
    /// The only tenant that it may see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// When it ends; no later than the key that makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Networks (CIDR) that it may be used from; anywhere if not given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_networks: Vec<String>,
    /// How many requests a second it may make, publishing included (a batch is one);
    /// what is usual if not given, and no more than the key that makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100000)]
    pub rate_limit_per_second: Option<u32>,
}

/// How to give a key a new secret.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// For how many seconds the old secret stays good; 86400 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_seconds: Option<u64>,
}

/// An API key, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it may do.
    #[schema(value_type = Vec<words::Scope>)]
    pub scopes: Vec<String>,
    /// The only tenant that it may see.
    pub tenant: Option<String>,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Networks that it may be used from; empty for anywhere.
    pub allowed_networks: Vec<String>,
    /// How many requests a second it may make; none for what is usual.
    #[serde(default)]
    pub rate_limit_per_second: Option<u32>,
    /// The key that made it; none if that was the command line.
    #[serde(default)]
    pub created_by: Option<String>,
    /// When it was used last, to the half minute.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// From which address that was.
    #[serde(default)]
    pub last_used_from: Option<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A key with its secret, which is shown this once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyWithSecret {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// `phk_…`, for the header `Authorization: Bearer`.
    pub secret: String,
}
