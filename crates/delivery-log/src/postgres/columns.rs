//! How values stand in PostgreSQL's columns.

use sqlx::postgres::PgRow;
use sqlx::{Column as _, Row as _, TypeInfo as _, ValueRef as _};

/// Reads a whole number of any width, a yes or no, or null.
pub(super) fn int(row: &PgRow, column: &str) -> sqlx::Result<Option<i64>> {
    if row.try_get_raw(column)?.is_null() {
        return Ok(None);
    }
    let column = row.try_column(column)?;
    let place = column.ordinal();
    Ok(Some(match column.type_info().name() {
        "INT2" => row.try_get::<i16, _>(place)?.into(),
        "INT4" => row.try_get::<i32, _>(place)?.into(),
        "BOOL" => row.try_get::<bool, _>(place)?.into(),
        _ => row.try_get(place)?,
    }))
}
