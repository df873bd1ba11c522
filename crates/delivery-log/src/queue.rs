//! A bounded queue whose work is taken in groups, and by turns.
//!
//! While one group is being done, the next one gathers by itself. Work for
//! which nobody waits may wait a little for company; all other work never does.
//!
//! A group is bounded by what it costs: bytes and rows, and only then jobs. Wide
//! jobs, those with many rows, have a smaller part of it: they are one event
//! for many endpoints, and whoever comes with a narrow one waits for the whole
//! group that is under way, and for its own.
//! Tenants take turns, so that one whose events go to a thousand endpoints
//! fills its own groups and delays others by a part of one of its events at
//! most; the part that comes next is put back, before all else of the tenant. A
//! tenant has a share of the queue, so that it cannot fill it for the others.
//! Within a turn, work is done in the order in which it was handed in. What a
//! caller no longer waits for is left out, so that what was cut off when a
//! server ends does not keep it from ending.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use model::ids::TenantId;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::{Result, StoreError};

/// How many jobs may wait. More are refused.
const QUEUE: usize = 8_192;
/// How many of them may be one tenant's.
const TENANT_SHARE: usize = QUEUE / 8;
/// From how many tenants on those who have no job any more are forgotten.
const MANY_TENANTS: usize = 1_024;
/// The greatest number of bytes in one group, roughly.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// The greatest number of rows in one group, roughly; a single job may have more.
const GROUP_ROWS: usize = 2_048;
/// A job with more rows than this is wide.
const NARROW: usize = 16;
/// The greatest number of rows of wide jobs in one group, roughly.
const WIDE_ROWS: usize = 2 * PART;
/// The greatest number of deliveries of one event that are written in one
/// transaction. What is beyond is written in further parts of this size.
pub(crate) const PART: usize = 64;
/// How long patient work waits for company.
const COMPANY: Duration = Duration::from_millis(5);
/// How long a caller waits for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a job's answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// Whose turn it is when a job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Turn {
    /// The platform's own work, which everything else waits for: what has
    /// ended, and what is due.
    Platform,
    /// Changes, each alone in its transaction.
    Changes,
    /// What a tenant publishes.
    Tenant(TenantId),
}

/// Work that can be done in company.
pub(crate) trait Job: Send + 'static {
    /// How much it carries, roughly.
    fn bytes(&self) -> usize;

    /// How many rows it touches, roughly.
    fn rows(&self) -> usize;

    /// Whose turn it is.
    fn turn(&self) -> Turn;

    /// Whether it may wait a little for company, because nobody waits for it.
    fn is_patient(&self) -> bool;

    /// Whether its caller has gone, and nothing was promised: it need not be
    /// done.
    fn is_abandoned(&self) -> bool;
}

/// A job that waits, and its place in its tenant's share of the queue.
struct Waiting<J> {
    job: J,
    _place: Option<OwnedSemaphorePermit>,
}

enum Task<J> {
    Job(Waiting<J>),
    /// The last one: what came before is done.
    Close(oneshot::Sender<()>),
}

/// The end where jobs are handed in.
pub(crate) struct HandIn<J> {
    tasks: mpsc::Sender<Task<J>>,
    shares: Shares,
}

/// What each tenant's jobs have left of its share of the queue.
#[derive(Default)]
struct Shares(Mutex<HashMap<TenantId, Weak<Semaphore>>>);

impl Shares {
    fn of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&tenant).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() >= MANY_TENANTS {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(TENANT_SHARE));
        shares.insert(tenant, Arc::downgrade(&share));
        share
    }
}

/// The end where they are taken.
pub(crate) struct Inbox<J> {
    tasks: mpsc::Receiver<Task<J>>,
    waiting: HashMap<Turn, VecDeque<Waiting<J>>>,
    /// Whose turn it is next, of those who wait.
    turns: VecDeque<Turn>,
    /// Whose job found too little room in the last group. It is the first of
    /// the next one, before the platform's, which could keep it out for ever.
    passed_over: Option<Turn>,
    /// How many wait here.
    held: usize,
    closing: Option<oneshot::Sender<()>>,
}

/// A new queue.
pub(crate) fn queue<J: Job>() -> (HandIn<J>, Inbox<J>) {
    let (sender, tasks) = mpsc::channel(QUEUE);
    let inbox = Inbox {
        tasks,
        waiting: HashMap::new(),
        turns: VecDeque::new(),
        passed_over: None,
        held: 0,
        closing: None,
    };
    (HandIn { tasks: sender, shares: Shares::default() }, inbox)
}

impl<J> std::fmt::Debug for HandIn<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HandIn")
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is closed".to_owned())
}

impl<J: Job> HandIn<J> {
    /// Has a job done, and waits for its answer.
    pub(crate) async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> J) -> Result<T> {
        self.hand_in(job).await?.await.map_err(|_| closed())?
    }

    /// Has jobs done in their order, and waits for all answers. Where one finds
    /// no place, those behind it are not done either.
    pub(crate) async fn ask_all<T, W>(&self, work: Vec<W>, job: impl Fn(W, Reply<T>) -> J) -> Vec<Result<T>> {
        let mut answers = Vec::with_capacity(work.len());
        let mut refused = None;
        for one in work {
            answers.push(match &refused {
                Some(error) => Err(StoreError::clone(error)),
                None => self.hand_in(|reply| job(one, reply)).await.inspect_err(|error| {
                    refused = Some(error.clone());
                }),
            });
        }
        let mut results = Vec::with_capacity(answers.len());
        for answer in answers {
            results.push(match answer {
                Ok(answer) => answer.await.unwrap_or_else(|_| Err(closed())),
                Err(error) => Err(error),
            });
        }
        results
    }

    /// Hands a job in. The answer need not be waited for.
    async fn hand_in<T>(&self, job: impl FnOnce(Reply<T>) -> J) -> Result<oneshot::Receiver<Result<T>>> {
        let (reply, answer) = oneshot::channel();
        let job = job(reply);
        let until = Instant::now() + PATIENCE;
        let place = match job.turn() {
            Turn::Tenant(tenant) => {
                let place = timeout_at(until, self.shares.of(tenant).acquire_owned()).await;
                Some(place.map_err(|_| StoreError::Overloaded)?.map_err(|_| closed())?)
            }
            Turn::Platform | Turn::Changes => None,
        };
        let task = Task::Job(Waiting { job, _place: place });
        let sent = self.tasks.send_timeout(task, until.saturating_duration_since(Instant::now())).await;
        sent.map(|()| answer).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => StoreError::Overloaded,
            SendTimeoutError::Closed(_) => closed(),
        })
    }

    /// Whether nothing is done any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.tasks.is_closed()
    }

    /// Waits until all that was handed in is done.
    pub(crate) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.tasks.send(Task::Close(done)).await.is_ok() {
            // The other end drops it when it is done.
            let _ = closed.await;
        }
    }
}

/// How much room a group has left.
struct Room {
    jobs: usize,
    bytes: usize,
    rows: usize,
    wide_rows: usize,
}

impl Room {
    /// Whether a job fits. The first always does.
    fn takes(&self, job: &impl Job, is_first: bool) -> bool {
        let rows = if job.rows() > NARROW { self.rows.min(self.wide_rows) } else { self.rows };
        is_first || (self.jobs > 0 && job.bytes() <= self.bytes && job.rows() <= rows)
    }

    fn less(&mut self, job: &impl Job) {
        self.jobs = self.jobs.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(job.bytes());
        self.rows = self.rows.saturating_sub(job.rows());
        if job.rows() > NARROW {
            self.wide_rows = self.wide_rows.saturating_sub(job.rows());
        }
    }

    /// A part of it.
    fn half(&self) -> Self {
        let Self { jobs, bytes, rows, wide_rows } = self;
        Self { jobs: jobs / 2, bytes: bytes / 2, rows: rows / 2, wide_rows: wide_rows / 2 }
    }

    fn is_left(&self) -> bool {
        self.jobs > 0 && self.bytes > 0 && self.rows > 0
    }
}

impl<J: Job> Inbox<J> {
    /// What waits now, at least one and at most `limit` jobs; `None` when the
    /// queue is closed and empty.
    pub(crate) async fn next_group(&mut self, limit: usize) -> Option<Vec<J>> {
        loop {
            while self.held == 0 {
                let task = self.tasks.recv().await?;
                self.take_in(task);
            }
            let group = self.gather(limit).await;
            // Empty if all that waited was abandoned.
            if !group.is_empty() {
                return Some(group);
            }
        }
    }

    /// Puts work back that was done in part, before all else of its turn. Once
    /// the queue is to be closed, nothing is put back: what is left of it is for
    /// whoever comes next.
    pub(crate) fn put_back(&mut self, job: J) {
        if self.closing.is_some() {
            return;
        }
        let turn = job.turn();
        let waiting = self.waiting.entry(turn).or_default();
        if waiting.is_empty() {
            self.turns.push_back(turn);
        }
        // It has no place of its own: of a tenant's events, only the first is written
        // in part, and few were left behind.
        waiting.push_front(Waiting { job, _place: None });
        self.held += 1;
    }

    async fn gather(&mut self, limit: usize) -> Vec<J> {
        let until = Instant::now() + COMPANY;
        let mut room = Room { jobs: limit, bytes: GROUP_BYTES, rows: GROUP_ROWS, wide_rows: WIDE_ROWS };
        let mut group = Vec::new();
        loop {
            self.drain();
            self.fill(&mut group, &mut room);
            let patient = self.held == 0 && room.is_left() && group.iter().all(J::is_patient);
            if !patient {
                break;
            }
            match timeout_at(until, self.tasks.recv()).await {
                Ok(Some(task)) => self.take_in(task),
                Ok(None) | Err(_) => break,
            }
        }
        group
    }

    fn take_in(&mut self, task: Task<J>) {
        match task {
            Task::Job(one) => {
                let turn = one.job.turn();
                let waiting = self.waiting.entry(turn).or_default();
                if waiting.is_empty() {
                    self.turns.push_back(turn);
                }
                waiting.push_back(one);
                self.held += 1;
            }
            Task::Close(done) => {
                // No more is taken; what is in the queue is still done.
                self.tasks.close();
                self.closing = Some(done);
            }
        }
    }

    /// Takes in what was handed in, so that those who come later have their
    /// turn beside those who came with much.
    fn drain(&mut self) {
        while self.held < QUEUE
            && let Ok(task) = self.tasks.try_recv()
        {
            self.take_in(task);
        }
    }

    /// Fills a group: half of it with the platform's own work, then everybody
    /// by turns. Those who need more room than is left do not keep the others
    /// from theirs.
    fn fill(&mut self, group: &mut Vec<J>, room: &mut Room) {
        if group.is_empty()
            && let Some(turn) = self.passed_over.take()
            && !self.leave_out_abandoned(turn)
        {
            self.move_next(turn, group, room);
            self.go_behind(turn);
        }
        let mut own = room.half();
        while let Some(next) = self.waiting.get(&Turn::Platform).and_then(VecDeque::front)
            && own.takes(&next.job, false)
            && room.takes(&next.job, group.is_empty())
        {
            own.less(&next.job);
            self.move_next(Turn::Platform, group, room);
        }
        let mut at = 0;
        while room.is_left()
            && let Some(turn) = self.turns.get(at).copied()
        {
            if self.leave_out_abandoned(turn) {
                continue;
            }
            let next = self.waiting.get(&turn).and_then(VecDeque::front);
            if next.is_some_and(|next| room.takes(&next.job, group.is_empty())) {
                self.move_next(turn, group, room);
                self.go_behind(turn);
            } else {
                self.passed_over.get_or_insert(turn);
                at += 1;
            }
        }
    }

    /// Puts a turn behind the others, if there is more in it.
    fn go_behind(&mut self, turn: Turn) {
        if let Some(at) = self.turns.iter().position(|other| *other == turn) {
            self.turns.remove(at);
            self.turns.push_back(turn);
        }
    }

    /// Leaves out what nobody waits for at the front of a turn; `true` if that
    /// was all of it.
    fn leave_out_abandoned(&mut self, turn: Turn) -> bool {
        let Some(waiting) = self.waiting.get_mut(&turn) else { return false };
        while waiting.pop_front_if(|next| next.job.is_abandoned()).is_some() {
            self.held -= 1;
        }
        let is_empty = waiting.is_empty();
        if is_empty {
            self.end_turn(turn);
        }
        is_empty
    }

    fn end_turn(&mut self, turn: Turn) {
        self.waiting.remove(&turn);
        self.turns.retain(|other| *other != turn);
    }

    fn move_next(&mut self, turn: Turn, group: &mut Vec<J>, room: &mut Room) {
        let Some(waiting) = self.waiting.get_mut(&turn) else { return };
        if let Some(next) = waiting.pop_front() {
            room.less(&next.job);
            group.push(next.job);
            self.held -= 1;
        }
        if waiting.is_empty() {
            self.end_turn(turn);
        }
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

        fn rows(&self) -> usize {
            match self.0 {
                100..200 => 10,
                200..300 => 60,
                300..400 => PART + 3,
                1_000..5_000 => 1_500,
                _ => 1,
            }
        }

        fn turn(&self) -> Turn {
            match self.0 {
                100..200 => Turn::Platform,
                n => Turn::Tenant(TenantId(uuid::Uuid::from_u128(u128::from(n / 1_000)))),
            }
        }

        fn is_patient(&self) -> bool {
            (100..200).contains(&self.0)
        }

        fn is_abandoned(&self) -> bool {
            self.1.is_closed()
        }
    }

    #[tokio::test]
    async fn what_waits_is_taken_together_and_closing_comes_last() {
        let (hand_in, mut inbox) = queue();
        let mut answers = Vec::new();
        for n in 0..5 {
            answers.push(hand_in.hand_in(|reply| Number(n, reply)).await.expect("there is room"));
        }
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
        assert!(matches!(hand_in.ask(|reply| Number(9, reply)).await, Err(StoreError::Unavailable { .. })));
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

    #[tokio::test]
    async fn many_jobs_at_once_are_done_in_their_order() {
        let (hand_in, mut inbox) = queue();
        let worker = tokio::spawn(async move {
            let mut done = Vec::new();
            while let Some(group) = inbox.next_group(100).await {
                for Number(n, reply) in group {
                    done.push(n);
                    drop(reply.send(Ok(n)));
                }
            }
            done
        });
        // More than a task may do before it has to let others go on.
        let numbers: Vec<u32> = (2_000..2_999).collect();
        let answers = hand_in.ask_all(numbers.clone(), Number).await;
        assert_eq!(answers.into_iter().collect::<Result<Vec<_>>>().expect("all are done"), numbers);
        hand_in.close().await;
        assert_eq!(worker.await.expect("ends"), numbers);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_cannot_fill_the_queue_for_others() {
        let (hand_in, mut inbox) = queue();
        let mut answers = Vec::new();
        for _ in 0..TENANT_SHARE {
            answers.push(hand_in.hand_in(|reply| Number(1, reply)).await.expect("there is room"));
        }
        let one_more = hand_in.hand_in(|reply| Number(1, reply)).await;
        assert!(matches!(one_more, Err(StoreError::Overloaded)), "the tenant's share is full");
        hand_in.hand_in(|reply| Number(1_000, reply)).await.expect("another tenant has room");
        hand_in.hand_in(|reply| Number(100, reply)).await.expect("the platform has room");
        inbox.next_group(512).await.expect("a group");
        hand_in.hand_in(|reply| Number(1, reply)).await.expect("the tenant has room again");
    }

    #[tokio::test]
    async fn a_group_is_bounded_in_rows_and_tenants_take_turns() {
        let (hand_in, mut inbox) = queue();
        let mut answers = Vec::new();
        // Two tenants with many wide jobs, then one with a few narrow ones.
        for n in [1_000, 1_001, 1_002, 2_000, 2_001, 0, 1, 2] {
            answers.push(hand_in.hand_in(|reply| Number(n, reply)).await.expect("there is room"));
        }
        drop(hand_in);
        let mut groups = Vec::new();
        while let Some(group) = inbox.next_group(512).await {
            groups.push(group.iter().map(|job| job.0).collect::<Vec<_>>());
        }
        assert_eq!(groups, [vec![1_000, 0, 1, 2], vec![2_000], vec![1_001], vec![2_001], vec![1_002]]);
    }

    #[tokio::test]
    async fn wide_jobs_have_a_smaller_part_of_a_group() {
        let (hand_in, mut inbox) = queue();
        let mut answers = Vec::new();
        for n in (200..210).chain(0..10) {
            answers.push(hand_in.hand_in(|reply| Number(n, reply)).await.expect("there is room"));
        }
        drop(hand_in);
        let mut groups = Vec::new();
        while let Some(group) = inbox.next_group(512).await {
            groups.push(group.len());
        }
        // Of one tenant, in their order: the narrow ones behind wait for the wide ones.
        assert_eq!(groups, [2, 2, 2, 2, 12]);
    }

    #[tokio::test]
    async fn a_wide_job_neither_waits_for_ever_nor_keeps_others_waiting() {
        let (hand_in, mut inbox) = queue();
        let mut answers = Vec::new();
        let mut groups = Vec::new();
        for _ in 0..2 {
            // The platform has as much to do as there is room for.
            for n in (100..200).chain([1_000, 1]) {
                answers.push(hand_in.hand_in(|reply| Number(n, reply)).await.expect("there is room"));
            }
            let group = inbox.next_group(512).await.expect("a group");
            groups
                .push(group.iter().map(|job| job.0).filter(|n| !(100..200).contains(n)).collect::<Vec<_>>());
        }
        assert_eq!(groups, [vec![1], vec![1_000, 1]]);
    }

    #[tokio::test]
    async fn what_is_left_of_a_job_comes_before_its_tenants_next_and_lets_others_in_between() {
        let (hand_in, mut inbox) = queue();
        let mut answers = Vec::new();
        for n in [300, 301, 5_000] {
            answers.push(hand_in.hand_in(|reply| Number(n, reply)).await.expect("there is room"));
        }
        let mut groups = Vec::new();
        let mut parts_left = 2;
        for _ in 0..4 {
            let group = inbox.next_group(512).await.expect("a group");
            groups.push(group.iter().map(|job| job.0).collect::<Vec<_>>());
            for job in group {
                if job.0 == 300 && parts_left > 0 {
                    parts_left -= 1;
                    inbox.put_back(job);
                }
            }
        }
        assert_eq!(groups, [vec![300, 5_000], vec![300], vec![300], vec![301]]);
    }

    #[tokio::test]
    async fn nothing_is_put_back_into_a_queue_that_closes() {
        let (hand_in, mut inbox) = queue();
        drop(hand_in.hand_in(|reply| Number(200, reply)).await.expect("there is room"));
        let (reply, _answer) = oneshot::channel();
        let closing = tokio::spawn(async move { hand_in.close().await });
        while inbox.closing.is_none() {
            tokio::task::yield_now().await;
            inbox.drain();
        }
        inbox.put_back(Number(201, reply));
        assert!(inbox.next_group(512).await.is_none(), "what was abandoned is all there was");
        drop(inbox);
        closing.await.expect("ends");
    }

    #[tokio::test]
    async fn what_its_caller_no_longer_waits_for_is_left_out() {
        let (hand_in, mut inbox) = queue();
        let mut answers = Vec::new();
        for n in [1, 2, 3, 1_000, 2_000] {
            answers.push(hand_in.hand_in(|reply| Number(n, reply)).await.expect("there is room"));
        }
        // One in the middle, and the only one of a tenant.
        drop(answers.remove(3));
        drop(answers.remove(1));
        let mut left = Vec::new();
        for _ in 0..2 {
            left.extend(inbox.next_group(512).await.expect("a group").iter().map(|job| job.0));
        }
        assert_eq!(left, [1, 3, 2_000]);
        drop(hand_in.hand_in(|reply| Number(4, reply)).await);
        drop(hand_in);
        assert!(inbox.next_group(512).await.is_none(), "nothing is left to do");
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
