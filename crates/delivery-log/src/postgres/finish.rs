//! Recording attempts: the log's row and the delivery's next state, together.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use uuid::Uuid;

use model::attempt::{Attempt, Trigger};
use model::clock::Timestamp;
use model::retry::NextReason;

use super::composite::{Composite, Fields, add_rows};
use super::{lane_rows, lanes, rows};
use crate::deliveries::{Finished, Recorded};

/// The part of the statement that writes the next states and the attempts; with
/// care, attempts may be in the log already.
pub(super) fn parts(careful: bool) -> String {
    let again = if careful { include_str!("sql/log_again.sql") } else { "" };
    format!(
        "{}, {}",
        include_str!("sql/advance.sql"),
        format_args!(include_str!("sql/log.sql"), again = again)
    )
}

/// Adds the arguments of [`parts`].
pub(super) fn add_to(finished: &[&Finished], arguments: &mut PgArguments) -> sqlx::Result<()> {
    add_rows(arguments, finished.iter().map(|finished| NextState(finished)))?;
    add_rows(arguments, finished.iter().map(|finished| AttemptRow(&finished.attempt)))
}

struct NextState<'a>(&'a Finished);

impl Composite for NextState<'_> {
    const TYPE: &'static str = "next_state";

    fn write(&self, fields: &mut Fields<'_>) -> Result<(), BoxDynError> {
        let Finished { epoch, attempt, verdict, .. } = self.0;
        let (status, failure) = rows::status_to_codes(verdict.status);
        fields
            .encode(attempt.delivery.0)?
            .encode(epoch.0)?
            .encode(!verdict.status.is_waiting())?
            .encode(status as i16)?
            .encode(failure.map(|code| code as i16))?
            .encode(verdict.next_attempt_at.map(Timestamp::as_micros))?
            .encode(attempt.number as i32)?
            .encode(verdict.spent.tries as i32)?
            .encode(verdict.spent.rejections as i32)?
            .encode(next_trigger(self.0).code() as i16)?
            .encode(attempt.error_class.code() as i16)?
            .encode(attempt.http_status().map(|status| status as i16))?
            .encode(attempt.started_at.plus(attempt.phases.total).as_micros())?;
        Ok(())
    }
}

struct AttemptRow<'a>(&'a Attempt);

impl Composite for AttemptRow<'_> {
    const TYPE: &'static str = "new_attempt";

    fn write(&self, fields: &mut Fields<'_>) -> Result<(), BoxDynError> {
        let attempt = self.0;
        let answer = attempt.answer.as_ref();
        let micros = |span: Duration| i32::try_from(span.as_micros()).unwrap_or(i32::MAX);
        fields
            .encode(attempt.delivery.0)?
            .encode(attempt.id.0)?
            .encode(attempt.number as i32)?
            .encode(attempt.trigger.code() as i16)?
            .encode(attempt.started_at.as_micros())?
            .encode(attempt.phases.dns.map(micros))?
            .encode(attempt.phases.connect.map(micros))?
            .encode(attempt.phases.first_byte.map(micros))?
            .encode(micros(attempt.phases.total))?
            .encode(attempt.remote_ip.map(|ip| ip.to_string()))?
            .encode(attempt.http_version)?
            .encode(rows::to_json(&attempt.request_headers))?
            .encode(attempt.http_status().map(|status| status as i16))?
            .encode(answer.map(|answer| rows::to_json(&answer.headers)))?
            .encode(answer.map(|answer| answer.body.as_slice()).filter(|body| !body.is_empty()))?
            .encode(answer.is_some_and(|answer| answer.truncated))?
            .encode(attempt.error_class.code() as i16)?
            .encode(attempt.error_detail.as_deref())?
            .encode(attempt.next_attempt_at.map(Timestamp::as_micros))?
            .encode(attempt.next_reason.code() as i16)?;
        Ok(())
    }
}

/// What the next attempt is made for: what this one was, if it was cut short
/// or is to be made twice.
fn next_trigger(finished: &Finished) -> Trigger {
    match finished.verdict.reason {
        NextReason::Interrupted | NextReason::Scenario => finished.attempt.trigger,
        _ => Trigger::Automatic,
    }
}

/// What became of each attempt, by the deliveries that went on and, if some
/// did not, those whose attempts are new in the log.
pub(super) async fn settle(
    connection: &mut PgConnection,
    finished: &[&Finished],
    advanced: &[Uuid],
    logged: Option<&[Uuid]>,
) -> sqlx::Result<Vec<Recorded>> {
    lanes::store_health(connection, &lane_rows::health_rows(finished)).await?;
    let Some(logged) = logged else { return Ok(vec![Recorded::Advanced; finished.len()]) };
    let advanced: HashSet<&Uuid> = advanced.iter().collect();
    let mut recorded = Vec::with_capacity(finished.len());
    for one in finished {
        let delivery = &one.attempt.delivery.0;
        if advanced.contains(delivery) {
            recorded.push(Recorded::Advanced);
            continue;
        }
        // One that was in the log already was recorded before, and its answer lost.
        if logged.contains(delivery) {
            mark_late(connection, one).await?;
        }
        recorded.push(Recorded::Late);
    }
    Ok(recorded)
}

/// A late attempt changes no state, but it is counted. What was erased meanwhile does
/// not come back by the end of its call.
async fn mark_late(connection: &mut PgConnection, late: &Finished) -> sqlx::Result<()> {
    let attempt = &late.attempt;
    let gone = sqlx::query(
        "DELETE FROM attempts WHERE delivery = $1 AND number = $2 \
         AND NOT EXISTS (SELECT 1 FROM all_deliveries d WHERE d.id = $1)",
    );
    let gone = gone.bind(attempt.delivery.0).bind(attempt.number as i32).execute(&mut *connection).await?;
    if gone.rows_affected() > 0 {
        return Ok(());
    }
    sqlx::query(
        "WITH counted AS (UPDATE waiting SET attempts = $2 WHERE id = $1 AND attempts < $2), \
         ended AS (UPDATE deliveries SET attempts = $2 WHERE id = $1 AND attempts < $2) \
         UPDATE attempts SET next_attempt_at = NULL, next_reason = $4 \
         WHERE delivery = $1 AND number = $2 AND id = $3",
    )
    .bind(attempt.delivery.0)
    .bind(attempt.number as i32)
    .bind(attempt.id.0)
    .bind(NextReason::Superseded.code() as i16)
    .execute(connection)
    .await
    .map(|_| ())
}
