//! Recording attempts: the log's row and the delivery's next state, together.

use model::attempt::Trigger;
use model::retry::NextReason;
use sqlx::SqliteConnection;

use super::multi_row::{Binding, MultiRow, Part, bind_rows};
use super::writer::Care;
use super::{columns, rows};
use crate::deliveries::{Finished, Recorded};

const ADVANCE: Part = Part {
    before: "WITH done (project, id, epoch, status, failure, due_at, attempts, tries, rejections, trigger, error, http, \
             at) AS (VALUES",
    columns: 13,
    after: ") UPDATE deliveries SET status = done.status, failure = done.failure, due_at = done.due_at, \
            claimed = NULL, attempts = done.attempts, tries = done.tries, rejections = done.rejections, \
            trigger = done.trigger, last_error = done.error, last_status = done.http, updated_at = done.at \
            FROM done WHERE deliveries.project = done.project AND deliveries.id = done.id \
            AND deliveries.claimed = done.epoch AND deliveries.attempts < done.attempts",
};

// Writing an attempt twice changes nothing, but what really happened takes the
// place of "may have been interrupted" (error class 13).
const INSERT: Part = Part {
    before: "WITH new (delivery, number, id, trigger, started_at, dns_us, connect_us, first_byte_us, total_us, \
             remote_ip, http_version, request_headers, http_status, response_headers, body, truncated, \
             error_class, error_detail, next_attempt_at, next_reason) AS (VALUES",
    columns: 20,
    after: ") INSERT INTO attempts (delivery, number, id, trigger, started_at, dns_us, connect_us, \
            first_byte_us, total_us, remote_ip, http_version, request_headers, http_status, \
            response_headers, body, truncated, error_class, error_detail, next_attempt_at, next_reason) \
            SELECT * FROM new WHERE delivery IS NOT NULL \
            ON CONFLICT (delivery, number) DO UPDATE SET id = excluded.id, trigger = excluded.trigger, \
            started_at = excluded.started_at, dns_us = excluded.dns_us, connect_us = excluded.connect_us, \
            first_byte_us = excluded.first_byte_us, total_us = excluded.total_us, \
            remote_ip = excluded.remote_ip, http_version = excluded.http_version, \
            request_headers = excluded.request_headers, http_status = excluded.http_status, \
            response_headers = excluded.response_headers, body = excluded.body, \
            truncated = excluded.truncated, error_class = excluded.error_class, \
            error_detail = excluded.error_detail WHERE attempts.error_class = 13",
};

/// Writes the attempts, and says for each whether the delivery was still in
/// the hands of the one who made it. Without thorough care, gives `None` when
/// some were not: then nothing of it may be committed.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    finished: &[&Finished],
    care: Care,
) -> sqlx::Result<Option<Vec<Recorded>>> {
    let late = match care {
        Care::Fast if !record_all(connection, finished).await? => return Ok(None),
        Care::Fast => vec![false; finished.len()],
        Care::Thorough => {
            let mut late = Vec::with_capacity(finished.len());
            for one in finished {
                late.push(record_one(connection, one).await?);
            }
            late
        }
    };
    super::lanes::store_health(connection, &super::lane_rows::health_rows(finished)).await?;
    let recorded = |late| if late { Recorded::Late } else { Recorded::Advanced };
    Ok(Some(late.into_iter().map(recorded).collect()))
}

/// Writes attempts and next states together, and tells whether each found
/// its delivery still in hand and its place in the log still free.
async fn record_all(connection: &mut SqliteConnection, finished: &[&Finished]) -> sqlx::Result<bool> {
    static RECORD: MultiRow = MultiRow::new(&[ADVANCE, INSERT]);
    let mut changed = 0;
    for piece in RECORD.pieces(finished) {
        let query = sqlx::query(piece.sql);
        let query = bind_rows(query, piece.rows.iter(), piece.places, ADVANCE.columns, |query, finished| {
            bind_advance(query, finished)
        });
        let query = bind_rows(query, piece.rows.iter(), piece.places, INSERT.columns, |query, finished| {
            columns::bind_attempt(query, &finished.attempt, false)
        });
        changed += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(changed == 2 * finished.len() as u64)
}

/// Writes one attempt, and tells whether it was late.
async fn record_one(connection: &mut SqliteConnection, finished: &Finished) -> sqlx::Result<bool> {
    static STATE: MultiRow = MultiRow::new(&[ADVANCE]);
    static ATTEMPT: MultiRow = MultiRow::new(&[INSERT]);
    let mut advanced = 0;
    for piece in STATE.pieces(&[finished]) {
        let query = bind_advance(sqlx::query(piece.sql), finished);
        advanced += query.execute(&mut *connection).await?.rows_affected();
    }
    let late = advanced == 0;
    if late && !is_there(connection, finished).await? {
        // What was erased meanwhile does not come back by the end of its call.
        return Ok(true);
    }
    for piece in ATTEMPT.pieces(&[finished]) {
        let query = columns::bind_attempt(sqlx::query(piece.sql), &finished.attempt, late);
        query.execute(&mut *connection).await?;
    }
    if late {
        count_late(connection, finished).await?;
    }
    Ok(late)
}

/// Whether a delivery is still in the log.
async fn is_there(connection: &mut SqliteConnection, finished: &Finished) -> sqlx::Result<bool> {
    let found = sqlx::query("SELECT 1 FROM deliveries WHERE project = ? AND id = ?")
        .bind(finished.project.0)
        .bind(finished.attempt.delivery.0)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// What the next attempt is made for: what this one was, if it was cut short
/// or is to be made twice.
fn next_trigger(finished: &Finished) -> Trigger {
    match finished.verdict.reason {
        NextReason::Interrupted | NextReason::Scenario => finished.attempt.trigger,
        _ => Trigger::Automatic,
    }
}

fn bind_advance<'q>(query: Binding<'q>, finished: &'q Finished) -> Binding<'q> {
    let Finished { project, epoch, attempt, verdict, .. } = finished;
    let (status, failure) = rows::status_to_codes(verdict.status);
    query
        .bind(project.0)
        .bind(attempt.delivery.0)
        .bind(epoch.0)
        .bind(status)
        .bind(failure)
        .bind(verdict.next_attempt_at.map(|at| at.as_micros()))
        .bind(attempt.number)
        .bind(verdict.spent.tries)
        .bind(verdict.spent.rejections)
        .bind(next_trigger(finished).code())
        .bind(attempt.error_class.code())
        .bind(attempt.http_status())
        .bind(attempt.started_at.plus(attempt.phases.total).as_micros())
}

/// A late attempt changes no state, but it is counted.
async fn count_late(connection: &mut SqliteConnection, finished: &Finished) -> sqlx::Result<()> {
    sqlx::query("UPDATE deliveries SET attempts = max(attempts, ?) WHERE project = ? AND id = ?")
        .bind(finished.attempt.number)
        .bind(finished.project.0)
        .bind(finished.attempt.delivery.0)
        .execute(connection)
        .await
        .map(|_| ())
}
