//! The connection that publishes and finishes, and group commit.
//!
//! What waits at the same time is written by one statement, which is a
//! transaction of its own: one round trip, and nothing that a process could
//! leave open. A caller is answered after the commit, never before.
//!
//! A part of an event for many endpoints is a statement by itself, after those
//! of its group, and what is left of the event is put back into the queue.
//!
//! If a group fails because of one of its rows, it is split and tried again,
//! so that one bad row fails alone.

use std::sync::Arc;

use super::counters::Counters;
use super::group::{Group, Trouble};
use super::link::Link;
use super::machines::Machines;
use super::{FanOut, Shared, parts, store_error};
use crate::deliveries::{Finished, Recorded};
use crate::events::{Publish, Published};
use crate::queue::{self, Halves, HandIn, Inbox, PART, Reply, Turn};
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

enum Work {
    Grouped(Job),
    /// The answer is for whoever wants to know when all is written.
    FanOut(Box<FanOut>, Option<Reply<()>>),
}

/// Where the rest of the store hands in what is to be written.
#[derive(Debug)]
pub(super) struct WriterHandle(HandIn<Work>, Arc<Machines>);

impl WriterHandle {
    /// Whether nothing is written any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    pub(super) async fn publish(&self, publishes: Vec<Publish>) -> Vec<Result<Published>> {
        if let Err(lacks) = self.1.check() {
            return publishes.iter().map(|_| Err(lacks.clone())).collect();
        }
        let job = |publish, reply| Work::Grouped(Job::Publish(Box::new(publish), reply));
        self.0.ask_all(publishes, job).await
    }

    /// Gives events to the rest of their endpoints.
    pub(super) async fn go_on_with(&self, fan_outs: Vec<FanOut>) -> Result<()> {
        let job = |fan_out, reply| Work::FanOut(Box::new(fan_out), Some(reply));
        self.0.ask_all(fan_outs, job).await.into_iter().collect()
    }

    pub(super) async fn finish(&self, finished: Arc<Finished>) -> Result<Recorded> {
        self.0.ask(|reply| Work::Grouped(Job::Finish(finished, reply))).await
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
    async fn run(mut self, mut inbox: Inbox<Work>) {
        while let Some(works) = inbox.next_group(GROUP).await {
            let mut group = Vec::new();
            let mut parts = Vec::new();
            for work in works {
                match work {
                    Work::Grouped(job) => group.push(job),
                    Work::FanOut(fan_out, reply) => parts.push((fan_out, reply)),
                }
            }
            let begun = self.write(group).await;
            let mut left: Vec<Work> =
                begun.into_iter().map(|fan_out| Work::FanOut(Box::new(fan_out), None)).collect();
            for (fan_out, reply) in parts {
                left.extend(self.write_part(fan_out, reply).await);
            }
            left.into_iter().rev().for_each(|work| inbox.put_back(work));
        }
        self.link.close().await;
    }

    /// Writes a part of an event for many endpoints, and gives what is left to
    /// do. If that fails, the mark in the database says so to whoever looks.
    async fn write_part(&mut self, fan_out: Box<FanOut>, reply: Option<Reply<()>>) -> Option<Work> {
        let told = match parts::write(&mut self.link, &self.shared, &fan_out).await {
            Ok(Some(effects)) => {
                effects.tell(self.shared.hand_off.get().as_ref());
                match fan_out.moved_on() {
                    Some(rest) => return Some(Work::FanOut(Box::new(rest), reply)),
                    None => Ok(()),
                }
            }
            Ok(None) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "a part of an event for many endpoints was not written");
                Err(store_error("write to the delivery log")(error))
            }
        };
        // Mostly nobody waits for it.
        let _ = reply.map(|reply| reply.send(told));
        None
    }

    /// Writes the jobs in as few statements as can be, and answers each. Gives
    /// the events of which a part is written.
    async fn write(&mut self, jobs: Vec<Job>) -> Vec<FanOut> {
        let mut begun = Vec::new();
        if jobs.is_empty() {
            return begun;
        }
        let mut groups = Halves::new(jobs);
        while let Some(jobs) = groups.next() {
            match Group::write(&mut self.link, &self.shared, &self.machines, &mut self.counters, &jobs).await
            {
                Ok(group) => begun.extend(group.answer(jobs, &self.shared)),
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
        begun
    }
}

impl queue::Job for Work {
    fn bytes(&self) -> usize {
        match self {
            Self::Grouped(Job::Publish(publish, _)) => publish.data.as_bytes().len(),
            Self::Grouped(Job::Finish(finished, _)) => {
                finished.attempt.answer.as_ref().map_or(0, |answer| answer.body.len())
            }
            Self::FanOut(..) => 0,
        }
    }

    fn rows(&self) -> usize {
        match self {
            // The event, its key, and a delivery for each endpoint.
            Self::Grouped(Job::Publish(publish, _)) => 2 + publish.endpoints.min(PART),
            Self::FanOut(..) => PART,
            Self::Grouped(Job::Finish(..)) => 2,
        }
    }

    fn turn(&self) -> Turn {
        match self {
            Self::Grouped(Job::Publish(publish, _)) => Turn::Tenant(publish.tenant),
            Self::FanOut(fan_out, _) => Turn::Tenant(fan_out.event.tenant),
            Self::Grouped(Job::Finish(..)) => Turn::Platform,
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
        }
    }
}
