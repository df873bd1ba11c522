//! The connection that publishes and finishes, and group commit.
//!
//! What waits at the same time is written by one statement, which is a
//! transaction of its own: one round trip, and nothing that a process could
//! leave open. A caller is answered after the commit, never before.
//!
//! If a group fails because of one of its rows, it is split and tried again,
//! so that one bad row fails alone.

use std::sync::Arc;

use super::counters::Counters;
use super::group::{Group, Trouble};
use super::link::Link;
use super::machines::Machines;
use super::{Shared, store_error};
use crate::deliveries::{Finished, Recorded};
use crate::events::{Publish, Published};
use crate::queue::{self, Halves, HandIn, Inbox, Reply, Turn};
use crate::{Result, StoreError};

/// The greatest number of jobs in one statement.
const GROUP: usize = 512;

/// Work that can be done in company, and again if the company failed. A
/// publisher waits for an answer; for the log of an attempt nobody waits, so
/// it goes along with the publishes that come next.
pub(super) enum Job {
    Publish(Box<Publish>, Reply<Published>),
    Finish(Arc<Finished>, Reply<Recorded>),
}

/// Where the rest of the store hands in what is to be written.
#[derive(Debug)]
pub(super) struct WriterHandle(HandIn<Job>, Arc<Machines>);

impl WriterHandle {
    /// Whether nothing is written any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    pub(super) async fn publish(&self, publishes: Vec<Publish>) -> Vec<Result<Published>> {
        if let Err(lacks) = self.1.check() {
            return publishes.iter().map(|_| Err(lacks.clone())).collect();
        }
        self.0.ask_all(publishes, |publish, reply| Job::Publish(Box::new(publish), reply)).await
    }

    pub(super) async fn finish(&self, finished: Arc<Finished>) -> Result<Recorded> {
        self.0.ask(|reply| Job::Finish(finished, reply)).await
    }

    /// Waits until all that was handed in is written.
    pub(super) async fn close(&self) {
        self.0.close().await;
    }
}

/// Starts the writer.
pub(super) fn start(link: Link, shared: Arc<Shared>, machines: Arc<Machines>) -> WriterHandle {
    let (hand_in, inbox) = queue::queue();
    let writer = Writer { link, shared, machines: Arc::clone(&machines), counters: Counters::default() };
    tokio::spawn(writer.run(inbox));
    WriterHandle(hand_in, machines)
}

struct Writer {
    link: Link,
    shared: Arc<Shared>,
    machines: Arc<Machines>,
    counters: Counters,
}

impl Writer {
    async fn run(mut self, mut inbox: Inbox<Job>) {
        while let Some(group) = inbox.next_group(GROUP).await {
            self.write(group).await;
        }
        self.link.close().await;
    }

    /// Writes the jobs in as few statements as can be, and answers each.
    async fn write(&mut self, jobs: Vec<Job>) {
        let mut groups = Halves::new(jobs);
        while let Some(jobs) = groups.next() {
            match Group::write(&mut self.link, &self.shared, &self.machines, &mut self.counters, &jobs).await
            {
                Ok(group) => group.answer(jobs, &self.shared),
                Err(Trouble::Row(error)) if jobs.len() > 1 => {
                    tracing::warn!(%error, jobs = jobs.len(), "a group of writes failed and is split");
                    groups.split(jobs);
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

impl queue::Job for Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Publish(publish, _) => publish.data.as_bytes().len(),
            Self::Finish(finished, _) => {
                finished.attempt.answer.as_ref().map_or(0, |answer| answer.body.len())
            }
        }
    }

    fn rows(&self) -> usize {
        match self {
            // The event, its key, and a delivery for each endpoint.
            Self::Publish(publish, _) => 2 + publish.endpoints,
            Self::Finish(..) => 2,
        }
    }

    fn turn(&self) -> Turn {
        match self {
            Self::Publish(publish, _) => Turn::Tenant(publish.tenant),
            Self::Finish(..) => Turn::Platform,
        }
    }

    fn is_patient(&self) -> bool {
        matches!(self, Self::Finish(..))
    }

    fn is_abandoned(&self) -> bool {
        matches!(self, Self::Publish(_, reply) if reply.is_closed())
    }
}

impl Job {
    fn refuse(self, error: StoreError) {
        // A caller that has gone away needs no answer.
        match self {
            Self::Publish(_, reply) => drop(reply.send(Err(error))),
            Self::Finish(_, reply) => drop(reply.send(Err(error))),
        }
    }
}
