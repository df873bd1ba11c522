//! What becomes of changes.

/// What became of a change of something that was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an outdated change was not made"]
pub enum Edited {
    /// It was made.
    Done,
    /// Nothing was changed: the thing is gone, or not as it was when it was read.
    Outdated,
}

impl Edited {
    /// By how many rows a statement about one thing changed.
    pub(crate) fn of_rows(affected: u64) -> Self {
        if affected == 1 { Self::Done } else { Self::Outdated }
    }
}
