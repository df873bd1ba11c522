//! `posthorn serve`

use anyhow::bail;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::print;
use crate::cli::{ListenArgs, StoreArgs};
use crate::settings::{Database, Settings};
use crate::wiring::{Platform, Role};

/// How to serve.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    #[command(flatten)]
    pub(crate) listen: ListenArgs,
    /// Which part of the work this process does
    #[arg(long, value_enum, default_value_t = Role::All)]
    pub(crate) role: Role,
}

/// Runs the platform until it is asked to end.
pub(super) async fn run(settings: &Settings, args: &ServeArgs) -> anyhow::Result<()> {
    if args.role != Role::All && matches!(settings.database()?, Database::Sqlite(_)) {
        bail!(
            "an embedded store has one server, so its role is all; \
             several processes share a PostgreSQL database (POSTHORN_DATABASE_URL)"
        );
    }
    // Before the start, so that no wish to end is missed.
    let mut asked_to_end = AskedToEnd::listen()?;
    let platform = Platform::start(settings, args.role).await?;
    let does = match platform.address() {
        Some(address) => format!("is listening on http://{address}"),
        None => "is delivering".to_owned(),
    };
    print(&format!("posthorn {does} (operators: http://{})", platform.admin_address()))?;
    let signal = asked_to_end.wait().await;
    tracing::info!(signal, "shutting down: finishing or releasing calls in flight");
    platform.shut_down().await;
    tracing::info!("done");
    Ok(())
}

/// SIGTERM, which service managers send, and SIGINT, which Ctrl-C sends.
pub(super) struct AskedToEnd {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl AskedToEnd {
    pub(super) fn listen() -> std::io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    /// The name of the signal that came.
    pub(super) async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
