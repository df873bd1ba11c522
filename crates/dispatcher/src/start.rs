//! The one place where deliveries are started.
//!
//! Whatever changes the lanes may let something go: a hand-over, the end of a call,
//! a claim, an endpoint that was enabled. So each change is followed by a start of
//! all that is ready, here, and nobody has to remember it.

use std::sync::Arc;

use delivery_log::configuration::LiveEndpoint;
use delivery_log::deliveries::Finished;
use delivery_log::hand_off::ReadyDelivery;
use model::ids::EndpointId;

use crate::context::Context;
use crate::delivery;
use crate::lanes::{Lanes, Standing, Terms};
use crate::notices::findings;

impl Context {
    /// Changes the lanes, and starts every delivery that may go then.
    pub(crate) fn with_lanes<T>(self: &Arc<Self>, change: impl FnOnce(&mut Lanes) -> T) -> T {
        let mut started = Vec::new();
        let (changed, wants_attention) = {
            let mut lanes = self.lanes();
            let changed = change(&mut lanes);
            if self.lease.is_valid() {
                self.take_ready(&mut lanes, &mut started);
            }
            (changed, lanes.wants_attention())
        };
        for (ready, live) in started {
            self.tasks.spawn_on(deliver(Arc::clone(self), ready, live), &self.runtime);
        }
        if wants_attention {
            self.attention.notify_one();
        }
        changed
    }

    fn take_ready(&self, lanes: &mut Lanes, started: &mut Vec<(ReadyDelivery, Arc<LiveEndpoint>)>) {
        let now = self.env.now();
        while let Some(ready) = lanes.next(now, |endpoint| self.terms(endpoint)) {
            match self.store.configuration().endpoint(ready.endpoint) {
                Some(live) => started.push((ready, live)),
                // Deleted this very moment: housekeeping cancels what waits.
                None => lanes.abandoned(&ready),
            }
        }
    }

    /// What an endpoint allows, as far as is known in memory.
    pub(crate) fn terms(&self, endpoint: EndpointId) -> Terms {
        match self.store.configuration().terms(endpoint) {
            None => Terms { standing: Standing::Gone, rate: None },
            Some((true, rate)) => Terms { standing: Standing::Enabled, rate },
            Some((false, rate)) => Terms { standing: Standing::Held, rate },
        }
    }
}

/// Makes one attempt, and sees to it that it is in the log. The slot is free as soon
/// as the call has ended; the next one of an order goes when this one is logged.
async fn deliver(context: Arc<Context>, ready: ReadyDelivery, live: Arc<LiveEndpoint>) {
    let made = delivery::attempt(&context, &ready, &live).await;
    let took = made.finished.attempt.phases.total;
    let entropy = context.env.entropy.as_ref();
    let learned = context.with_lanes(|lanes| lanes.ended(&ready, &made.ended, took, entropy));
    let finished = Arc::new(Finished { health: learned.health, ..made.finished });
    let recorded = delivery::record(&context, &finished).await;
    context.with_lanes(|lanes| {
        if recorded.is_none() {
            // It stays claimed until its lane is given back, soon, and is sent again.
            lanes.doubt(&ready);
        }
        lanes.recorded(&ready, finished.verdict.next_attempt_at);
    });
    // Both are rare: they take room of their own, which each delivery would have to
    // carry along.
    if let Some(failure) = delivery::failed_for_good(&ready, &finished, recorded) {
        Box::pin(delivery::tell_of_failure(&context, &ready, &live, &finished, failure)).await;
    }
    if !learned.findings.is_empty() {
        Box::pin(findings::act(&context, &live, learned.findings)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much room a task takes that was made so.
    fn room<A, B, C, Task: Future>(_: impl Fn(A, B, C) -> Task) -> usize {
        size_of::<Task>()
    }

    #[test]
    fn a_delivery_under_way_takes_little_room() {
        // It is copied when it starts, and there may be thousands.
        assert!(room(deliver) <= 6 * 1024, "{} bytes", room(deliver));
    }
}
