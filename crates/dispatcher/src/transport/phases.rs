//! How long the parts of a request took.
//!
//! A connection is made deep within the client, while the request is
//! waiting for it in the same task; so the request leaves a probe in the
//! task, and the connector writes into it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

tokio::task_local! {
    static PROBE: Arc<Probe>;
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The host's name is being looked up.
    LookingUp,
    /// TCP.
    Connecting,
    /// TLS.
    Securing,
    /// There is a connection.
    Calling,
}

/// What is learnt about one request's connection.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    stage: AtomicU8,
    dns_us: AtomicU64,
    connect_us: AtomicU64,
}

impl Probe {
    /// How far the request has come. One whose connection was reused is at the
    /// last stage from the beginning.
    pub(super) fn stage(&self) -> Stage {
        const STAGES: [Stage; 3] = [Stage::LookingUp, Stage::Connecting, Stage::Securing];
        let number = self.stage.load(Ordering::Relaxed);
        STAGES.into_iter().find(|stage| number_of(*stage) == number).unwrap_or(Stage::Calling)
    }

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

/// The number under which a stage is kept: 0 is the last one.
fn number_of(stage: Stage) -> u8 {
    match stage {
        Stage::LookingUp => 1,
        Stage::Connecting => 2,
        Stage::Securing => 3,
        Stage::Calling => 0,
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

/// Notes that a stage begins.
pub(super) fn enter(stage: Stage) {
    // A connection that no request waits for any more has no probe.
    let _ = PROBE.try_with(|probe| probe.stage.store(number_of(stage), Ordering::Relaxed));
}

/// Notes that the lookup that began then has ended.
pub(super) fn record_dns(since: Instant) {
    let _ = PROBE.try_with(|probe| record(&probe.dns_us, since));
}

/// Notes that the connection that was begun then is made.
pub(super) fn record_connect(since: Instant) {
    let _ = PROBE.try_with(|probe| record(&probe.connect_us, since));
}
