//! How long the parts of a request took.
//!
//! A connection is made deep within the client, while the request is
//! waiting for it in the same task; so the request leaves a probe in the
//! task, and the resolver and the connector write into it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer, Service};
use url::Url;

tokio::task_local! {
    static PROBE: Arc<Probe>;
}

/// What is learnt about one request's connection.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    port: u16,
    dns_us: AtomicU64,
    connect_us: AtomicU64,
}

impl Probe {
    pub(super) fn for_url(url: &Url) -> Self {
        Self { port: url.port_or_known_default().unwrap_or(0), ..Self::default() }
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
pub(crate) fn record_dns(since: Instant) {
    // A connection that no request waits for any more has no probe.
    let _ = PROBE.try_with(|probe| record(&probe.dns_us, since));
}

/// The port of the request that is waiting, if one is.
pub(crate) fn port() -> Option<u16> {
    PROBE.try_with(|probe| probe.port).ok()
}

/// Times the making of connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct PhaseLayer;

impl<S> Layer<S> for PhaseLayer {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed { inner }
    }
}

/// A connector whose connections are timed.
#[derive(Debug, Clone)]
pub(super) struct Timed<S> {
    inner: S,
}

impl<S, R> Service<R> for Timed<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, target: R) -> Self::Future {
        let connecting = self.inner.call(target);
        Box::pin(async move {
            let since = Instant::now();
            let connected = connecting.await;
            if connected.is_ok() {
                let _ = PROBE.try_with(|probe| record(&probe.connect_us, since));
            }
            connected
        })
    }
}
