//! What can go wrong in a store.

/// Why a store did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used now: locked, full, gone. Nothing was
    /// written; the same call may succeed later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// More waits to be written than the store takes.
    #[error("too much is waiting to be written")]
    Overloaded,
    /// Something that must not be: a row that cannot be read, a failed check.
    #[error("{attempted}: {cause}")]
    Internal {
        /// What was attempted.
        attempted: &'static str,
        /// Why it failed.
        cause: String,
    },
}

impl StoreError {
    /// An error that should not be, with what was attempted.
    pub fn internal(attempted: &'static str, cause: impl std::fmt::Display) -> Self {
        Self::Internal { attempted, cause: cause.to_string() }
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Overloaded)
    }
}
