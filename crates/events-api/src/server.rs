//! The two listeners, and their end.

use std::net::{SocketAddr, TcpListener};

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use delivery_log::{SharedStore, Surroundings};
use prometheus::Registry;
use tokio::task::JoinHandle;

use crate::api::{Api, Settings};
use crate::catalogue::reasoning::Turn;
use crate::metrics::Metrics;
use crate::{admin, request_context, routes};

/// How long requests may go on when the server is asked to end, in seconds.
const SHUTDOWN_SECS: u64 = 10;
/// How many connections may be open at once, for each worker.
const MAX_CONNECTIONS: usize = 10_000;

/// The running listeners.
#[derive(Debug)]
pub struct Servers {
    public: Option<Running>,
    admin: Running,
}

#[derive(Debug)]
struct Running {
    address: SocketAddr,
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

/// Why the API cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be used.
    #[error("cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    /// Metrics of the same names are there already.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Starts to answer operators, and the API's callers where there is a listener
/// for them.
pub fn start(
    public: Option<TcpListener>,
    admin: TcpListener,
    store: SharedStore,
    surroundings: Surroundings,
    settings: Settings,
    registry: &Registry,
) -> Result<Servers, StartError> {
    let workers = settings.workers.max(1);
    let api = web::Data::new(Api {
        store,
        surroundings,
        settings,
        metrics: Metrics::new(registry)?,
        catalogue_turn: Turn::default(),
    });
    let registry = web::Data::new(registry.clone());
    let operators = api.clone();
    let answer = move |config: &mut web::ServiceConfig| {
        config.app_data(api.clone()).configure(routes::routes);
    };
    let public = public.map(|listener| run(listener, workers, answer)).transpose()?;
    let admin = run(admin, 1, move |config: &mut web::ServiceConfig| {
        config.app_data(operators.clone()).app_data(registry.clone()).configure(admin::routes);
    })?;
    Ok(Servers { public, admin })
}

fn run(
    listener: TcpListener,
    workers: usize,
    configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> std::io::Result<Running> {
    let address = listener.local_addr()?;
    let server =
        HttpServer::new(move || App::new().configure(configure.clone()).wrap(from_fn(request_context::wrap)))
            .workers(workers)
            .max_connections(MAX_CONNECTIONS)
            .shutdown_timeout(SHUTDOWN_SECS)
            .disable_signals()
            .listen(listener)?
            .run();
    let handle = server.handle();
    Ok(Running { address, handle, task: tokio::spawn(server) })
}

impl Servers {
    /// Where the API listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.public.as_ref().map(|running| running.address)
    }

    /// Where the operators' listener is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address
    }

    /// Takes no more requests, and waits for those that are being answered.
    pub async fn shut_down(self) {
        for running in self.public.into_iter().chain([self.admin]) {
            running.handle.stop(true).await;
            if let Ok(Err(error)) = running.task.await {
                tracing::warn!(%error, "a listener ended with an error");
            }
        }
    }
}
