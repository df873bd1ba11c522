//! What an operator sees of the dispatcher.

use std::time::Duration;

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use model::attempt::ErrorClass;
use model::delivery::DeliveryStatus;

/// The dispatcher's metrics.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    attempts: IntCounterVec,
    duration: Histogram,
    ended: IntCounterVec,
    pub(crate) under_way: IntGauge,
    pub(crate) ready: IntGauge,
    pub(crate) lanes: IntGauge,
    pub(crate) unrecorded: IntGauge,
    pub(crate) late: IntCounter,
    pub(crate) given_up: IntCounter,
    pub(crate) breaker_opened: IntCounter,
    pub(crate) clock_ahead: Gauge,
    pub(crate) clock_jumps: IntCounter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0];
        let metrics = Self {
            attempts: IntCounterVec::new(
                Opts::new("posthorn_attempts_total", "Calls made to endpoints, by how they ended."),
                &["error_class"],
            )?,
            duration: Histogram::with_opts(
                HistogramOpts::new("posthorn_attempt_duration_seconds", "How long calls took.")
                    .buckets(buckets),
            )?,
            ended: IntCounterVec::new(
                Opts::new("posthorn_deliveries_ended_total", "Deliveries that ended, by how."),
                &["status"],
            )?,
            under_way: IntGauge::new("posthorn_attempts_in_flight", "Calls under way.")?,
            ready: IntGauge::new("posthorn_deliveries_ready", "Due deliveries in memory.")?,
            lanes: IntGauge::new("posthorn_lanes_owned", "Endpoints that this process sends to.")?,
            unrecorded: IntGauge::new(
                "posthorn_attempts_unrecorded",
                "Calls that ended and are not in the log yet; grows when the database cannot keep up.",
            )?,
            late: IntCounter::new(
                "posthorn_attempts_late_total",
                "Calls whose delivery was taken over, sent again or canceled meanwhile.",
            )?,
            clock_ahead: Gauge::new(
                "posthorn_clock_ahead_seconds",
                "By how much this host's clock is ahead of the database's; deliveries are late or early by it.",
            )?,
            clock_jumps: IntCounter::new(
                "posthorn_clock_jumps_total",
                "How often this host's time of day jumped by more than five minutes.",
            )?,
            breaker_opened: IntCounter::new(
                "posthorn_breaker_opened_total",
                "How often the breaker of an endpoint opened.",
            )?,
            given_up: IntCounter::new(
                "posthorn_process_given_up_total",
                "How often other processes took this one for dead and took its lanes.",
            )?,
        };
        registry.register(Box::new(metrics.attempts.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.ended.clone()))?;
        registry.register(Box::new(metrics.late.clone()))?;
        registry.register(Box::new(metrics.given_up.clone()))?;
        registry.register(Box::new(metrics.breaker_opened.clone()))?;
        registry.register(Box::new(metrics.clock_ahead.clone()))?;
        registry.register(Box::new(metrics.clock_jumps.clone()))?;
        for gauge in [&metrics.under_way, &metrics.ready, &metrics.lanes, &metrics.unrecorded] {
            registry.register(Box::new(gauge.clone()))?;
        }
        Ok(metrics)
    }

    pub(crate) fn attempt(&self, class: ErrorClass, took: Duration) {
        self.attempts.with_label_values(&[class.as_str()]).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(crate) fn ended(&self, status: DeliveryStatus) {
        let name = match status {
            DeliveryStatus::Queued | DeliveryStatus::Retrying => return,
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Canceled => "canceled",
            DeliveryStatus::Failed(failure) => failure.as_str(),
        };
        self.ended.with_label_values(&[name]).inc();
    }
}
