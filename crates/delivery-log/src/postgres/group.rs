//! One group of publishes and finished attempts: its statement and its fate.

use std::collections::{HashMap, VecDeque};
use std::sync::OnceLock;
use std::time::Duration;

use model::clock::Timestamp;
use sqlx::postgres::PgArguments;
use sqlx::{PgConnection, Row as _};
use tokio::time::Instant;
use uuid::Uuid;

use super::counters::Counters;
use super::fan_out::FanOut;
use super::finish;
use super::link::{Link, Number};
use super::machines::Machines;
use super::matching::Effects;
use super::publish::{self, Plan};
use super::timeline::timeline;
use super::writer::Job;
use super::{Shared, barrier, partitions, transient_cause};
use crate::deliveries::{Finished, Recorded};
use crate::events::{Publish, Published};
use crate::hand_off::Fate;

/// How long a group waits for another server to become the primary.
const FAILOVER: Duration = Duration::from_secs(6);
/// How often it is looked whether the database can be used again.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// How often a group is planned anew because something changed meanwhile.
const ATTEMPTS: usize = 5;

/// A group that was written, to be told.
pub(super) struct Group {
    published: VecDeque<Published>,
    recorded: VecDeque<Recorded>,
    effects: Option<Effects>,
}

/// Why a group was not written.
pub(super) enum Trouble {
    /// One of its rows may be the cause.
    Row(sqlx::Error),
    /// None of its rows is the cause.
    Database(sqlx::Error),
}

/// What became of a group whose answer never came.
enum Recovered {
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

/// What the statement answers.
struct Answer {
    /// The last numbers of the tenants; `None` if the plan was not written.
    lasts: Option<Vec<i64>>,
    /// Where their counters stand now, if that is known.
    places: Vec<String>,
    /// Deliveries that went on.
    advanced: Vec<Uuid>,
    /// If some did not: the deliveries whose attempts were not in the log before.
    logged: Option<Vec<Uuid>>,
}

impl Group {
    /// Writes the jobs, all or none.
    pub(super) async fn write(
        link: &mut Link,
        shared: &Shared,
        machines: &Machines,
        counters: &mut Counters,
        jobs: &[Job],
    ) -> Result<Self, Trouble> {
        let mut publishes: Vec<&Publish> = Vec::new();
        let mut finished: Vec<&Finished> = Vec::new();
        for job in jobs {
            match job {
                Job::Publish(publish, _) => publishes.push(publish),
                Job::Finish(finish, _) => finished.push(finish),
            }
        }
        let mut group = Self { published: VecDeque::new(), recorded: VecDeque::new(), effects: None };
        // Repeated keys are rare, so they are looked for when one was found.
        let mut known = HashMap::new();
        let mut to_finish = finished.as_slice();
        let mut read_on = None;
        let (mut refreshed, mut partitioned, mut careful) = (false, false, false);
        for _ in 0..ATTEMPTS {
            let mut plan = Plan::new(shared, &publishes, known.clone());
            plan.place_by(counters);
            if plan.lacks_something() && !refreshed {
                // It may have been made elsewhere, a moment ago.
                plan.give_up(shared, Fate::NotWritten);
                refresh(link, shared).await.map_err(Trouble::Database)?;
                refreshed = true;
                continue;
            }
            if plan.is_empty() && to_finish.is_empty() {
                // All that is told was found, written by whomever.
                let read_on = read_on.unwrap_or(link.number());
                return group.made_sure(link, shared, machines, plan, &[], (read_on, true)).await;
            }
            let began = Instant::now();
            let mut answer = execute(link, &plan, to_finish, careful).await;
            // The connection may have ended before the answer came, and after the commit.
            let is_unclear = answer.as_ref().is_err_and(is_unclear);
            if is_unclear && let Err(error) = answer {
                answer = match look_or_write_again(link, &mut plan, to_finish, careful, error).await {
                    Ok(Recovered::Written(answer)) => Ok(answer),
                    Ok(Recovered::Never) => {
                        plan.give_up(shared, Fate::NotWritten);
                        refresh(link, shared).await.map_err(Trouble::Database)?;
                        continue;
                    }
                    Err(error) => Err(error),
                };
            }
            let found = is_unclear && answer.is_ok();
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) if is_repeated_key(&error) => {
                    plan.give_up(shared, Fate::NotWritten);
                    let now = shared.surroundings.now();
                    known = repeated(link, &publishes, now).await.map_err(Trouble::Database)?;
                    read_on = Some(link.number());
                    continue;
                }
                Err(error) if is_elsewhere(&error) && plan.counts_in_place() => {
                    plan.give_up(shared, Fate::NotWritten);
                    counters.missed();
                    continue;
                }
                Err(error) if is_known_attempt(&error) && !careful => {
                    plan.give_up(shared, Fate::NotWritten);
                    careful = true;
                    continue;
                }
                Err(error) if is_without_partition(&error) && !partitioned => {
                    plan.give_up(shared, Fate::NotWritten);
                    make_partitions(link, shared).await.map_err(Trouble::Database)?;
                    partitioned = true;
                    continue;
                }
                // What takes too long in company may be done in smaller groups.
                Err(error) if !is_unclear => {
                    plan.give_up(shared, Fate::NotWritten);
                    return Err(Trouble::Row(error));
                }
                Err(error) => {
                    plan.give_up(shared, Fate::Unknown);
                    return Err(Trouble::Database(error));
                }
            };
            let answered_on = link.number();
            if read_on.is_some_and(|read_on| read_on != answered_on) {
                plan.give_up(shared, Fate::Unknown);
                return Err(Trouble::Database(another_connection()));
            }
            if !to_finish.is_empty() {
                group.recorded = settle(link, to_finish, &answer).await.into();
                to_finish = &[];
            }
            let lasts = if plan.is_empty() { Some(Vec::new()) } else { answer.lasts };
            if let Some(lasts) = lasts {
                counters.moved(plan.tenants(), answer.places);
                let is_doubtful = found || read_on.is_some() || barrier::is_doubtful(began);
                if !publishes.is_empty() && (is_doubtful || machines.are_asked_for()) {
                    let read = (answered_on, is_doubtful);
                    return group.made_sure(link, shared, machines, plan, &lasts, read).await;
                }
                group.publish(plan, &lasts);
                return Ok(group);
            }
            // The configuration is newer than the plan.
            plan.give_up(shared, Fate::NotWritten);
            refresh(link, shared).await.map_err(Trouble::Database)?;
        }
        Err(Trouble::Database(sqlx::Error::Protocol("the configuration changes too often".to_owned())))
    }

    /// Tells the group when what was committed, and what was read, is as safe as is
    /// asked for. `read_on` is the connection on which that was, and whether more
    /// than its own quick commit is to be told.
    async fn made_sure(
        mut self,
        link: &mut Link,
        shared: &Shared,
        machines: &Machines,
        plan: Plan<'_>,
        lasts: &[i64],
        (read_on, is_doubtful): (Number, bool),
    ) -> Result<Self, Trouble> {
        let sure = link.ask(async |connection| {
            if is_doubtful {
                barrier::pass(connection).await?;
            }
            machines.confirm(connection).await
        });
        let sure = sure.await.and_then(|()| match link.number() == read_on {
            true => Ok(()),
            false => Err(another_connection()),
        });
        if let Err(error) = sure {
            plan.give_up(shared, Fate::Unknown);
            return Err(Trouble::Database(error));
        }
        self.publish(plan, lasts);
        Ok(self)
    }

    fn publish(&mut self, plan: Plan<'_>, lasts: &[i64]) {
        let (published, effects) = plan.written(lasts);
        self.published = published.into();
        self.effects = Some(effects);
    }

    /// Answers everyone, and hands over what can go at once. Gives the events of
    /// which a part is written.
    pub(super) fn answer(mut self, jobs: Vec<Job>, shared: &Shared) -> Vec<FanOut> {
        const ONE_EACH: &str = "every job of a group has a result";
        for job in jobs {
            // A caller that has gone away needs no answer.
            match job {
                Job::Publish(_, reply) => drop(reply.send(Ok(self.published.pop_front().expect(ONE_EACH)))),
                Job::Finish(_, reply) => drop(reply.send(Ok(self.recorded.pop_front().expect(ONE_EACH)))),
            }
        }
        let Some(mut effects) = self.effects else { return Vec::new() };
        let fan_outs = std::mem::take(&mut effects.fan_outs);
        effects.tell(shared.hand_off.get().as_ref());
        fan_outs
    }
}

async fn execute(
    link: &mut Link,
    plan: &Plan<'_>,
    finished: &[&Finished],
    careful: bool,
) -> sqlx::Result<Answer> {
    let mut arguments = PgArguments::default();
    if !plan.is_empty() {
        plan.add_to(&mut arguments)?;
    }
    if !finished.is_empty() {
        finish::add_to(finished, &mut arguments)?;
    }
    let kind = [!plan.is_empty(), plan.counts_in_place(), plan.is_in_parts(), !finished.is_empty(), careful];
    let sql = statement(kind);
    let row =
        link.ask(async |connection| sqlx::query_with(sql, arguments).fetch_one(connection).await).await?;
    Ok(Answer {
        lasts: row.try_get("lasts")?,
        places: row.try_get::<Option<_>, _>("places")?.unwrap_or_default(),
        advanced: row.try_get("advanced")?,
        logged: row.try_get("logged")?,
    })
}

/// The text for a group with or without publishes and finished attempts.
fn statement(kind: [bool; 5]) -> &'static str {
    static TEXTS: [OnceLock<String>; 32] = [const { OnceLock::new() }; 32];
    let [publishes, in_place, in_parts, finishes, careful] = kind;
    let place = kind.into_iter().rev().fold(0, |place, flag| place * 2 + usize::from(flag));
    TEXTS[place].get_or_init(|| {
        let mut parts = Vec::new();
        let (mut lasts, mut places) = ("NULL::bigint[]", "NULL::text[]");
        let (mut advanced, mut logged) = ("'{}'::uuid[]", "NULL::uuid[]");
        if publishes {
            parts.push(publish::parts(in_place, in_parts));
            lasts = "(SELECT last FROM lasts WHERE all_found = 1)";
            places = "(SELECT places FROM lasts)";
        }
        if finishes {
            parts.push(finish::parts(careful));
            advanced = "ARRAY(SELECT id FROM gone UNION ALL SELECT id FROM again)";
            logged = "CASE WHEN (SELECT count(*) FROM gone) + (SELECT count(*) FROM again) < (SELECT count(*) FROM f) \
                      THEN ARRAY(SELECT delivery FROM logged) END";
        }
        let parts = parts.join(", ");
        let sql = format!("WITH {parts} SELECT {lasts} AS lasts, {places} AS places, {advanced} AS advanced, {logged} AS logged");
        numbered(&sql)
    })
}

/// Numbers the arguments in their order.
pub(super) fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (number, part) in parts.enumerate() {
        text.push_str(&format!("${}{part}", number + 1));
    }
    text
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(code))
}

fn is_repeated_key(error: &sqlx::Error) -> bool {
    let database = error.as_database_error();
    database.is_some_and(|error| {
        error.is_unique_violation() && error.constraint() == Some("idempotency_keys_pkey")
    })
}

fn is_there_already(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}

/// A counter was not where it was last.
fn is_elsewhere(error: &sqlx::Error) -> bool {
    has_code(error, "22012")
}

/// What was read before may have been on another server.
fn another_connection() -> sqlx::Error {
    sqlx::Error::Protocol("the connection ended on which a repeated event was found".to_owned())
}

/// Whether a group may have been written although there was no answer.
fn is_unclear(error: &sqlx::Error) -> bool {
    transient_cause(error).is_some() && !is_canceled(error)
}

/// The statement took longer than `statement_timeout`, and nothing of it was done.
fn is_canceled(error: &sqlx::Error) -> bool {
    has_code(error, "57014")
}

/// An attempt is in the log already, as interrupted or because the answer to
/// an earlier write was lost.
fn is_known_attempt(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        // The constraint is that of a day.
        error.is_unique_violation() && error.constraint().is_some_and(|name| name.starts_with("attempts"))
    })
}

/// No day was made for the time of these ids.
fn is_without_partition(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_check_violation() && error.constraint().is_none())
}

async fn make_partitions(link: &mut Link, shared: &Shared) -> sqlx::Result<()> {
    link.ask(async |connection| partitions::make(connection, shared.surroundings.now()).await).await
}

async fn repeated(
    link: &mut Link,
    publishes: &[&Publish],
    now: Timestamp,
) -> sqlx::Result<HashMap<usize, Published>> {
    link.ask(async |connection| publish::find_repeated(connection, publishes, now).await).await
}

async fn refresh(link: &mut Link, shared: &Shared) -> sqlx::Result<()> {
    link.ask(async |connection| shared.refresh_snapshot(connection).await).await
}

/// What became of the attempts, which are written. If that cannot be found
/// out any more, they are taken for ordinary ones.
async fn settle(link: &mut Link, finished: &[&Finished], answer: &Answer) -> Vec<Recorded> {
    let settled = link.ask(async |connection| {
        finish::settle(connection, finished, &answer.advanced, answer.logged.as_deref()).await
    });
    settled.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "late attempts were not told apart");
        vec![Recorded::Advanced; finished.len()]
    })
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
async fn look_or_write_again(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_numbered_in_their_order() {
        assert_eq!(numbered("SELECT ?, ?::int[] WHERE ?"), "SELECT $1, $2::int[] WHERE $3");
    }
}
