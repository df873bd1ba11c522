//! What an operator sees of the API.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::connections::Counters;

/// Above this length `data` is better fetched by receivers.
const LARGE_DATA: usize = 20 * 1024;

/// The API's metrics.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    duration: Histogram,
    published: IntCounter,
    large: IntCounter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("posthorn_http_requests_total", "Requests answered, by route and status."),
                &["route", "status"],
            )?,
            duration: Histogram::with_opts(
                HistogramOpts::new("posthorn_http_request_duration_seconds", "How long answers took.")
                    .buckets(buckets),
            )?,
            published: IntCounter::new("posthorn_events_accepted_total", "Events accepted.")?,
            large: IntCounter::new(
                "posthorn_events_large_total",
                "Events accepted whose data is above 20 KiB: better sent as an id, with the rest fetched.",
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.duration.clone()))?;
        registry.register(Box::new(metrics.published.clone()))?;
        registry.register(Box::new(metrics.large.clone()))?;
        Ok(metrics)
    }

    /// Of the connections to a listener.
    pub(crate) fn connections(registry: &Registry, listener: &str) -> Result<Counters, prometheus::Error> {
        let named = |name: &str, help: &str| Opts::new(name, help).const_label("listener", listener);
        let counters = Counters {
            open: IntGauge::with_opts(named("posthorn_connections_open", "Connections that callers have."))?,
            ended: IntCounterVec::new(
                named(
                    "posthorn_connections_ended_total",
                    "Connections that were ended here: idle, slow or in too many pieces to ask, with an answer \
                     unread, or to make room for a new one.",
                ),
                &["why"],
            )?,
            refused: IntCounter::with_opts(named(
                "posthorn_connections_refused_total",
                "Connections that found no place: all others were being answered.",
            ))?,
        };
        registry.register(Box::new(counters.open.clone()))?;
        registry.register(Box::new(counters.ended.clone()))?;
        registry.register(Box::new(counters.refused.clone()))?;
        Ok(counters)
    }

    pub(crate) fn request(&self, route: &str, status: u16, took: Duration) {
        let mut text = [0; 3];
        let digits = [status / 100, status / 10 % 10, status % 10];
        text.iter_mut().zip(digits).for_each(|(byte, digit)| *byte = b'0' + (digit % 10) as u8);
        let status = std::str::from_utf8(&text).unwrap_or("0");
        self.requests.with_label_values(&[route, status]).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(crate) fn published(&self, data_bytes: usize) {
        self.published.inc();
        if data_bytes > LARGE_DATA {
            self.large.inc();
        }
    }
}
