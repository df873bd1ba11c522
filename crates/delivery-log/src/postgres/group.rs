//! One group of publishes and finished attempts: its statement and its fate.

use std::collections::{HashMap, VecDeque};
use std::sync::OnceLock;

use model::clock::Timestamp;
use sqlx::Row as _;
use sqlx::postgres::PgArguments;
use tokio::time::Instant;
use uuid::Uuid;

use super::counters::Counters;
use super::finish;
use super::link::{Link, Number};
use super::machines::Machines;
use super::publish::{self, Plan};
use super::recovery::{Recovered, look_or_write_again};
use super::writer::Job;
use super::{Effects, FanOut, Shared, barrier, partitions, transient_cause};
use crate::deliveries::{Finished, Recorded};
use crate::events::{Publish, Published};
use crate::hand_off::Fate;

/// How often a group, or a part of an event, is planned anew because something
/// changed meanwhile.
pub(super) const ATTEMPTS: usize = 5;

/// A group that was written, to be told.
pub(super) struct Group {
    published: VecDeque<Published>,
    recorded: VecDeque<Recorded>,
    effects: Effects,
}

/// Why a group was not written.
pub(super) enum Trouble {
    /// One of its rows may be the cause.
    Row(sqlx::Error),
    /// None of its rows is the cause.
    Database(sqlx::Error),
}

/// What the statement answers.
pub(super) struct Answer {
    /// The last numbers of the tenants; `None` if the plan was not written.
    pub(super) lasts: Option<Vec<i64>>,
    /// Where their counters stand now, if that is known.
    pub(super) places: Vec<String>,
    /// Deliveries that went on.
    pub(super) advanced: Vec<Uuid>,
    /// If some did not: the deliveries whose attempts were not in the log before.
    pub(super) logged: Option<Vec<Uuid>>,
}

/// What became of a try to write a group.
enum Tried {
    Written(Group),
    /// Nothing of it was written, and it may be when this is seen to.
    Again(Why),
}

/// Why a group is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// A tenant or an endpoint is not known here: it may have been made elsewhere,
    /// a moment ago.
    Unknown,
    /// The configuration is newer than the plan.
    Stale,
    /// One of its keys was used before.
    RepeatedKey,
    /// The counter of a tenant is not where it was last.
    CounterMoved,
    /// An attempt is in the log already.
    KnownAttempt,
    /// No day was made for the ids.
    NoPartition,
}

/// A group while it is being written.
struct Writing<'a> {
    link: &'a mut Link,
    shared: &'a Shared,
    machines: &'a Machines,
    counters: &'a mut Counters,
    publishes: &'a [&'a Publish],
    /// Attempts that are still to be written.
    to_finish: &'a [&'a Finished],
    recorded: Vec<Recorded>,
    /// Publishes that were found to repeat others. They are rare, so they are
    /// looked for when one is in the way.
    known: HashMap<usize, Published>,
    /// The connection on which they were found.
    read_on: Option<Number>,
    refreshed: bool,
    partitioned: bool,
    careful: bool,
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
        let mut writing = Writing {
            link,
            shared,
            machines,
            counters,
            publishes: &publishes,
            to_finish: &finished,
            recorded: Vec::new(),
            known: HashMap::new(),
            read_on: None,
            refreshed: false,
            partitioned: false,
            careful: false,
        };
        for _ in 0..ATTEMPTS {
            match writing.try_once().await? {
                Tried::Written(group) => return Ok(group),
                Tried::Again(why) => writing.see_to(why).await.map_err(Trouble::Database)?,
            }
        }
        Err(Trouble::Database(changes_too_often()))
    }
}

impl<'a> Writing<'a> {
    async fn try_once(&mut self) -> Result<Tried, Trouble> {
        let mut plan = Plan::new(self.shared, self.publishes, self.known.clone());
        plan.place_by(self.counters);
        if plan.lacks_something() && !self.refreshed {
            return Ok(Tried::Again(Why::Unknown));
        }
        if plan.is_empty() && self.to_finish.is_empty() {
            // All that is told was found, written by whomever.
            let read_on = self.read_on.unwrap_or(self.link.number());
            return self.made_sure(plan, &[], (read_on, true)).await;
        }
        let began = Instant::now();
        plan.set_fate(Fate::Unknown);
        let (answer, was_found) = match execute(self.link, &plan, self.to_finish, self.careful).await {
            Ok(answer) => (answer, false),
            // The connection may have ended before the answer came, and after the commit.
            Err(error) if is_unclear(&error) => {
                match look_or_write_again(self.link, &mut plan, self.to_finish, self.careful, error).await {
                    Ok(Recovered::Written(answer)) => (answer, true),
                    Ok(Recovered::Never) => return Ok(plan.again(Why::Stale)),
                    Err(error) => {
                        return match self.remedy(&error, &plan) {
                            Some(why) => Ok(plan.again(why)),
                            None => Err(Trouble::Database(error)),
                        };
                    }
                }
            }
            Err(error) => {
                let again = self.remedy(&error, &plan).map(Tried::Again);
                plan.set_fate(Fate::NotWritten);
                // What takes too long in company may be done in smaller groups.
                return again.ok_or(Trouble::Row(error));
            }
        };
        let answered_on = self.link.number();
        if self.read_on.is_some_and(|read_on| read_on != answered_on) {
            return Err(Trouble::Database(another_connection()));
        }
        if !self.to_finish.is_empty() {
            self.recorded = settle(self.link, self.to_finish, &answer).await;
            self.to_finish = &[];
        }
        let lasts = if plan.is_empty() { Some(Vec::new()) } else { answer.lasts };
        let Some(lasts) = lasts else { return Ok(plan.again(Why::Stale)) };
        self.counters.moved(plan.tenants(), answer.places);
        let is_doubtful = was_found || self.read_on.is_some() || barrier::is_doubtful(began);
        if !self.publishes.is_empty() && (is_doubtful || self.machines.are_asked_for()) {
            return self.made_sure(plan, &lasts, (answered_on, is_doubtful)).await;
        }
        Ok(self.written(plan, &lasts))
    }

    /// Why a group that was refused may be written all the same, another time.
    fn remedy(&self, error: &sqlx::Error, plan: &Plan<'_>) -> Option<Why> {
        if is_repeated_key(error) {
            Some(Why::RepeatedKey)
        } else if is_elsewhere(error) && plan.counts_in_place() {
            Some(Why::CounterMoved)
        } else if is_known_attempt(error) && !self.careful {
            Some(Why::KnownAttempt)
        } else if is_without_partition(error) && !self.partitioned {
            Some(Why::NoPartition)
        } else {
            None
        }
    }

    /// Sees to what was in the way.
    async fn see_to(&mut self, why: Why) -> sqlx::Result<()> {
        match why {
            Why::Unknown | Why::Stale => {
                refresh(self.link, self.shared).await?;
                self.refreshed |= why == Why::Unknown;
            }
            Why::RepeatedKey => {
                let now = self.shared.env.now();
                self.known = repeated(self.link, self.publishes, now).await?;
                self.read_on = Some(self.link.number());
            }
            Why::CounterMoved => self.counters.missed(),
            Why::KnownAttempt => self.careful = true,
            Why::NoPartition => {
                make_partitions(self.link, self.shared).await?;
                self.partitioned = true;
            }
        }
        Ok(())
    }

    /// The group is told when what was committed, and what was read, is as safe as
    /// is asked for. `read_on` is the connection on which that was, and whether more
    /// than its own quick commit is to be told.
    async fn made_sure(
        &mut self,
        plan: Plan<'a>,
        lasts: &[i64],
        (read_on, is_doubtful): (Number, bool),
    ) -> Result<Tried, Trouble> {
        let machines = self.machines;
        let sure = self.link.ask(async |connection| {
            if is_doubtful {
                barrier::pass(connection).await?;
            }
            machines.confirm(connection).await
        });
        sure.await.map_err(Trouble::Database)?;
        if self.link.number() != read_on {
            return Err(Trouble::Database(another_connection()));
        }
        Ok(self.written(plan, lasts))
    }

    fn written(&mut self, plan: Plan<'_>, lasts: &[i64]) -> Tried {
        let (published, effects) = plan.written(lasts);
        let recorded = std::mem::take(&mut self.recorded).into();
        Tried::Written(Group { published: published.into(), recorded, effects })
    }
}

impl Plan<'_> {
    /// Nothing of it was written.
    fn again(mut self, why: Why) -> Tried {
        self.set_fate(Fate::NotWritten);
        Tried::Again(why)
    }
}

impl Group {
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
        let fan_outs = std::mem::take(&mut self.effects.fan_outs);
        self.effects.tell(shared.hand_off.get().as_ref());
        fan_outs
    }
}

pub(super) async fn execute(
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

pub(super) fn is_there_already(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}

/// A counter was not where it was last.
fn is_elsewhere(error: &sqlx::Error) -> bool {
    has_code(error, "22012")
}

/// Each of the [`ATTEMPTS`] was made with a configuration that was not the newest.
pub(super) fn changes_too_often() -> sqlx::Error {
    sqlx::Error::Protocol("the configuration changes too often".to_owned())
}

/// What was read before may have been on another server.
fn another_connection() -> sqlx::Error {
    sqlx::Error::Protocol("the connection ended on which a repeated event was found".to_owned())
}

/// Whether a group may have been written although there was no answer.
pub(super) fn is_unclear(error: &sqlx::Error) -> bool {
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
    link.ask(async |connection| partitions::make(connection, shared.env.now()).await).await
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
        tracing::warn!(%error, "cannot tell late attempts apart");
        vec![Recorded::Advanced; finished.len()]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_numbered_in_their_order() {
        assert_eq!(numbered("SELECT ?, ?::int[] WHERE ?"), "SELECT $1, $2::int[] WHERE $3");
    }
}
