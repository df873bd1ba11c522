//! How values stand in SQLite's columns.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use model::attempt::Attempt;
use model::clock::Timestamp;
use model::retry::NextReason;

use super::multi_row::Binding;
use super::rows::to_json;

/// Reads a whole number or null.
pub(super) fn int(row: &SqliteRow, column: &str) -> sqlx::Result<Option<i64>> {
    row.try_get(column)
}

/// Binds the columns of an attempt, in the order of the insert.
pub(super) fn bind_attempt<'q>(query: Binding<'q>, attempt: &'q Attempt, late: bool) -> Binding<'q> {
    let micros = |span: Option<std::time::Duration>| span.map(|span| span.as_micros() as i64);
    let answer = attempt.answer.as_ref();
    let reason = if late { NextReason::Superseded } else { attempt.next_reason };
    query
        .bind(attempt.delivery.0)
        .bind(attempt.number)
        .bind(attempt.id.0)
        .bind(attempt.trigger.code())
        .bind(attempt.started_at.as_micros())
        .bind(micros(attempt.phases.dns))
        .bind(micros(attempt.phases.connect))
        .bind(micros(attempt.phases.first_byte))
        .bind(micros(Some(attempt.phases.total)))
        .bind(attempt.remote_ip.map(|ip| ip.to_string()))
        .bind(attempt.http_version)
        .bind(to_json(&attempt.request_headers))
        .bind(answer.map(|answer| answer.status))
        .bind(answer.map(|answer| to_json(&answer.headers)))
        .bind(answer.filter(|answer| !answer.body.is_empty()).map(|answer| answer.body.as_slice()))
        .bind(answer.is_some_and(|answer| answer.truncated))
        .bind(attempt.error_class.code())
        .bind(attempt.error_detail.as_deref())
        .bind(if late { None } else { attempt.next_attempt_at.map(Timestamp::as_micros) })
        .bind(reason.code())
}
