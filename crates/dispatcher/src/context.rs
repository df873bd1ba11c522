//! What all tasks of the dispatcher share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use delivery_log::{Env, SharedStore};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock_jumps::Clocks;
use crate::lanes::Lanes;
use crate::lease::Lease;
use crate::metrics::Metrics;
use crate::notices::mail::Mailer;
use crate::settings::Settings;
use crate::transport::Transport;

/// What all tasks of the dispatcher share.
pub(crate) struct Context {
    pub(crate) store: SharedStore,
    pub(crate) env: Env,
    pub(crate) settings: Settings,
    pub(crate) transport: Transport,
    pub(crate) metrics: Metrics,
    /// For mails to the contacts of tenants, if they are wanted.
    pub(crate) mailer: Option<Mailer>,
    /// Who this process is to the others, and for how long it is sure of it.
    pub(crate) lease: Lease,
    /// Whether the time of day can be relied on.
    pub(crate) clocks: Clocks,
    lanes: Mutex<Lanes>,
    /// The lanes want something from the store, or a timer has changed.
    pub(crate) attention: Notify,
    /// Every task that is to end before the dispatcher does.
    pub(crate) tasks: TaskTracker,
    /// Where deliveries run, whoever starts them: a request to the API may, and its
    /// own thread ends with the API, before the deliveries do.
    pub(crate) runtime: Handle,
    /// Calls still under way are cut.
    pub(crate) cut: CancellationToken,
}

impl Context {
    /// Within the runtime in which deliveries are to run.
    pub(crate) fn new(
        store: SharedStore,
        env: Env,
        settings: Settings,
        transport: Transport,
        metrics: Metrics,
        mailer: Option<Mailer>,
    ) -> Self {
        Self {
            store,
            env,
            transport,
            metrics,
            mailer,
            lease: Lease::default(),
            clocks: Clocks::default(),
            lanes: Mutex::new(Lanes::new(settings.slots)),
            settings,
            attention: Notify::new(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            cut: CancellationToken::new(),
        }
    }

    /// The lanes, for what lets nothing go: looking, and keeping a place. Whatever
    /// else changes them goes through [`Context::with_lanes`](crate::start).
    pub(crate) fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
