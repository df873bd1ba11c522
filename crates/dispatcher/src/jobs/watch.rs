//! The safety net of the lanes: finds work that nobody told of, gives back idle
//! lanes, and compares now and then what is known of lanes with the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use delivery_log::lanes::Epoch;
use model::ids::EndpointId;
use tokio_util::sync::CancellationToken;

use super::Job;
use crate::context::Context;
use crate::supply::{LANES_AT_ONCE, release};

/// How old the configuration may be by which is sent.
const FRESH: Duration = Duration::from_secs(1);

/// Looks around, beside the loop that supplies the lanes.
#[derive(Default)]
pub(super) struct Watch {
    review: Review,
}

impl Job for Watch {
    async fn step(&mut self, context: &Arc<Context>, stop: &CancellationToken) -> delivery_log::Result<()> {
        stop.run_until_cancelled(self.look(context)).await.unwrap_or(Ok(()))
    }
}

impl Watch {
    /// Does each part whether or not another one failed, and gives the first error.
    async fn look(&mut self, context: &Arc<Context>) -> delivery_log::Result<()> {
        show_gauges(context);
        context.lanes().forget_refusals(context.env.now());
        let looked = match context.store.ensure_fresh(FRESH).await {
            Ok(()) => look_around(context).await,
            Err(error) => Err(error),
        };
        let reviewed = self.review.step(context).await;
        looked.and(reviewed)
    }
}

fn show_gauges(context: &Context) {
    let lanes = context.lanes();
    context.metrics.lanes.set(lanes.owned() as i64);
    context.metrics.ready.set(lanes.ready() as i64);
    context.metrics.under_way.set(lanes.under_way() as i64);
}

async fn look_around(context: &Arc<Context>) -> delivery_log::Result<()> {
    let now = context.env.now();
    let found = context.store.find_idle_lanes_with_work(now, LANES_AT_ONCE as u32).await;
    let idle = context.with_lanes(|lanes| {
        found.iter().flatten().for_each(|endpoint| lanes.wake(*endpoint));
        lanes.reconsider();
        lanes.take_idle(now, context.settings.idle_after, |endpoint| context.terms(endpoint))
    });
    if !idle.is_empty() {
        context.tasks.spawn(release(Arc::clone(context), idle));
    }
    found.map(drop)
}

/// News can be lost, and the answer to a take as well.
#[derive(Default)]
struct Review {
    looks: u32,
    /// Lanes that the store gives to this process and that it does not know,
    /// and how often they were seen.
    unknown: HashMap<(EndpointId, Epoch), u32>,
}

impl Review {
    /// One look in so many is for this.
    const EVERY: u32 = 10;
    /// An answer may still be on its way; so often seen, it is lost.
    const SEEN: u32 = 3;

    async fn step(&mut self, context: &Arc<Context>) -> delivery_log::Result<()> {
        self.looks += 1;
        let Some(process) = context.lease.process() else { return Ok(()) };
        if !self.looks.is_multiple_of(Self::EVERY) {
            return Ok(());
        }
        let reviewed = context.store.review_lanes(process, context.env.now()).await?;
        let unknown = context.with_lanes(|lanes| lanes.review(&reviewed));
        let before = std::mem::take(&mut self.unknown);
        let mut lost = Vec::new();
        for lane in unknown {
            match before.get(&lane).map_or(1, |seen| seen + 1) {
                seen if seen >= Self::SEEN => lost.push(lane),
                seen => drop(self.unknown.insert(lane, seen)),
            }
        }
        if !lost.is_empty() {
            tracing::warn!(lanes = lost.len(), "releasing lanes that were taken without an answer");
            release(Arc::clone(context), lost).await;
        }
        Ok(())
    }
}
