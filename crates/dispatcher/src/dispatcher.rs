//! The dispatcher's life: what is started, and an orderly end.

use std::sync::Arc;

use delivery_log::{Env, SharedStore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::hand_off::Intake;
use crate::jobs::{self, heartbeat};
use crate::metrics::Metrics;
use crate::notices::mail::{MailError, Mailer};
use crate::settings::Settings;
use crate::supply::{self, LANES_AT_ONCE};
use crate::transport::{NoTls, Transport};

/// A running dispatcher.
pub struct Dispatcher {
    context: Arc<Context>,
    stop: CancellationToken,
    main: JoinHandle<()>,
    /// Beats to the very end: what is under way then is still this process's own.
    stop_beating: CancellationToken,
    beating: JoinHandle<()>,
}

impl Dispatcher {
    /// Starts to deliver what is in the store, and connects itself to it, so
    /// that new deliveries come straight here.
    pub fn start(
        store: SharedStore,
        env: Env,
        settings: Settings,
        registry: &prometheus::Registry,
    ) -> Result<Self, StartError> {
        let transport = Transport::new(&settings)?;
        let metrics = Metrics::new(registry)?;
        let mailer = settings.mail.as_ref().map(Mailer::new).transpose()?;
        let context = Arc::new(Context::new(store, env, settings, transport, metrics, mailer));
        context.store.connect(Arc::new(Intake(Arc::clone(&context))));
        let (stop, stop_beating) = (CancellationToken::new(), CancellationToken::new());
        jobs::start(&context, &stop);
        let main = tokio::spawn(supply::run(Arc::clone(&context), stop.clone()));
        let beating = tokio::spawn(heartbeat::run(Arc::clone(&context), stop_beating.clone()));
        Ok(Self { context, stop, main, stop_beating, beating })
    }

    /// Whether deliveries can be sent, to be asked at any time.
    pub fn readiness(&self) -> impl Fn() -> Result<(), &'static str> + Send + Sync + 'static {
        let context = Arc::clone(&self.context);
        move || context.lease.check()
    }

    /// Starts nothing more, lets what is under way end for a while, cuts the
    /// rest, and gives everything back.
    pub async fn shut_down(self) {
        let Self { context, stop, main, stop_beating, beating } = self;
        context.lanes().stop();
        stop.cancel();
        // The loop ends by itself; a panic in it was logged where it happened.
        let _ = main.await;
        let tasks = &context.tasks;
        tasks.close();
        if tokio::time::timeout(context.settings.shutdown_grace, tasks.wait()).await.is_err() {
            tracing::info!("calls still in flight are cut and will be retried");
            context.cut.cancel();
            if tokio::time::timeout(context.settings.shutdown_grace, tasks.wait()).await.is_err() {
                tracing::warn!(
                    "not everything could be written; attempts that are missing will be logged as interrupted"
                );
            }
        }
        let lanes = context.lanes().take_all();
        for some in lanes.chunks(LANES_AT_ONCE) {
            if let Err(error) = context.store.release_lanes(some).await {
                tracing::warn!(%error, "cannot release lanes");
            }
        }
        stop_beating.cancel();
        let _ = beating.await;
        heartbeat::leave(&context).await;
    }
}

/// Why a dispatcher cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No HTTP client.
    #[error("cannot set up the HTTP client: {0}")]
    Client(#[from] NoTls),
    /// No mails.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// Metrics of the same names are there already.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}
