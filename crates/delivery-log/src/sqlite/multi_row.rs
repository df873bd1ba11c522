//! Statements with many rows.
//!
//! Every statement costs a way to the connection's thread and back, so rows
//! are written by the dozen. Their numbers are powers of two: a handful of
//! statement texts then serves every batch, and stays prepared.

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

    /// The rows in pieces, each with the statement that takes as many.
    pub(super) fn pieces<'a, T>(
        &'static self,
        rows: &'a [T],
    ) -> impl Iterator<Item = (&'static str, &'a [T])> {
        let mut rest = rows;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let size = rest.len().min(MAX_ROWS).ilog2();
            let (piece, left) = rest.split_at(1 << size);
            rest = left;
            Some((self.text(size as usize), piece))
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
    fn rows_are_split_into_powers_of_two() {
        let sizes = |n: usize| TWO.pieces(&vec![(); n]).map(|(_, piece)| piece.len()).collect::<Vec<_>>();
        assert_eq!(sizes(0), Vec::<usize>::new());
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(7), [4, 2, 1]);
        assert_eq!(sizes(600), [256, 256, 64, 16, 8]);
    }

    #[test]
    fn the_statement_has_a_place_for_every_value() {
        let (text, _) = TWO.pieces(&[(), ()]).next().expect("a piece");
        assert_eq!(text.trim(), "INSERT INTO t VALUES (?,?),(?,?)");
    }
}
