//! Recording attempts: the log's row and the delivery's next state, together.

use sqlx::SqliteConnection;

use super::multi_row::MultiRow;
use super::rows;
use super::writer::Care;
use crate::deliveries::{Finished, Recorded};

/// Writes the attempts, and says for each whether the delivery was still in
/// the hands of the one who made it. Without thorough care, gives `None` when
/// some were not: then nothing of it may be committed.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    finished: &[&Finished],
    care: Care,
) -> sqlx::Result<Option<Vec<Recorded>>> {
    let late = match care {
        Care::Fast => {
            if advance(connection, finished).await? < finished.len() as u64 {
                return Ok(None);
            }
            vec![false; finished.len()]
        }
        Care::Thorough => {
            let mut late = Vec::with_capacity(finished.len());
            for one in finished {
                late.push(advance(connection, &[one]).await? == 0);
            }
            late
        }
    };
    insert_attempts(connection, finished, &late).await?;
    for (finished, late) in finished.iter().zip(&late) {
        if *late {
            count_late(connection, finished).await?;
        }
        if finished.health.is_some() {
            super::lanes::store_health(connection, finished).await?;
        }
    }
    let recorded = |late| if late { Recorded::Late } else { Recorded::Advanced };
    Ok(Some(late.into_iter().map(recorded).collect()))
}

/// Moves deliveries on whose claim is still that of the attempt's epoch, and
/// tells how many those were.
async fn advance(connection: &mut SqliteConnection, finished: &[&Finished]) -> sqlx::Result<u64> {
    static ADVANCE: MultiRow = MultiRow::new(
        "WITH done (project, id, epoch, status, failure, due_at, attempts, tries, rejections, error, http, at) \
         AS (VALUES",
        12,
        ") UPDATE deliveries SET status = done.status, failure = done.failure, due_at = done.due_at, \
         claimed = NULL, attempts = done.attempts, tries = done.tries, rejections = done.rejections, \
         trigger = 0, last_error = done.error, last_status = done.http, updated_at = done.at \
         FROM done WHERE deliveries.project = done.project AND deliveries.id = done.id \
         AND deliveries.claimed = done.epoch",
    );
    let mut advanced = 0;
    for (sql, piece) in ADVANCE.pieces(finished) {
        let mut query = sqlx::query(sql);
        for Finished { project, epoch, attempt, verdict, .. } in piece {
            let (status, failure) = rows::status_to_codes(verdict.status);
            query = query
                .bind(project.0)
                .bind(attempt.delivery.0)
                .bind(epoch.0)
                .bind(status)
                .bind(failure)
                .bind(verdict.next_attempt_at.map(|at| at.as_micros()))
                .bind(attempt.number)
                .bind(verdict.spent.tries)
                .bind(verdict.spent.rejections)
                .bind(attempt.error_class.code())
                .bind(attempt.http_status())
                .bind(attempt.started_at.plus(attempt.phases.total).as_micros());
        }
        advanced += query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(advanced)
}

async fn insert_attempts(
    connection: &mut SqliteConnection,
    finished: &[&Finished],
    late: &[bool],
) -> sqlx::Result<()> {
    // Writing an attempt twice changes nothing, but what really happened
    // takes the place of "may have been interrupted" (error class 13).
    static INSERT: MultiRow = MultiRow::new(
        "WITH new (delivery, number, id, trigger, started_at, dns_us, connect_us, first_byte_us, total_us, \
         remote_ip, http_version, request_headers, http_status, response_headers, body, truncated, \
         error_class, error_detail, next_attempt_at, next_reason) AS (VALUES",
        20,
        ") INSERT INTO attempts (delivery, number, id, trigger, started_at, dns_us, connect_us, first_byte_us, \
         total_us, remote_ip, http_version, request_headers, http_status, response_headers, body, truncated, \
         error_class, error_detail, next_attempt_at, next_reason) SELECT * FROM new WHERE delivery IS NOT NULL \
         ON CONFLICT (delivery, number) DO UPDATE SET id = excluded.id, trigger = excluded.trigger, \
         started_at = excluded.started_at, dns_us = excluded.dns_us, connect_us = excluded.connect_us, \
         first_byte_us = excluded.first_byte_us, total_us = excluded.total_us, remote_ip = excluded.remote_ip, \
         http_version = excluded.http_version, request_headers = excluded.request_headers, \
         http_status = excluded.http_status, response_headers = excluded.response_headers, \
         body = excluded.body, truncated = excluded.truncated, error_class = excluded.error_class, \
         error_detail = excluded.error_detail WHERE attempts.error_class = 13",
    );
    let rows: Vec<_> = finished.iter().zip(late).collect();
    for (sql, piece) in INSERT.pieces(&rows) {
        let mut query = sqlx::query(sql);
        for (finished, late) in piece {
            query = rows::bind_attempt(query, &finished.attempt, **late);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
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
