//! Lists.

use serde::{Deserialize, Serialize};

/// A part of a list.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// For the `cursor` of the next page; null on the last one.
    pub next_cursor: Option<String>,
}
