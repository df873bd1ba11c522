//! Statements with many rows.
//!
//! Every statement costs a way to the connection's thread and back, so rows
//! are written by the dozen. The numbers of rows are powers of two: a handful
//! of statement texts then serves every batch, and stays prepared. Rows that
//! are wanting to the next power of two are left unbound, which SQLite takes
//! for nulls; each statement leaves out rows of nulls.

use std::sync::OnceLock;

/// The greatest number of rows in one statement.
const MAX_ROWS: usize = 1 << (SIZES - 1);
const SIZES: usize = 9;

/// A statement around a `VALUES` list.
pub(super) struct MultiRow {
    before: &'static str,
    columns: usize,
    after: &'static str,
    texts: [OnceLock<String>; SIZES],
}

impl MultiRow {
    pub(super) const fn new(before: &'static str, columns: usize, after: &'static str) -> Self {
        Self { before, columns, after, texts: [const { OnceLock::new() }; SIZES] }
    }

    /// The rows in pieces, each with a statement that takes at least as many.
    pub(super) fn pieces<'a, T>(
        &'static self,
        rows: &'a [T],
    ) -> impl Iterator<Item = (&'static str, &'a [T])> {
        rows.chunks(MAX_ROWS).map(|piece| {
            let size = piece.len().next_power_of_two().ilog2();
            (self.text(size as usize), piece)
        })
    }

    fn text(&'static self, size: usize) -> &'static str {
        self.texts[size].get_or_init(|| {
            let row = format!("({})", vec!["?"; self.columns].join(","));
            format!("{} {} {}", self.before, vec![row; 1 << size].join(","), self.after)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static TWO: MultiRow = MultiRow::new("INSERT INTO t VALUES", 2, "");

    #[test]
    fn a_statement_has_places_for_the_next_power_of_two() {
        let places = |n: usize| {
            let rows = vec![(); n];
            TWO.pieces(&rows).map(|(text, _)| text.matches("(?,?)").count()).collect::<Vec<_>>()
        };
        assert_eq!(places(0), Vec::<usize>::new());
        assert_eq!(places(1), [1]);
        assert_eq!(places(5), [8]);
        assert_eq!(places(600), [256, 256, 128]);
    }

    #[test]
    fn no_row_is_left_out() {
        let sizes: Vec<usize> = TWO.pieces(&vec![(); 600]).map(|(_, piece)| piece.len()).collect();
        assert_eq!(sizes, [256, 256, 88]);
    }
}
