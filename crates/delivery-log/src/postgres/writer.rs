//! The connection that publishes and finishes, and group commit.
//!
//! What waits at the same time is written by one statement, which is a
//! transaction of its own: one round trip, and nothing that a process could
//! leave open. Nothing waits for company: while one group is on its way, the
//! next one gathers by itself. A caller is answered after the commit, never
//! before.
//!
//! If a group fails because of one of its rows, it is split and tried again,
//! so that one bad row fails alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{mpsc, oneshot};

use super::counters::Counters;
use super::group::{Group, Trouble};
use super::link::Link;
use super::{Shared, store_error};
use crate::deliveries::{Finished, Recorded};
use crate::events::{Publish, Published};
use crate::{Result, StoreError};

/// How many jobs may wait to be written. Publishing is refused beyond it.
const QUEUE: usize = 8_192;
/// The greatest number of jobs in one statement.
const GROUP: usize = 512;
/// The greatest number of bytes of data in one statement, roughly.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// How long a caller waits for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(2);

type Reply<T> = oneshot::Sender<Result<T>>;

/// Work that can be done in company, and again if the company failed.
pub(super) enum Job {
    Publish(Box<Publish>, Reply<Published>),
    Finish(Arc<Finished>, Reply<Recorded>),
}

enum Task {
    Job(Job),
    /// The last one: what came before is written, then the connection is closed.
    Close(oneshot::Sender<()>),
}

/// Where the rest of the store hands in what is to be written.
#[derive(Debug, Clone)]
pub(super) struct WriterHandle {
    tasks: mpsc::Sender<Task>,
}

impl WriterHandle {
    async fn hand_in<T>(&self, job: Job, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        self.tasks.send_timeout(Task::Job(job), PATIENCE).await.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => StoreError::Overloaded,
            SendTimeoutError::Closed(_) => closed(),
        })?;
        answer.await.map_err(|_| closed())?
    }

    /// Whether nothing is written any more.
    pub(super) fn is_closed(&self) -> bool {
        self.tasks.is_closed()
    }

    pub(super) async fn publish(&self, publish: Publish) -> Result<Published> {
        let (reply, answer) = oneshot::channel();
        self.hand_in(Job::Publish(Box::new(publish), reply), answer).await
    }

    pub(super) async fn finish(&self, finished: Arc<Finished>) -> Result<Recorded> {
        let (reply, answer) = oneshot::channel();
        self.hand_in(Job::Finish(finished, reply), answer).await
    }

    /// Waits until all that was handed in is written.
    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.tasks.send(Task::Close(done)).await.is_ok() {
            // The writer drops its end when it is done.
            let _ = closed.await;
        }
    }
}

/// Starts the writer.
pub(super) fn start(link: Link, shared: Arc<Shared>) -> WriterHandle {
    let (tasks, inbox) = mpsc::channel(QUEUE);
    tokio::spawn(async move { Writer { link, shared, counters: Counters::default() }.run(inbox).await });
    WriterHandle { tasks }
}

struct Writer {
    link: Link,
    shared: Arc<Shared>,
    counters: Counters,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::Receiver<Task>) -> Option<oneshot::Sender<()>> {
        let mut closing = None;
        while let Some(first) = inbox.recv().await {
            let mut group = Vec::new();
            let mut bytes = 0;
            let mut next = Some(first);
            while let Some(task) = next {
                match task {
                    Task::Job(job) => {
                        bytes += job.bytes();
                        group.push(job);
                    }
                    Task::Close(done) => {
                        // No more is taken; what is in the queue is still done.
                        inbox.close();
                        closing = Some(done);
                    }
                }
                next = if group.len() < GROUP && bytes < GROUP_BYTES { inbox.try_recv().ok() } else { None };
            }
            self.write(group).await;
        }
        self.link.close().await;
        closing
    }

    /// Writes the jobs in as few statements as can be, and answers each.
    async fn write(&mut self, jobs: Vec<Job>) {
        let mut groups = VecDeque::from([jobs]);
        while let Some(mut jobs) = groups.pop_front() {
            if jobs.is_empty() {
                continue;
            }
            match Group::write(&mut self.link, &self.shared, &mut self.counters, &jobs).await {
                Ok(group) => group.answer(jobs, &self.shared),
                Err(Trouble::Row(error)) if jobs.len() > 1 => {
                    tracing::warn!(%error, jobs = jobs.len(), "a group of writes failed and is split");
                    let half = jobs.split_off(jobs.len() / 2);
                    groups.push_front(half);
                    groups.push_front(jobs);
                }
                Err(Trouble::Row(error) | Trouble::Database(error)) => {
                    tracing::warn!(%error, jobs = jobs.len(), "a group of writes failed");
                    let told = store_error("write to the delivery log")(error);
                    jobs.into_iter().for_each(|job| job.refuse(told.clone()));
                }
            }
        }
    }
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Publish(publish, _) => publish.data.as_bytes().len(),
            Self::Finish(finished, _) => {
                finished.attempt.answer.as_ref().map_or(0, |answer| answer.body.len())
            }
        }
    }

    fn refuse(self, error: StoreError) {
        // A caller that has gone away needs no answer.
        match self {
            Self::Publish(_, reply) => drop(reply.send(Err(error))),
            Self::Finish(_, reply) => drop(reply.send(Err(error))),
        }
    }
}
