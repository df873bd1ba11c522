//! How long the parts of a request took.
//!
//! A connection is made deep within the client, while the request is
//! waiting for it in the same task; so the request leaves a probe in the
//! task, and the connector writes into it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static PROBE: Arc<Probe>;
}

/// What is learnt about one request's connection.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    dns_us: AtomicU64,
    connect_us: AtomicU64,
}

impl Probe {
    /// The lookup alone; `None` if there was none.
    pub(super) fn dns(&self) -> Option<Duration> {
        recorded(&self.dns_us)
    }

    /// TCP and TLS, without the lookup; `None` if a connection was reused.
    pub(super) fn connect(&self) -> Option<Duration> {
        let whole = recorded(&self.connect_us)?;
        Some(whole.saturating_sub(self.dns().unwrap_or_default()))
    }
}

fn recorded(micros: &AtomicU64) -> Option<Duration> {
    match micros.load(Ordering::Relaxed) {
        0 => None,
        micros => Some(Duration::from_micros(micros)),
    }
}

fn record(micros: &AtomicU64, since: Instant) {
    micros.store(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
}

/// Runs `work` with a probe in its task.
pub(super) async fn with_probe<F: Future>(probe: Arc<Probe>, work: F) -> F::Output {
    PROBE.scope(probe, work).await
}

/// Notes that the lookup that began then has ended.
pub(super) fn record_dns(since: Instant) {
    // A connection that no request waits for any more has no probe.
    let _ = PROBE.try_with(|probe| record(&probe.dns_us, since));
}

/// Notes that the connection that was begun then is made.
pub(super) fn record_connect(since: Instant) {
    let _ = PROBE.try_with(|probe| record(&probe.connect_us, since));
}
