//! What all tasks of the dispatcher share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use delivery_log::hand_off::{Fate, HandOff, ReadyDelivery, Reservation};
use delivery_log::lanes::Epoch;
use delivery_log::{SharedStore, Surroundings};
use model::ids::{DeliveryId, EndpointId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock_jumps::Clocks;
use crate::deliver::deliver;
use crate::durability::Degraded;
use crate::heartbeat::Lease;
use crate::lanes::{Lanes, Standing, Terms};
use crate::mail::Mailer;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::transport::Transport;

/// What all tasks of the dispatcher share.
pub(crate) struct Context {
    pub(crate) store: SharedStore,
    pub(crate) surroundings: Surroundings,
    pub(crate) settings: Settings,
    pub(crate) transport: Transport,
    pub(crate) metrics: Metrics,
    /// For mails to the contacts of tenants, if they are wanted.
    pub(crate) mailer: Option<Mailer>,
    /// Who this process is to the others, and for how long it is sure of it.
    pub(crate) lease: Lease,
    /// Whether the time of day can be relied on.
    pub(crate) clocks: Clocks,
    pub(crate) degraded: Degraded,
    lanes: Mutex<Lanes>,
    /// The lanes want something from the store, or a timer has changed.
    pub(crate) attention: Notify,
    /// Every task that is to end before the dispatcher does.
    pub(crate) tasks: TaskTracker,
    /// Calls still under way are cut.
    pub(crate) cut: CancellationToken,
}

impl Context {
    pub(crate) fn new(
        store: SharedStore,
        surroundings: Surroundings,
        settings: Settings,
        transport: Transport,
        metrics: Metrics,
        mailer: Option<Mailer>,
    ) -> Self {
        Self {
            store,
            surroundings,
            transport,
            metrics,
            mailer,
            lease: Lease::default(),
            clocks: Clocks::default(),
            degraded: Degraded::default(),
            lanes: Mutex::new(Lanes::new(settings.slots)),
            settings,
            attention: Notify::new(),
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
        }
    }

    pub(crate) fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts every delivery that may go now.
    pub(crate) fn start_ready(self: &Arc<Self>) {
        if !self.lease.is_valid() {
            return;
        }
        let now = self.surroundings.now();
        let mut started = Vec::new();
        let attention = {
            let mut lanes = self.lanes();
            while let Some(ready) = lanes.next(now, |endpoint| self.terms(endpoint)) {
                match self.store.configuration().endpoint(ready.endpoint) {
                    Some(live) => started.push((ready, live)),
                    // Deleted this very moment: housekeeping cancels what waits.
                    None => lanes.abandoned(&ready),
                }
            }
            lanes.wants_attention()
        };
        for (ready, live) in started {
            self.tasks.spawn(deliver(Arc::clone(self), ready, live));
        }
        if attention {
            self.attention.notify_one();
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

/// The writer's side of the lanes.
pub(crate) struct Intake(pub(crate) Arc<Context>);

impl HandOff for Intake {
    fn owns(&self, endpoint: EndpointId) -> bool {
        self.0.lease.is_valid() && self.0.lanes().owns(endpoint)
    }

    fn reserve(&self, endpoint: EndpointId, bytes: usize) -> Option<Epoch> {
        if !self.0.lease.is_valid() {
            return None;
        }
        self.0.lanes().reserve(endpoint, bytes)
    }

    fn hand_over(&self, ready: Vec<ReadyDelivery>) {
        let mut lanes = self.0.lanes();
        ready.into_iter().for_each(|delivery| lanes.hand_over(delivery));
        drop(lanes);
        self.0.start_ready();
    }

    fn give_up(&self, reserved: &[Reservation], fate: Fate) {
        let mut lanes = self.0.lanes();
        reserved.iter().for_each(|place| lanes.give_up(place, fate));
    }

    fn wake(&self, endpoints: &[EndpointId]) {
        let mut lanes = self.0.lanes();
        endpoints.iter().for_each(|endpoint| lanes.wake(*endpoint));
        drop(lanes);
        self.0.attention.notify_one();
    }

    fn wake_for_test(&self, endpoint: EndpointId) {
        self.0.lanes().wake_for_test(endpoint);
        self.0.attention.notify_one();
    }

    fn lift_hold(&self, endpoint: EndpointId) {
        self.0.lanes().lift_hold(endpoint);
        self.0.attention.notify_one();
    }

    fn withdraw(&self, endpoint: EndpointId, delivery: DeliveryId) {
        self.0.lanes().withdraw(endpoint, delivery);
        self.0.attention.notify_one();
    }
}
