//! What all tasks of the dispatcher share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use delivery_log::hand_off::{HandOff, ReadyDelivery};
use delivery_log::lanes::Epoch;
use delivery_log::{SharedStore, Surroundings};
use model::endpoint::EndpointStatus;
use model::ids::{DeliveryId, EndpointId, ProcessId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::lanes::{Lanes, Standing};
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
    pub(crate) process: ProcessId,
    lanes: Mutex<Lanes>,
    /// Something changed that may let a delivery go.
    pub(crate) changed: Notify,
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
    ) -> Self {
        let process = ProcessId::next(&surroundings.ids, surroundings.now(), surroundings.entropy.as_ref());
        Self {
            store,
            surroundings,
            transport,
            metrics,
            process,
            lanes: Mutex::new(Lanes::new(settings.slots)),
            settings,
            changed: Notify::new(),
            cut: CancellationToken::new(),
        }
    }

    pub(crate) fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an endpoint may be called, as far as is known in memory.
    pub(crate) fn standing(&self, endpoint: EndpointId) -> Standing {
        match self.store.configuration().endpoint(endpoint) {
            None => Standing::Gone,
            Some(live) if live.endpoint.status == EndpointStatus::Enabled => Standing::Enabled,
            Some(_) => Standing::Held,
        }
    }
}

/// The writer's side of the lanes.
pub(crate) struct Intake(pub(crate) Arc<Context>);

impl HandOff for Intake {
    fn reserve(&self, endpoint: EndpointId, bytes: usize) -> Option<Epoch> {
        self.0.lanes().reserve(endpoint, bytes)
    }

    fn hand_over(&self, ready: Vec<ReadyDelivery>) {
        let mut lanes = self.0.lanes();
        ready.into_iter().for_each(|delivery| lanes.hand_over(delivery));
        drop(lanes);
        self.0.changed.notify_one();
    }

    fn give_up(&self, reserved: &[(EndpointId, usize)]) {
        let mut lanes = self.0.lanes();
        reserved.iter().for_each(|(endpoint, bytes)| lanes.give_up(*endpoint, *bytes));
    }

    fn wake(&self, endpoints: &[EndpointId]) {
        let mut lanes = self.0.lanes();
        endpoints.iter().for_each(|endpoint| lanes.wake(*endpoint));
        drop(lanes);
        self.0.changed.notify_one();
    }

    fn wake_for_test(&self, endpoint: EndpointId) {
        self.0.lanes().wake_for_test(endpoint);
        self.0.changed.notify_one();
    }

    fn lift_hold(&self, endpoint: EndpointId) {
        self.0.lanes().lift_hold(endpoint);
        self.0.changed.notify_one();
    }

    fn withdraw(&self, endpoint: EndpointId, delivery: DeliveryId) {
        self.0.lanes().withdraw(endpoint, delivery);
    }
}
