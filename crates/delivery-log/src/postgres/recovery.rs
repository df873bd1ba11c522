//! A group whose answer never came: was it written, and can it still be?

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;

use super::group::{Answer, execute, is_there_already, is_unclear};
use super::link::Link;
use super::publish::Plan;
use super::timeline::timeline;
use crate::deliveries::Finished;

/// How long a group waits for another server to become the primary.
const FAILOVER: Duration = Duration::from_secs(6);
/// How often it is looked whether the database can be used again.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// What became of a group whose answer never came.
pub(super) enum Recovered {
    /// It is written, before or now.
    Written(Answer),
    /// It was not written before the database failed over, and so never will be.
    Never,
}

/// What was found of a group.
enum Found {
    There(Answer),
    NotThere,
    /// Nor can it come any more: the log goes on without it on another server.
    Never,
}

/// After an answer that never came: looks whether the group is there all the
/// same. If it is not, and the database may be coming back, writes it again as
/// soon as that can be done. Its rows have their ids, so that they are there
/// once, whatever became of the first time. In an outage that goes on, groups
/// are refused at once.
///
/// # Errors
///
/// Gives the error of the first time, or one that says why the group can never
/// have been written: something is there that it repeats.
pub(super) async fn look_or_write_again(
    link: &mut Link,
    plan: &mut Plan<'_>,
    finished: &[&Finished],
    careful: bool,
    first: sqlx::Error,
) -> sqlx::Result<Recovered> {
    let until = Instant::now() + FAILOVER.saturating_sub(link.troubled_for());
    let mut repeats = None;
    loop {
        let mut moves = link.hosts().moves();
        match link.ask(async |connection| look(connection, plan, finished).await).await {
            Ok(Found::There(answer)) => return Ok(Recovered::Written(answer)),
            Ok(Found::Never) => return Ok(Recovered::Never),
            Ok(Found::NotThere) => {
                // It is not one of its own rows that is in the way.
                if let Some(error) = repeats {
                    return Err(error);
                }
                if !link.hosts().are_several() {
                    return Err(first);
                }
                // Counters may be elsewhere by now.
                plan.forget_places();
                match execute(link, plan, finished, careful).await {
                    // What has changed meanwhile would need another plan, with other ids.
                    Ok(answer) if answer.lasts.is_none() && !plan.is_empty() => return Err(first),
                    Ok(answer) => return Ok(Recovered::Written(answer)),
                    Err(again) if is_there_already(&again) => {
                        repeats = Some(again);
                        continue;
                    }
                    Err(again) if is_unclear(&again) => {}
                    Err(_) => return Err(first),
                }
            }
            Err(_) => {}
        }
        if !link.hosts().are_several() || Instant::now() >= until {
            return Err(first);
        }
        // Not for ever, also if the same server comes back.
        let _ = tokio::time::timeout(BETWEEN_LOOKS, moves.next()).await;
    }
}

async fn look(connection: &mut PgConnection, plan: &Plan<'_>, finished: &[&Finished]) -> sqlx::Result<Found> {
    let mut lasts = None;
    if !plan.is_empty() {
        let sql = "SELECT max(sequence) FROM events WHERE id = ANY($1) GROUP BY tenant ORDER BY tenant";
        let found: Vec<i64> =
            sqlx::query_scalar(sql).bind(plan.event_ids()).fetch_all(&mut *connection).await?;
        if found.is_empty() {
            let is_another = concat!("SELECT ", timeline!(), " <> $1");
            return Ok(
                match sqlx::query_scalar(is_another).bind(plan.history()).fetch_one(connection).await? {
                    true => Found::Never,
                    false => Found::NotThere,
                },
            );
        }
        lasts = Some(found);
    } else if let Some(Finished { attempt, .. }) = finished.first() {
        let sql = "SELECT 1 FROM attempts WHERE delivery = $1 AND number = $2 AND id = $3";
        let query = sqlx::query(sql).bind(attempt.delivery.0).bind(attempt.number as i32).bind(attempt.id.0);
        if query.fetch_optional(connection).await?.is_none() {
            return Ok(Found::NotThere);
        }
    }
    Ok(Found::There(Answer {
        lasts,
        places: Vec::new(),
        advanced: finished.iter().map(|finished| finished.attempt.delivery.0).collect(),
        logged: None,
    }))
}
