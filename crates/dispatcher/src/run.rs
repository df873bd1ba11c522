//! The dispatcher's life: a loop around a step, and an orderly end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use delivery_log::lanes::{ClaimDue, Epoch};
use delivery_log::{SharedStore, Surroundings};
use model::clock::Timestamp;
use model::ids::{EndpointId, TenantId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock_jumps;
use crate::context::{Context, Intake};
use crate::durability;
use crate::lanes::ClaimWish;
use crate::mail::{MailError, Mailer};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::transport::{NoTls, Transport};
use crate::{fan_outs, heartbeat, housekeeping, replays, retirement};

/// How many lanes are taken or given back in one transaction.
const LANES_AT_ONCE: usize = 256;
/// How old the configuration may be by which is sent.
const FRESH: Duration = Duration::from_secs(1);
/// How long to wait after the store has failed.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// A running dispatcher.
pub struct Dispatcher {
    context: Arc<Context>,
    stop: CancellationToken,
    main: JoinHandle<()>,
    /// Beats to the very end: what is under way then is still this process's own.
    stop_beating: CancellationToken,
    beating: JoinHandle<()>,
}

impl Dispatcher {
    /// Starts to deliver what is in the store, and connects itself to it, so
    /// that new deliveries come straight here.
    pub fn start(
        store: SharedStore,
        surroundings: Surroundings,
        settings: Settings,
        registry: &prometheus::Registry,
    ) -> Result<Self, StartError> {
        let transport = Transport::new(&settings)?;
        let metrics = Metrics::new(registry)?;
        let mailer = settings.mail.as_ref().map(Mailer::new).transpose()?;
        let context = Arc::new(Context::new(store, surroundings, settings, transport, metrics, mailer));
        context.store.connect(Arc::new(Intake(Arc::clone(&context))));
        let (stop, stop_beating) = (CancellationToken::new(), CancellationToken::new());
        context.tasks.spawn(fan_outs::run(Arc::clone(&context), stop.clone()));
        context.tasks.spawn(housekeeping::run(Arc::clone(&context), stop.clone()));
        context.tasks.spawn(replays::run(Arc::clone(&context), stop.clone()));
        context.tasks.spawn(retirement::run(Arc::clone(&context), stop.clone()));
        context.tasks.spawn(watch(Arc::clone(&context), stop.clone()));
        context.tasks.spawn(heartbeat::watch_others(Arc::clone(&context), stop.clone()));
        let main = tokio::spawn(run(Arc::clone(&context), stop.clone()));
        let beating = tokio::spawn(heartbeat::run(Arc::clone(&context), stop_beating.clone()));
        Ok(Self { context, stop, main, stop_beating, beating })
    }

    /// Whether deliveries can be sent, to be asked at any time.
    pub fn readiness(&self) -> impl Fn() -> Result<(), &'static str> + Send + Sync + 'static {
        let context = Arc::clone(&self.context);
        move || context.lease.check()
    }

    /// Starts nothing more, lets what is under way end for a while, cuts the
    /// rest, and gives everything back.
    pub async fn shut_down(self) {
        let Self { context, stop, main, stop_beating, beating } = self;
        context.lanes().stop();
        stop.cancel();
        // The loop ends by itself; a panic in it was logged where it happened.
        let _ = main.await;
        let tasks = &context.tasks;
        tasks.close();
        if tokio::time::timeout(context.settings.shutdown_grace, tasks.wait()).await.is_err() {
            tracing::info!("calls that are still under way are cut and will be made again");
            context.cut.cancel();
            if tokio::time::timeout(context.settings.shutdown_grace, tasks.wait()).await.is_err() {
                tracing::warn!("some attempts could not be logged; they will be logged as interrupted");
            }
        }
        let lanes = context.lanes().take_all();
        for some in lanes.chunks(LANES_AT_ONCE) {
            if let Err(error) = context.store.release_lanes(some).await {
                tracing::warn!(%error, "lanes were not given back");
            }
        }
        stop_beating.cancel();
        let _ = beating.await;
        heartbeat::leave(&context).await;
    }
}

/// Why a dispatcher cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No HTTP client.
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[from] NoTls),
    /// No mails.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// Metrics of the same names are there already.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Takes lanes, claims what is due, starts what may go.
async fn run(context: Arc<Context>, stop: CancellationToken) {
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
    let now = context.surroundings.now();
    let wanted = context.lanes().take_wanted(LANES_AT_ONCE);
    if !wanted.is_empty() {
        context.tasks.spawn(take(Arc::clone(context), wanted));
    }
    let claims = context.lanes().claims(now, |endpoint| context.terms(endpoint));
    for wish in claims {
        context.tasks.spawn(claim(Arc::clone(context), wish));
    }
    context.start_ready();
}

fn show_gauges(context: &Context) {
    let lanes = context.lanes();
    context.metrics.lanes.set(lanes.owned() as i64);
    context.metrics.ready.set(lanes.ready() as i64);
    context.metrics.under_way.set(lanes.under_way() as i64);
}

fn until_next_timer(context: &Context) -> Duration {
    let next = context.lanes().next_timer().unwrap_or(Timestamp::FAR_FUTURE);
    next.since(context.surroundings.now()).min(Duration::from_secs(3_600))
}

/// Looks around at intervals, beside the loop that sends.
async fn watch(context: Arc<Context>, stop: CancellationToken) {
    let mut review = Review::default();
    loop {
        let look = async {
            look_around(&context).await;
            review.step(&context).await;
            tokio::time::sleep(context.settings.poll_interval).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = look => {}
        }
    }
}

/// The safety net: finds work that nobody told of, and gives back idle lanes.
async fn look_around(context: &Arc<Context>) {
    clock_jumps::look(context).await;
    durability::look(context);
    let now = context.surroundings.now();
    show_gauges(context);
    context.lanes().forget_refusals(now);
    if let Err(error) = context.store.ensure_fresh(FRESH).await {
        tracing::warn!(%error, "the configuration cannot be read");
        return;
    }
    match context.store.find_idle_lanes_with_work(now, LANES_AT_ONCE as u32).await {
        Ok(found) => {
            let mut lanes = context.lanes();
            let any = !found.is_empty();
            found.into_iter().for_each(|endpoint| lanes.wake(endpoint));
            drop(lanes);
            if any {
                context.start_ready();
            }
        }
        Err(error) => tracing::warn!(%error, "lanes with work cannot be looked for"),
    }
    context.lanes().reconsider();
    context.start_ready();
    let idle =
        context.lanes().take_idle(now, context.settings.idle_after, |endpoint| context.terms(endpoint));
    if !idle.is_empty() {
        context.tasks.spawn(release(Arc::clone(context), idle));
    }
}

/// Compares now and then what this process knows of its lanes with what the
/// store says: news can be lost, and the answer to a take as well.
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

    async fn step(&mut self, context: &Arc<Context>) {
        self.looks += 1;
        let Some(process) = context.lease.process() else { return };
        if !self.looks.is_multiple_of(Self::EVERY) {
            return;
        }
        let reviewed = match context.store.review_lanes(process, context.surroundings.now()).await {
            Ok(reviewed) => reviewed,
            Err(error) => return tracing::warn!(%error, "lanes cannot be reviewed"),
        };
        let unknown = context.lanes().review(&reviewed);
        context.start_ready();
        let before = std::mem::take(&mut self.unknown);
        let mut lost = Vec::new();
        for lane in unknown {
            match before.get(&lane).map_or(1, |seen| seen + 1) {
                seen if seen >= Self::SEEN => lost.push(lane),
                seen => drop(self.unknown.insert(lane, seen)),
            }
        }
        if !lost.is_empty() {
            tracing::warn!(lanes = lost.len(), "lanes that were taken without an answer are given back");
            release(Arc::clone(context), lost).await;
        }
    }
}

async fn take(context: Arc<Context>, wanted: Vec<EndpointId>) {
    let Some(process) = context.lease.process() else { return };
    match context.store.take_lanes(process, &wanted).await {
        Ok(taken) => {
            let now = context.surroundings.now();
            let mut lanes = context.lanes();
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
        }
        // If it was done all the same, the review finds lanes that nobody knows.
        Err(error) => tracing::warn!(%error, "lanes cannot be taken"),
    }
    context.start_ready();
}

async fn claim(context: Arc<Context>, wish: ClaimWish) {
    let now = context.surroundings.now();
    let due_at = if wish.tests_only { Timestamp::EPOCH } else { now };
    let ClaimWish { endpoint, epoch, limit, max_bytes, after, .. } = wish;
    let due = ClaimDue { endpoint, epoch, now: due_at, limit, max_bytes, after };
    match context.store.claim_due(due).await {
        Ok(claimed) => context.lanes().claimed(&wish, claimed, now),
        Err(error) => {
            tracing::warn!(%error, endpoint.id = %wish.endpoint, "due deliveries cannot be claimed");
            context.lanes().claim_failed(&wish);
        }
    }
    context.start_ready();
}

async fn release(context: Arc<Context>, idle: Vec<(EndpointId, Epoch)>) {
    for some in idle.chunks(LANES_AT_ONCE) {
        let mut wait = AFTER_FAILURE;
        while let Err(error) = context.store.release_lanes(some).await {
            tracing::warn!(%error, "lanes were not given back yet");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(30));
        }
    }
}
