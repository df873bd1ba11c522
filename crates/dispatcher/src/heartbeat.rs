//! The sign of life, by which other processes know whose lanes are whose.
//!
//! This process sends only while it is sure that nobody has given it up. It
//! trusts a clock of its own that runs on when it is stopped, and is stricter
//! than the others: where they wait for the whole lease, it stops a little
//! earlier.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use delivery_log::lanes::{Beat, LEASE};
use model::clock::Timestamp;
use model::ids::ProcessId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// How often the process says that it is there.
const BEAT: Duration = Duration::from_millis(1_500);
/// After a beat that failed.
const AGAIN: Duration = Duration::from_millis(300);
/// How much earlier than the others this process thinks that its lease ends.
const MARGIN: Duration = Duration::from_secs(1);

/// Seconds by which clocks may differ before it is worth a warning.
const CLOCKS_APART: f64 = 1.0;

/// Who this process is to the others, and for how long it is sure of it.
#[derive(Debug, Default)]
pub(crate) struct Lease(Mutex<Option<(ProcessId, Instant)>>);

impl Lease {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(ProcessId, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything may be started.
    pub(crate) fn is_valid(&self) -> bool {
        self.lock().is_some_and(|(_, until)| Instant::now() < until)
    }

    /// Whether it is valid now, and if not, what that means to operators.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self.is_valid() {
            true => Ok(()),
            false => Err("deliveries are not sent now: this process has no sign of life in the database"),
        }
    }

    /// The name under which lanes are taken; none before the process has joined.
    pub(crate) fn process(&self) -> Option<ProcessId> {
        self.lock().map(|(process, _)| process)
    }

    /// Good for a while, from before the database was asked.
    fn extend(&self, process: ProcessId, asked: Instant) {
        *self.lock() = Some((process, asked + LEASE - MARGIN));
    }

    fn end(&self) {
        *self.lock() = None;
    }
}

/// Joins and beats until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match step(&context).await {
            Ok(()) => BEAT,
            Err(error) => {
                tracing::warn!(%error, "no sign of life could be given");
                AGAIN
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn step(context: &Arc<Context>) -> delivery_log::Result<()> {
    let asked = Instant::now();
    match context.lease.process() {
        None => join(context, asked).await?,
        Some(process) => match context.store.beat(process).await? {
            Beat::Alive { store_clock } => {
                context.lease.extend(process, asked);
                compare_clocks(context, store_clock);
            }
            Beat::GivenUp => {
                tracing::warn!("this process was given up by the others, and begins anew");
                context.lease.end();
                context.lanes().lose_all();
                context.metrics.given_up.inc();
                join(context, Instant::now()).await?;
            }
        },
    }
    // What was held back while the lease was uncertain may go.
    context.start_ready();
    Ok(())
}

/// Looks whether others have stopped to beat. Beside the beat, because taking
/// over much takes a while.
pub(crate) async fn watch_others(context: Arc<Context>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match context.store.take_over_dead().await {
            Ok(0) => {}
            Ok(interrupted) => {
                tracing::info!(
                    interrupted,
                    "deliveries that a process without sign of life had in hand are due"
                );
            }
            Err(error) => tracing::warn!(%error, "lanes of others cannot be taken over"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(BEAT) => {}
        }
    }
}

/// Tells operators when this host's clock and the store's drift apart: what is
/// due by the one is late or early by the other. Nothing is lost by it.
fn compare_clocks(context: &Context, store_clock: Timestamp) {
    let ahead = context.surroundings.now().as_micros() - store_clock.as_micros();
    let before = context.metrics.clock_ahead.get();
    let seconds = ahead as f64 / 1e6;
    context.metrics.clock_ahead.set(seconds);
    if seconds.abs() >= CLOCKS_APART && before.abs() < CLOCKS_APART {
        tracing::warn!(seconds, "this host's clock is ahead of the database's by so much");
    }
}

async fn join(context: &Context, asked: Instant) -> delivery_log::Result<()> {
    let surroundings = &context.surroundings;
    let process = ProcessId::next(&surroundings.ids, surroundings.now(), surroundings.entropy.as_ref());
    context.store.join(process).await?;
    context.lease.extend(process, asked);
    Ok(())
}

/// Says goodbye: what was not given back is taken over at once.
pub(crate) async fn leave(context: &Context) {
    if let Some(process) = context.lease.process()
        && let Err(error) = context.store.leave(process).await
    {
        tracing::warn!(%error, "the others were not told that this process ends");
    }
}
