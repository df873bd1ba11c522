//! Pages of lists, by keyset: a cursor is the id after which to go on, so a
//! page costs the same however far down the list it is.

use uuid::Uuid;

/// The greatest number of rows on a page.
pub const MAX_LIMIT: u32 = 250;
/// The number of rows on a page unless said otherwise.
pub const DEFAULT_LIMIT: u32 = 50;

/// Which way a list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Newest first.
    #[default]
    Descending,
    /// Oldest first.
    Ascending,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// How many rows, 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// The last row of the page before.
    pub after: Option<Uuid>,
    /// Which way.
    pub order: Order,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, after: None, order: Order::default() }
    }
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where a page would begin after each of the rows.
    pub cursors: Vec<Uuid>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Uuid>,
}

impl<T> Page<T> {
    /// A page of rows that were read with a limit of one more than wanted.
    pub fn from_overfull(mut rows: Vec<T>, limit: u32, id: impl Fn(&T) -> Uuid) -> Self {
        let limit = limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let cursors: Vec<Uuid> = rows.iter().map(id).collect();
        let next = if more { cursors.last().copied() } else { None };
        Self { rows, cursors, next }
    }

    /// The same page of other things.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { rows: self.rows.into_iter().map(change).collect(), cursors: self.cursors, next: self.next }
    }
}
