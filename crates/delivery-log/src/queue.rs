//! A bounded queue whose work is taken in groups.
//!
//! While one group is being done, the next one gathers by itself. Work for
//! which nobody waits may wait a little for company; all other work never does.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::{Result, StoreError};

/// How many jobs may wait. More are refused.
const QUEUE: usize = 8_192;
/// The greatest number of bytes in one group, roughly.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// How long patient work waits for company.
const COMPANY: Duration = Duration::from_millis(5);
/// How long a caller waits for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a job's answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// Work that can be done in company.
pub(crate) trait Job: Send + 'static {
    /// How much it carries, roughly.
    fn bytes(&self) -> usize;

    /// Whether it may wait a little for company, because nobody waits for it.
    fn is_patient(&self) -> bool;
}

enum Task<J> {
    Job(J),
    /// The last one: what came before is done.
    Close(oneshot::Sender<()>),
}

/// The end where jobs are handed in.
pub(crate) struct HandIn<J>(mpsc::Sender<Task<J>>);

/// The end where they are taken.
pub(crate) struct Inbox<J> {
    tasks: mpsc::Receiver<Task<J>>,
    closing: Option<oneshot::Sender<()>>,
}

/// A new queue.
pub(crate) fn queue<J: Job>() -> (HandIn<J>, Inbox<J>) {
    let (sender, tasks) = mpsc::channel(QUEUE);
    (HandIn(sender), Inbox { tasks, closing: None })
}

impl<J> std::fmt::Debug for HandIn<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HandIn")
    }
}

impl<J: Job> HandIn<J> {
    /// Has a job done, and waits for its answer.
    pub(crate) async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> J) -> Result<T> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        let (reply, answer) = oneshot::channel();
        self.0.send_timeout(Task::Job(job(reply)), PATIENCE).await.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => StoreError::Overloaded,
            SendTimeoutError::Closed(_) => closed(),
        })?;
        answer.await.map_err(|_| closed())?
    }

    /// Whether nothing is done any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits until all that was handed in is done.
    pub(crate) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.0.send(Task::Close(done)).await.is_ok() {
            // The other end drops it when it is done.
            let _ = closed.await;
        }
    }
}

impl<J: Job> Inbox<J> {
    /// What waits now, at least one and at most `limit` jobs; `None` when the
    /// queue is closed and empty.
    pub(crate) async fn next_group(&mut self, limit: usize) -> Option<Vec<J>> {
        let mut group = Vec::new();
        let mut bytes = 0;
        let mut patient = true;
        let mut next = self.tasks.recv().await;
        let until = Instant::now() + COMPANY;
        while let Some(task) = next {
            match task {
                Task::Job(job) => {
                    bytes += job.bytes();
                    patient &= job.is_patient();
                    group.push(job);
                }
                Task::Close(done) => {
                    // No more is taken; what is in the queue is still done.
                    self.tasks.close();
                    self.closing = Some(done);
                }
            }
            if group.len() >= limit || bytes >= GROUP_BYTES {
                break;
            }
            next = match self.tasks.try_recv() {
                Ok(task) => Some(task),
                Err(_) if group.is_empty() => self.tasks.recv().await,
                Err(_) if patient => timeout_at(until, self.tasks.recv()).await.ok().flatten(),
                Err(_) => None,
            };
        }
        (!group.is_empty()).then_some(group)
    }
}

/// Groups to be done, which fall into halves when one of their jobs is bad,
/// so that it fails alone.
pub(crate) struct Halves<J>(VecDeque<Vec<J>>);

impl<J> Halves<J> {
    pub(crate) fn new(jobs: Vec<J>) -> Self {
        Self(VecDeque::from([jobs]))
    }

    pub(crate) fn next(&mut self) -> Option<Vec<J>> {
        self.0.pop_front()
    }

    /// Does a group again in two parts, in the same order.
    pub(crate) fn split(&mut self, mut jobs: Vec<J>) {
        let half = jobs.split_off(jobs.len() / 2);
        self.0.push_front(half);
        self.0.push_front(jobs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Number(u32, Reply<u32>);

    impl Job for Number {
        fn bytes(&self) -> usize {
            1
        }

        fn is_patient(&self) -> bool {
            self.0 >= 100
        }
    }

    #[tokio::test]
    async fn what_waits_is_taken_together_and_closing_comes_last() {
        let (hand_in, mut inbox) = queue();
        let answers: Vec<_> = (0..5)
            .map(|n| {
                let (reply, answer) = oneshot::channel();
                hand_in.0.try_send(Task::Job(Number(n, reply))).unwrap_or_else(|_| panic!("there is room"));
                answer
            })
            .collect();
        let worker = tokio::spawn(async move {
            let mut sizes = Vec::new();
            while let Some(group) = inbox.next_group(3).await {
                sizes.push(group.len());
                group.into_iter().for_each(|Number(n, reply)| drop(reply.send(Ok(n * 2))));
            }
            sizes
        });
        hand_in.close().await;
        assert_eq!(worker.await.expect("ends"), [3, 2]);
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer.await.expect("answers").expect("is done"), n as u32 * 2);
        }
        assert!(hand_in.is_closed());
        assert!(matches!(hand_in.ask(|reply| Number(9, reply)).await, Err(StoreError::Unavailable(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn work_for_which_nobody_waits_waits_for_company_but_not_for_long() {
        let (hand_in, mut inbox) = queue();
        let hand_in = std::sync::Arc::new(hand_in);
        let ask = |n| {
            let hand_in = std::sync::Arc::clone(&hand_in);
            tokio::spawn(async move { hand_in.ask(|reply| Number(n, reply)).await })
        };
        let mut take = async || {
            let began = Instant::now();
            let group = inbox.next_group(10).await.expect("a group");
            (group.iter().map(|job| job.0).collect::<Vec<_>>(), began.elapsed())
        };
        ask(100);
        assert_eq!(take().await, (vec![100], COMPANY));
        ask(101);
        ask(1);
        assert_eq!(take().await, (vec![101, 1], Duration::ZERO));
    }

    #[test]
    fn a_group_is_split_in_order() {
        let mut halves = Halves::new(vec![1, 2, 3, 4, 5]);
        let all = halves.next().expect("a group");
        halves.split(all);
        assert_eq!(
            (halves.next(), halves.next(), halves.next()),
            (Some(vec![1, 2]), Some(vec![3, 4, 5]), None)
        );
    }
}
