//! What is done again and again, beside the loop that supplies the lanes.

mod clock;
mod durability;
mod erasures;
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

/// Work that is done a step at a time.
trait Job: Send + 'static {
    /// Does what there is to do now. What takes long looks at `stop`; what may be cut
    /// at any place, may be cut by it. An error is logged, and the work tried again
    /// when its time comes.
    fn step(
        &mut self,
        context: &Arc<Context>,
        stop: &CancellationToken,
    ) -> impl Future<Output = delivery_log::Result<()>> + Send;
}

/// Whether work is done only while it is certain that others take this process for
/// alive.
#[derive(PartialEq)]
enum Needs {
    Lease,
    Nothing,
}

/// When work is done first.
#[derive(PartialEq)]
enum First {
    AtOnce,
    /// When it is due the first time: throwing things away is left for when the time
    /// of day has been set right.
    Later,
}

/// Starts all of them, until `stop`.
#[rustfmt::skip]
pub(crate) fn start(context: &Arc<Context>, stop: &CancellationToken) {
    use First::{AtOnce, Later};
    use Needs::{Lease, Nothing};
    let often = Duration::from_millis(250);
    let second = Duration::from_secs(1);
    let look = context.settings.poll_interval;
    let tidy = context.settings.housekeeping_interval;
    let jobs = Jobs { context, stop };
    //         name            every            first   needs    work
    jobs.start("clock",        look,            AtOnce, Nothing, clock::Clock);
    jobs.start("durability",   look,            AtOnce, Nothing, durability::Durability::default());
    jobs.start("watch",        look,            AtOnce, Nothing, watch::Watch::default());
    jobs.start("take-over",    heartbeat::BEAT, AtOnce, Nothing, take_over::TakeOver);
    jobs.start("fan-outs",     5 * second,      AtOnce, Nothing, fan_outs::FanOuts::default());
    jobs.start("replays",      often,           Later,  Lease,   replays::Replays);
    jobs.start("erasures",     second,          Later,  Nothing, erasures::Erasures);
    jobs.start("retirement",   second,          Later,  Lease,   retirement::Retirement);
    jobs.start("housekeeping", tidy,            Later,  Nothing, housekeeping::Housekeeping);
}

struct Jobs<'a> {
    context: &'a Arc<Context>,
    stop: &'a CancellationToken,
}

impl Jobs<'_> {
    fn start(&self, name: &'static str, every: Duration, first: First, needs: Needs, mut job: impl Job) {
        let (context, stop) = (Arc::clone(self.context), self.stop.clone());
        self.context.tasks.spawn(async move {
            let mut goes_on = first == First::AtOnce || rest(&stop, every).await;
            while goes_on {
                if (needs == Needs::Nothing || context.lease.is_valid())
                    && let Err(error) = job.step(&context, &stop).await
                {
                    tracing::warn!(%error, job = name, "a periodic job failed and will be retried");
                }
                goes_on = rest(&stop, every).await;
            }
        });
    }
}

/// Waits for so long. `false` if the work is to stop.
async fn rest(stop: &CancellationToken, span: Duration) -> bool {
    stop.run_until_cancelled(tokio::time::sleep(span)).await.is_some()
}
