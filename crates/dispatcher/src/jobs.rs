//! What is done again and again, beside the loop that supplies the lanes.

mod clock;
mod durability;
mod fan_outs;
pub(crate) mod heartbeat;
mod housekeeping;
mod replays;
mod retirement;
mod take_over;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Work that is done a step at a time. Each step may be cut at any place, as by the
/// end of the process: what was begun is found and done by a later one.
trait Job: Send + 'static {
    /// Does what there is to do now. An error is logged, and the work tried again
    /// when its time comes.
    fn step(&mut self, context: &Arc<Context>) -> impl Future<Output = delivery_log::Result<()>> + Send;
}

/// Whether work waits while it is not certain that others take this process for alive.
#[derive(PartialEq)]
enum Lease {
    Needed,
    NotNeeded,
}

/// Starts all of them, until `stop`.
#[rustfmt::skip]
pub(crate) fn start(context: &Arc<Context>, stop: &CancellationToken) {
    use Lease::{Needed, NotNeeded};
    let often = Duration::from_millis(250);
    let second = Duration::from_secs(1);
    let look = context.settings.poll_interval;
    let tidy = context.settings.housekeeping_interval;
    let jobs = Jobs { context, stop };
    //          name              every            lease      work
    jobs.start("clock",           look,            NotNeeded, clock::Clock);
    jobs.start("durability",      look,            NotNeeded, durability::Durability::default());
    jobs.start("watch",           look,            NotNeeded, watch::Watch::default());
    jobs.start("take-over",       heartbeat::BEAT, NotNeeded, take_over::TakeOver);
    jobs.start("fan-outs",        5 * second,      NotNeeded, fan_outs::FanOuts::default());
    jobs.start("replays",         often,           Needed,    replays::Replays);
    jobs.start("retirement",      second,          Needed,    retirement::Retirement);
    jobs.start("housekeeping",    tidy,            NotNeeded, housekeeping::Housekeeping);
}

struct Jobs<'a> {
    context: &'a Arc<Context>,
    stop: &'a CancellationToken,
}

impl Jobs<'_> {
    fn start(&self, name: &'static str, every: Duration, lease: Lease, mut job: impl Job) {
        let (context, stop) = (Arc::clone(self.context), self.stop.clone());
        self.context.tasks.spawn(async move {
            loop {
                if lease == Lease::NotNeeded || context.lease.is_valid() {
                    match stop.run_until_cancelled(job.step(&context)).await {
                        None => return,
                        Some(Ok(())) => {}
                        Some(Err(error)) => tracing::warn!(%error, job = name, "a job is done later"),
                    }
                }
                if !rest(&stop, every).await {
                    return;
                }
            }
        });
    }
}

/// Waits for so long. `false` if the work is to stop.
async fn rest(stop: &CancellationToken, span: Duration) -> bool {
    stop.run_until_cancelled(tokio::time::sleep(span)).await.is_some()
}
