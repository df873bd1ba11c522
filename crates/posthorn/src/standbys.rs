//! The metric of the second machine, where one is asked for.

use delivery_log::SharedStore;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Registry};

/// Asks the store when the metrics are read.
struct Standbys {
    store: SharedStore,
    gauge: IntGauge,
}

/// Adds the metric.
pub(crate) fn register(registry: &Registry, store: SharedStore) -> Result<(), prometheus::Error> {
    let gauge = IntGauge::new(
        "posthorn_synchronous_standbys",
        "Standbys that a commit waits for, where durability is two-machines; at 0 no event is acknowledged.",
    )?;
    registry.register(Box::new(Standbys { store, gauge }))
}

impl Collector for Standbys {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(second) = self.store.second_machine() else { return Vec::new() };
        // Whatever the number, it is 0 when none of them counts.
        self.gauge.set(if second.lacks.is_some() { 0 } else { i64::from(second.standbys) });
        self.gauge.collect()
    }
}
