//! The loop that keeps the lanes supplied: takes lanes, claims what is due, and
//! gives lanes back.

use std::sync::Arc;
use std::time::Duration;

use delivery_log::lanes::{ClaimDue, Epoch};
use model::clock::Timestamp;
use model::ids::{EndpointId, TenantId};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::lanes::ClaimWish;
use crate::until_taken::until_taken;

/// How many lanes are taken or given back in one transaction.
pub(crate) const LANES_AT_ONCE: usize = 256;

/// Takes lanes, claims what is due, starts what may go, until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    loop {
        step(&context);
        let timer = until_next_timer(&context);
        tokio::select! {
            () = stop.cancelled() => return,
            () = context.attention.notified() => {}
            () = tokio::time::sleep(timer) => {}
        }
    }
}

/// Does all that can be done now without waiting.
fn step(context: &Arc<Context>) {
    let now = context.env.now();
    let wanted = context.lanes().take_wanted(LANES_AT_ONCE);
    if !wanted.is_empty() {
        context.tasks.spawn(take(Arc::clone(context), wanted));
    }
    let claims = context.with_lanes(|lanes| lanes.claims(now, |endpoint| context.terms(endpoint)));
    for wish in claims {
        context.tasks.spawn(claim(Arc::clone(context), wish));
    }
}

fn until_next_timer(context: &Context) -> Duration {
    let next = context.lanes().next_timer().unwrap_or(Timestamp::FAR_FUTURE);
    next.since(context.env.now()).min(Duration::from_secs(3_600))
}

async fn take(context: Arc<Context>, wanted: Vec<EndpointId>) {
    let Some(process) = context.lease.process() else { return };
    let taken = match context.store.take_lanes(process, &wanted).await {
        Ok(taken) => taken,
        // If it was done all the same, the review finds lanes that nobody knows.
        Err(error) => return tracing::warn!(%error, "lanes cannot be taken"),
    };
    let now = context.env.now();
    context.with_lanes(|lanes| {
        if context.lease.process() != Some(process) {
            // Given up meanwhile: they were taken for one that is no more.
            return;
        }
        for endpoint in wanted {
            if !taken.iter().any(|lane| lane.endpoint == endpoint) {
                lanes.refused(endpoint, now);
            }
        }
        for lane in taken {
            // One that was deleted meanwhile has no tenant; its lane is given back.
            let live = context.store.configuration().endpoint(lane.endpoint);
            let tenant = live.map_or(TenantId(Default::default()), |live| live.endpoint.tenant);
            lanes.own(lane, tenant, now);
        }
    });
}

async fn claim(context: Arc<Context>, wish: ClaimWish) {
    let now = context.env.now();
    let due_at = if wish.tests_only { Timestamp::EPOCH } else { now };
    let ClaimWish { endpoint, epoch, limit, max_bytes, after, .. } = wish;
    let due = ClaimDue { endpoint, epoch, now: due_at, limit, max_bytes, after };
    let claimed = context.store.claim_due(due).await;
    if let Err(error) = &claimed {
        tracing::warn!(%error, endpoint.id = %endpoint, "due deliveries cannot be claimed");
    }
    context.with_lanes(|lanes| match claimed {
        Ok(claimed) => lanes.claimed(&wish, claimed, now),
        Err(_) => lanes.claim_failed(&wish),
    });
}

/// Gives lanes back that have nothing to do here.
pub(crate) async fn release(context: Arc<Context>, idle: Vec<(EndpointId, Epoch)>) {
    for some in idle.chunks(LANES_AT_ONCE) {
        let released = until_taken(Some(&context.cut), async || {
            let released = context.store.release_lanes(some).await;
            released.inspect_err(|error| tracing::warn!(%error, "cannot release lanes yet"))
        });
        // What never is given back, the review finds again.
        let _ = released.await;
    }
}
