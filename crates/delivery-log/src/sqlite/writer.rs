//! The one connection that writes, and group commit.
//!
//! Publishes, finished attempts and claims of due deliveries that wait at
//! the same time are written in one transaction. A caller is answered after the
//! commit, never before.
//!
//! If a group fails because of one of its rows, it is split and tried again,
//! so that one bad row fails alone.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};

use model::ids::{EventId, ProjectId};

use super::identity::Identity;
use super::open::BUSY;
use super::parts;
use super::publish;
use super::sequences::Sequences;
use super::{Effects, FanOut, Shared, finish, lanes, store_error, transient_cause};
use crate::deliveries::{Finished, Recorded};
use crate::events::{Publish, Published};
use crate::hand_off::Fate;
use crate::lanes::{ClaimDue, ClaimedDeliveries};
use crate::queue::{self, Halves, HandIn, Inbox, PART, Reply, Turn};
use crate::{Result, StoreError};

/// The greatest number of jobs in one transaction.
const GROUP: usize = 512;
/// What a change counts for, in rows: it has the disk to itself.
const EDIT: usize = 256;
/// What a claim counts for, beside what it takes: it is statements of its own, and
/// a thousand lanes that fail at once claim one delivery each.
const CLAIM: usize = 16;

/// Work that can be done in company, and again if the company failed.
enum Job {
    Publish(Box<Publish>, Reply<Published>),
    Finish(Arc<Finished>, Reply<Recorded>),
    Claim(ClaimDue, Reply<ClaimedDeliveries>),
    /// The answer is for whoever wants to know when all is written.
    FanOut(Box<FanOut>, Option<Reply<()>>),
}

/// Any other change: rare, and alone in its transaction.
trait Edit: Send {
    /// Makes the change. `None` if it failed: then the caller has been told.
    fn run<'c>(self: Box<Self>, connection: &'c mut SqliteConnection) -> BoxFuture<'c, Option<Answer>>;

    fn refuse(self: Box<Self>, error: StoreError);
}

/// Tells the caller how the commit went.
type Answer = Box<dyn FnOnce(Result<()>) + Send>;

struct EditFn<F, T> {
    change: F,
    reply: Reply<T>,
}

impl<F, T> Edit for EditFn<F, T>
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
    T: Send + 'static,
{
    fn run<'c>(self: Box<Self>, connection: &'c mut SqliteConnection) -> BoxFuture<'c, Option<Answer>> {
        Box::pin(async move {
            let Self { change, reply } = *self;
            match change(connection).await {
                Ok(value) => Some(Box::new(move |committed: Result<()>| {
                    // A caller that has gone away needs no answer.
                    let _ = reply.send(committed.map(|()| value));
                }) as Answer),
                Err(error) => {
                    tracing::warn!(%error, "a change failed");
                    let _ = reply.send(Err(store_error("make a change")(error)));
                    None
                }
            }
        })
    }

    fn refuse(self: Box<Self>, error: StoreError) {
        // A caller that has gone away needs no answer.
        let _ = self.reply.send(Err(error));
    }
}

enum Work {
    Grouped(Job),
    Edit(Box<dyn Edit>),
    EmptyLog(Reply<bool>),
}

/// Where the rest of the store hands in what is to be written.
#[derive(Debug)]
pub(super) struct WriterHandle(HandIn<Work>, Arc<Identity>);

impl WriterHandle {
    /// Whether nothing is written any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// What is to be said if the files are not there any more.
    pub(super) fn lost(&self) -> Option<String> {
        self.1.lost().map(lost_words)
    }

    pub(super) async fn publish(&self, publishes: Vec<Publish>) -> Vec<Result<Published>> {
        let job = |publish, reply| Work::Grouped(Job::Publish(Box::new(publish), reply));
        self.0.ask_all(publishes, job).await
    }

    /// Gives events to the rest of their endpoints.
    pub(super) async fn go_on_with(&self, fan_outs: Vec<FanOut>) -> Result<()> {
        let job = |fan_out, reply| Work::Grouped(Job::FanOut(Box::new(fan_out), Some(reply)));
        self.0.ask_all(fan_outs, job).await.into_iter().collect()
    }

    pub(super) async fn finish(&self, finished: Arc<Finished>) -> Result<Recorded> {
        self.0.ask(|reply| Work::Grouped(Job::Finish(finished, reply))).await
    }

    pub(super) async fn claim_due(&self, claim: ClaimDue) -> Result<ClaimedDeliveries> {
        self.0.ask(|reply| Work::Grouped(Job::Claim(claim, reply))).await
    }

    /// Waits until all that was handed in is written and the file is closed.
    pub(super) async fn close(&self) {
        self.0.close().await;
    }

    /// Moves the write-ahead log into the database, and cuts it to nothing. `false` if
    /// somebody reads an older state of it.
    pub(super) async fn empty_log(&self) -> Result<bool> {
        self.0.ask(Work::EmptyLog).await
    }

    /// Runs `change` in a transaction of its own.
    pub(super) async fn edit<T, F>(&self, change: F) -> Result<T>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.0.ask(|reply| Work::Edit(Box::new(EditFn { change, reply }))).await
    }
}

/// Starts the writer. `lock` is held until it has ended.
pub(super) fn start(
    connection: SqliteConnection,
    lock: File,
    identity: Identity,
    shared: Arc<Shared>,
) -> WriterHandle {
    let (hand_in, mut inbox) = queue::queue();
    let identity = Arc::new(identity);
    let known = Arc::clone(&identity);
    tokio::spawn(async move {
        let sequences = Sequences::default();
        Writer { connection, shared, sequences, identity: known, told: false }.run(&mut inbox).await;
        drop(lock);
    });
    WriterHandle(hand_in, identity)
}

fn lost_words(path: &Path) -> String {
    format!("{} was removed or replaced, and nothing is stored any more; restart Posthorn", path.display())
}

struct Writer {
    connection: SqliteConnection,
    shared: Arc<Shared>,
    sequences: Sequences,
    identity: Arc<Identity>,
    /// Whether it was told that the files are gone.
    told: bool,
}

impl Writer {
    async fn run(mut self, inbox: &mut Inbox<Work>) {
        while let Some(works) = inbox.next_group(GROUP).await {
            let mut group = Vec::new();
            for work in works {
                match work {
                    Work::Grouped(job) => group.push(job),
                    Work::Edit(edit) => {
                        self.commit_group(std::mem::take(&mut group), inbox).await;
                        self.commit_edit(edit).await;
                    }
                    Work::EmptyLog(reply) => {
                        self.commit_group(std::mem::take(&mut group), inbox).await;
                        // A caller that has gone away needs no answer.
                        let _ = reply.send(self.empty_log().await);
                    }
                }
            }
            self.commit_group(group, inbox).await;
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }

    /// Readers that are under way keep it from being cut, and it does not wait for them:
    /// others want to write.
    async fn empty_log(&mut self) -> Result<bool> {
        let failed = || store_error("empty the write-ahead log");
        let no_wait = sqlx::query("PRAGMA busy_timeout = 0").execute(&mut self.connection).await;
        no_wait.map_err(failed())?;
        let busy = sqlx::query_scalar::<_, i64>("PRAGMA wal_checkpoint(TRUNCATE)");
        let busy = busy.fetch_one(&mut self.connection).await;
        let as_before =
            sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA busy_timeout = {}", BUSY.as_millis())));
        as_before.execute(&mut self.connection).await.map_err(failed())?;
        match busy {
            Ok(busy) => Ok(busy == 0),
            Err(error) if transient_cause(&error).is_some() => Ok(false),
            Err(error) => Err(failed()(error)),
        }
    }

    /// Commits the jobs in as few transactions as can be, answers each, and puts
    /// back what is done in part.
    async fn commit_group(&mut self, jobs: Vec<Job>, inbox: &mut Inbox<Work>) {
        if jobs.is_empty() {
            return;
        }
        let mut groups = Halves::new(jobs);
        while let Some(jobs) = groups.next() {
            let mut group = Group::default();
            match self.try_group(&jobs, &mut group).await {
                Ok(()) => {
                    for job in group.answer(jobs, &self.shared).into_iter().rev() {
                        inbox.put_back(Work::Grouped(job));
                    }
                }
                Err(error) => {
                    // What had a place in a lane gives it up.
                    drop(group);
                    self.sequences.forget();
                    if jobs.len() == 1 || transient_cause(&error).is_some() {
                        tracing::warn!(%error, jobs = jobs.len(), "a group of writes failed");
                        let told = store_error("write to the delivery log")(error);
                        jobs.into_iter().for_each(|job| job.refuse(told.clone()));
                    } else {
                        tracing::warn!(%error, jobs = jobs.len(), "a group of writes failed and is split");
                        groups.split(jobs);
                    }
                }
            }
        }
    }

    async fn try_group(&mut self, jobs: &[Job], group: &mut Group) -> sqlx::Result<()> {
        for care in [Care::Fast, Care::Thorough] {
            let version = begin(&mut self.connection).await?;
            let written =
                group.write(&mut self.connection, &self.shared, &mut self.sequences, version, jobs, care);
            match written.await {
                Ok(Written::All) => {
                    group.effects.set_fate(Fate::Unknown);
                    return self.commit(group.witness(jobs)).await;
                }
                Ok(Written::SomeAreLate) => roll_back(&mut self.connection).await,
                Err(error) => {
                    roll_back(&mut self.connection).await;
                    return Err(error);
                }
            }
        }
        unreachable!("thorough care tells late attempts apart")
    }

    /// Commits, and checks that what was written can be found again.
    async fn commit(&mut self, witness: Option<Witness>) -> sqlx::Result<()> {
        self.commit_only(witness).await?;
        let Some(lost) = self.identity.lost() else { return Ok(()) };
        let words = lost_words(lost);
        if !std::mem::replace(&mut self.told, true) {
            tracing::error!("{words}");
        }
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::NotFound, words)))
    }

    /// Commits. If that fails, looks whether it happened all the same.
    async fn commit_only(&mut self, witness: Option<Witness>) -> sqlx::Result<()> {
        let Err(error) = sqlx::query("COMMIT").execute(&mut self.connection).await else { return Ok(()) };
        roll_back(&mut self.connection).await;
        if let Some(event) = witness {
            let (project, event) = event;
            let found = sqlx::query("SELECT 1 FROM events WHERE project = ? AND id = ?");
            let found = found.bind(project.0).bind(event.0);
            if found.fetch_optional(&mut self.connection).await?.is_some() {
                return Ok(());
            }
        }
        Err(error)
    }

    async fn commit_edit(&mut self, edit: Box<dyn Edit>) {
        if let Err(error) = begin(&mut self.connection).await {
            tracing::warn!(%error, "a change could not begin");
            return edit.refuse(store_error("begin a change")(error));
        }
        match edit.run(&mut self.connection).await {
            Some(answer) => {
                let committed = self.commit(None).await;
                if committed.is_ok()
                    && let Err(error) = self.shared.refresh_through(&mut self.connection).await
                {
                    tracing::warn!(%error, "cannot reload the configuration after a change");
                }
                answer(committed.map_err(store_error("commit a change")));
            }
            None => roll_back(&mut self.connection).await,
        }
    }
}

/// Begins a transaction, and gives the version of the configuration in it.
async fn begin(connection: &mut SqliteConnection) -> sqlx::Result<i64> {
    let begun = sqlx::query_scalar("BEGIN IMMEDIATE; SELECT version FROM configuration");
    let version = begun.fetch_one(&mut *connection).await;
    if version.is_err() {
        // The first of the two may have succeeded.
        roll_back(connection).await;
    }
    version
}

async fn roll_back(connection: &mut SqliteConnection) {
    // Some failures have ended the transaction already; then this one fails, rightly.
    if let Err(error) = sqlx::query("ROLLBACK").execute(connection).await {
        tracing::debug!(%error, "nothing to roll back");
    }
}

impl queue::Job for Work {
    fn bytes(&self) -> usize {
        match self {
            Self::Grouped(Job::Publish(publish, _)) => publish.data.as_bytes().len(),
            Self::Grouped(Job::Finish(finished, _)) => {
                finished.attempt.answer.as_ref().map_or(0, |answer| answer.body.len())
            }
            Self::Grouped(Job::Claim(claim, _)) => claim.max_bytes / 8,
            Self::Grouped(Job::FanOut(..)) => 0,
            Self::Edit(_) | Self::EmptyLog(_) => 0,
        }
    }

    fn rows(&self) -> usize {
        match self {
            // The event, its data, its key, and a delivery for each endpoint.
            Self::Grouped(Job::Publish(publish, _)) => 3 + publish.endpoints.min(PART),
            Self::Grouped(Job::FanOut(..)) => PART,
            Self::Grouped(Job::Finish(..)) => 2,
            // Most lanes have less than they may claim.
            Self::Grouped(Job::Claim(claim, _)) => CLAIM + claim.limit as usize / 2,
            Self::Edit(_) | Self::EmptyLog(_) => EDIT,
        }
    }

    fn turn(&self) -> Turn {
        match self {
            Self::Grouped(Job::Publish(publish, _)) => Turn::Tenant(publish.tenant),
            Self::Grouped(Job::FanOut(fan_out, _)) => Turn::Tenant(fan_out.event.tenant),
            Self::Grouped(Job::Finish(..) | Job::Claim(..)) => Turn::Platform,
            Self::Edit(_) | Self::EmptyLog(_) => Turn::Changes,
        }
    }

    fn is_patient(&self) -> bool {
        matches!(self, Self::Grouped(Job::Finish(..)))
    }

    fn is_abandoned(&self) -> bool {
        matches!(self, Self::Grouped(Job::Publish(_, reply)) if reply.is_closed())
    }
}

impl Job {
    fn refuse(self, error: StoreError) {
        // A caller that has gone away needs no answer.
        match self {
            Self::Publish(_, reply) => drop(reply.send(Err(error))),
            Self::Finish(_, reply) => drop(reply.send(Err(error))),
            Self::Claim(_, reply) => drop(reply.send(Err(error))),
            Self::FanOut(_, reply) => drop(reply.map(|reply| reply.send(Err(error)))),
        }
    }
}

/// An event by which a commit is recognised.
type Witness = (ProjectId, EventId);

/// How closely finished attempts are looked at. Late ones are rare, and
/// telling which they are costs an answer for each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Finds out whether some are late.
    Fast,
    /// Finds out which.
    Thorough,
}

/// Whether a transaction can be committed.
enum Written {
    All,
    /// It has to be done again with more care.
    SomeAreLate,
}

/// What a transaction has done, to be told when it is committed.
#[derive(Default)]
struct Group {
    published: VecDeque<Published>,
    recorded: VecDeque<Recorded>,
    claimed: VecDeque<ClaimedDeliveries>,
    /// Whether the parts of fan-outs were still to be written.
    moved: VecDeque<bool>,
    effects: Effects,
}

impl Group {
    async fn write(
        &mut self,
        connection: &mut SqliteConnection,
        shared: &Shared,
        sequences: &mut Sequences,
        version: i64,
        jobs: &[Job],
        care: Care,
    ) -> sqlx::Result<Written> {
        let mut publishes = Vec::new();
        let mut finished = Vec::new();
        let mut claims = Vec::new();
        let mut fan_outs = Vec::new();
        for job in jobs {
            match job {
                Job::Publish(publish, _) => publishes.push(publish.as_ref()),
                Job::Finish(finish, _) => finished.push(finish.as_ref()),
                Job::Claim(claim, _) => claims.push(claim),
                Job::FanOut(fan_out, _) => fan_outs.push(fan_out.as_ref()),
            }
        }
        if !finished.is_empty() {
            match finish::record(connection, &finished, care).await? {
                Some(recorded) => self.recorded = recorded.into(),
                None => return Ok(Written::SomeAreLate),
            }
        }
        for claim in claims {
            self.claimed.push_back(lanes::claim_due(connection, claim).await?);
        }
        for fan_out in fan_outs {
            let moved = parts::write(connection, shared, version, fan_out, &mut self.effects);
            self.moved.push_back(moved.await?);
        }
        if !publishes.is_empty() {
            self.published =
                publish::publish(connection, shared, version, sequences, &publishes, &mut self.effects)
                    .await?
                    .into();
        }
        Ok(Written::All)
    }

    /// An event of the group, by which its commit is recognised.
    fn witness(&self, jobs: &[Job]) -> Option<Witness> {
        let publishes = jobs.iter().filter_map(|job| match job {
            Job::Publish(publish, _) => Some(publish.project),
            _ => None,
        });
        publishes.zip(&self.published).find_map(|(project, published)| match published {
            Published::Accepted { event, .. } => Some((project, *event)),
            _ => None,
        })
    }

    /// Gives what is left to do of events for many endpoints.
    fn answer(mut self, jobs: Vec<Job>, shared: &Shared) -> Vec<Job> {
        const ONE_EACH: &str = "every job of a group has a result";
        let mut left = Vec::new();
        for job in jobs {
            // A caller that has gone away needs no answer.
            match job {
                Job::Publish(_, reply) => drop(reply.send(Ok(self.published.pop_front().expect(ONE_EACH)))),
                Job::Finish(_, reply) => drop(reply.send(Ok(self.recorded.pop_front().expect(ONE_EACH)))),
                Job::Claim(_, reply) => drop(reply.send(Ok(self.claimed.pop_front().expect(ONE_EACH)))),
                Job::FanOut(fan_out, reply) => {
                    let moved = self.moved.pop_front().expect(ONE_EACH);
                    match fan_out.moved_on().filter(|_| moved) {
                        Some(rest) => left.push(Job::FanOut(Box::new(rest), reply)),
                        None => drop(reply.map(|reply| reply.send(Ok(())))),
                    }
                }
            }
        }
        let begun = std::mem::take(&mut self.effects.fan_outs).into_iter();
        left.extend(begun.map(|fan_out| Job::FanOut(Box::new(fan_out), None)));
        self.effects.tell(shared.hand_off.get().as_ref());
        left
    }
}
