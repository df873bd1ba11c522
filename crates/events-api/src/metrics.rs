//! What an operator sees of the API.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};

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
