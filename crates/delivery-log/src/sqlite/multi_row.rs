//! Statements with many rows, and several statements at once.
//!
//! Every execution costs a way to the connection's thread and back, which on
//! busy processors takes longer than the work. So rows are written by the
//! dozen, and what belongs together goes in one execution. The numbers of
//! rows are powers of two: a handful of texts then serves every batch, and
//! stays prepared. The rows that are wanting are nulls, and every statement
//! leaves out rows of nulls.

use std::sync::OnceLock;

use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;

/// The greatest number of rows in one statement.
const MAX_ROWS: usize = 1 << (SIZES - 1);
const SIZES: usize = 9;

/// A query that is being given its values.
pub(super) type Binding<'q> = Query<'q, Sqlite, SqliteArguments>;

/// One statement around a `VALUES` list.
pub(super) struct Part {
    pub(super) before: &'static str,
    pub(super) columns: usize,
    pub(super) after: &'static str,
}

/// Statements that are executed together, all with the same number of rows.
pub(super) struct MultiRow {
    parts: &'static [Part],
    texts: [OnceLock<String>; SIZES],
}

/// The statements for one piece of the rows.
pub(super) struct Piece<'a, T> {
    pub(super) sql: &'static str,
    /// How many rows there are places for.
    pub(super) places: usize,
    pub(super) rows: &'a [T],
}

impl MultiRow {
    pub(super) const fn new(parts: &'static [Part]) -> Self {
        Self { parts, texts: [const { OnceLock::new() }; SIZES] }
    }

    /// The rows in pieces, each with statements that take at least as many.
    pub(super) fn pieces<'a, T>(&'static self, rows: &'a [T]) -> impl Iterator<Item = Piece<'a, T>> {
        rows.chunks(MAX_ROWS).map(|rows| {
            let places = rows.len().next_power_of_two();
            Piece { sql: self.text(places.ilog2() as usize), places, rows }
        })
    }

    fn text(&'static self, size: usize) -> &'static str {
        self.texts[size].get_or_init(|| {
            let statement = |part: &Part| {
                let row = format!("({})", vec!["?"; part.columns].join(","));
                format!("{} {} {}", part.before, vec![row; 1 << size].join(","), part.after)
            };
            self.parts.iter().map(statement).collect::<Vec<_>>().join("; ")
        })
    }
}

/// Binds rows, and nulls for the places that are left over.
pub(super) fn bind_rows<'q, T>(
    mut query: Binding<'q>,
    rows: impl ExactSizeIterator<Item = T>,
    places: usize,
    columns: usize,
    bind: impl Fn(Binding<'q>, T) -> Binding<'q>,
) -> Binding<'q> {
    let empty = places - rows.len();
    for row in rows {
        query = bind(query, row);
    }
    for _ in 0..empty * columns {
        query = query.bind(None::<i64>);
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    static TWO: MultiRow = MultiRow::new(&[Part { before: "INSERT INTO t VALUES", columns: 2, after: "" }]);

    #[test]
    fn a_statement_has_places_for_the_next_power_of_two() {
        let places = |n: usize| {
            let rows = vec![(); n];
            TWO.pieces(&rows).map(|piece| piece.sql.matches("(?,?)").count()).collect::<Vec<_>>()
        };
        assert_eq!(places(0), Vec::<usize>::new());
        assert_eq!(places(1), [1]);
        assert_eq!(places(5), [8]);
        assert_eq!(places(600), [256, 256, 128]);
    }

    #[test]
    fn no_row_is_left_out() {
        let sizes: Vec<usize> = TWO.pieces(&[(); 600]).map(|piece| piece.rows.len()).collect();
        assert_eq!(sizes, [256, 256, 88]);
    }
}
