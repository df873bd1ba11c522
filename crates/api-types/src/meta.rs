//! What is said of a deployment.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What receivers and their firewalls want to know.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Meta {
    /// The version of Posthorn.
    pub version: String,
    /// The networks from which calls come, as the operator stated them.
    pub egress_addresses: Vec<String>,
}
