//! The heartbeat, by which other processes know whose lanes are whose.

use std::sync::Arc;
use std::time::Duration;

use delivery_log::lanes::Beat;
use model::clock::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::rest;
use crate::context::Context;
use crate::lanes::Lanes;

/// How often the process says that it is there.
pub(super) const BEAT: Duration = Duration::from_millis(1_500);
/// After a beat that failed.
const AGAIN: Duration = Duration::from_millis(300);

/// Seconds by which clocks may differ before it is worth a warning.
const CLOCKS_APART: f64 = 1.0;

/// Joins and beats until `stop`: not one of the periodic jobs, because it goes on to
/// the very end, and comes sooner after it failed.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    loop {
        let pause = match step(&context).await {
            Ok(()) => BEAT,
            Err(error) => {
                tracing::warn!(%error, "heartbeat failed");
                AGAIN
            }
        };
        if !rest(&stop, pause).await {
            return;
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
                context.with_lanes(Lanes::lose_all);
                context.metrics.given_up.inc();
                join(context, Instant::now()).await?;
            }
        },
    }
    // What was held back while the lease was uncertain may go.
    context.with_lanes(|_| ());
    Ok(())
}

/// Tells operators when this host's clock and the store's drift apart: what is
/// due by the one is late or early by the other. Nothing is lost by it.
fn compare_clocks(context: &Context, store_clock: Timestamp) {
    let ahead = context.env.now().as_micros() - store_clock.as_micros();
    let before = context.metrics.clock_ahead.get();
    let seconds = ahead as f64 / 1e6;
    context.metrics.clock_ahead.set(seconds);
    if seconds.abs() >= CLOCKS_APART && before.abs() < CLOCKS_APART {
        tracing::warn!(seconds, "this host's clock is ahead of the database's");
    }
}

async fn join(context: &Context, asked: Instant) -> delivery_log::Result<()> {
    let process = context.env.new_id();
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
