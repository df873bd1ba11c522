//! What can go wrong in a store.

use std::error::Error;
use std::sync::Arc;

/// What an error comes from. One error may be told to many callers, whose work
/// was written together.
type Cause = Arc<dyn Error + Send + Sync>;

/// Why a store did not do what was asked.
///
/// Its words hold those of its cause. Who shows the causes, too, says them once:
/// [`model::causes::with_causes`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be used now: locked, full, gone. Nothing was
    /// written; the same call may succeed later.
    #[error("the database is not available: {why}")]
    Unavailable {
        /// Why, in words for operators.
        why: String,
        /// What the driver says, if it was asked.
        source: Option<Cause>,
    },
    /// More waits to be written than the store takes.
    #[error("too much is waiting to be written")]
    Overloaded,
    /// Something that must not be: a row that cannot be read, a failed check.
    #[error("{attempted}: {source}")]
    Internal {
        /// What was attempted.
        attempted: &'static str,
        /// Why it failed.
        source: Cause,
    },
}

impl StoreError {
    /// The database cannot be used now, and nothing further is known.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable { why: why.into(), source: None }
    }

    /// An error that should not be, with what was attempted.
    pub fn internal(attempted: &'static str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal { attempted, source: Arc::from(cause.into()) }
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Overloaded)
    }
}
