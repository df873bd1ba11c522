//! The two listeners, and their end.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive, Protocol};
use actix_server::{Server, ServerHandle};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};
use delivery_log::{Env, SharedStore};
use prometheus::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Settings};
use crate::catalogue::reasoning::Turn;
use crate::connections::{Connections, GuardedStream, too_many};

use crate::audit::reads::{self, Reads};
use crate::key_uses::{self, KeyUses};
use crate::limits::Limits;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::{admin, request_context, routes};

/// How long requests may go on when the server is asked to end, in seconds.
const SHUTDOWN_SECS: u64 = 10;
/// How long the other side may take to see that a connection ends.
const DISCONNECT: Duration = Duration::from_secs(5);

/// The running listeners.
#[derive(Debug)]
pub struct Servers {
    public: Option<Running>,
    admin: Running,
    /// Ends what goes on beside the requests.
    stop: CancellationToken,
    /// Writes when keys were used.
    written: JoinHandle<()>,
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
    env: Env,
    settings: Settings,
    registry: &Registry,
) -> Result<Servers, StartError> {
    let workers = settings.workers.max(1);
    let bounds = (settings.max_connections, settings.max_operator_connections);
    let limits = Limits::new(settings.request_rates);
    let api = web::Data::new(Api {
        store,
        env,
        settings,
        metrics: Metrics::new(registry)?,
        catalogue_turn: Turn::default(),
        memory: Memory::default(),
        key_uses: KeyUses::default(),
        reads: Reads::default(),
        limits,
    });
    let stop = CancellationToken::new();
    let uses = key_uses::keep_written(api.clone(), stop.clone());
    let reads = reads::keep_written(api.clone(), stop.clone());
    let written = tokio::spawn(async move {
        tokio::join!(uses, reads);
    });
    let registry = web::Data::new(registry.clone());
    let operators = api.clone();
    let answer = move |config: &mut web::ServiceConfig| {
        config.app_data(api.clone()).configure(routes::routes);
    };
    let connections = |listener: &str, most: usize| -> Result<_, prometheus::Error> {
        Ok(Connections::new(most, Metrics::connections(&registry, listener)?))
    };
    let public = match public {
        None => None,
        Some(listener) => Some(run(listener, workers, connections("public", bounds.0)?, answer)?),
    };
    let of_operators = connections("operators", bounds.1)?;
    let admin = run(admin, 1, of_operators, move |config: &mut web::ServiceConfig| {
        config.app_data(operators.clone()).app_data(registry.clone()).configure(admin::routes);
    })?;
    Ok(Servers { public, admin, stop, written })
}

/// Answers on a listener. `HttpServer` has no hand on its streams, so it is put
/// together here as it does it, on streams of our own.
fn run(
    listener: TcpListener,
    workers: usize,
    connections: Arc<Connections>,
    configure: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> std::io::Result<Running> {
    let address = listener.local_addr()?;
    let builder = Server::build()
        .workers(workers)
        // Who finds no place is told so, instead of waiting to be accepted.
        .max_concurrent_connections(usize::MAX)
        .shutdown_timeout(SHUTDOWN_SECS)
        .disable_signals();
    let ending = builder.graceful_shutdown_signal();
    let server = builder.listen(format!("posthorn-{address}"), listener, move || {
        let (configure, connections, ending) = (configure.clone(), Arc::clone(&connections), ending.clone());
        let app = App::new().configure(configure).wrap(from_fn(request_context::wrap)).into_factory();
        let app = app.map_err(|error| error.error_response());
        let app = map_config(app, |()| AppConfig::default());
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let ending = ending.clone();
                async move { ending.notified().await }
            })
            // The streams keep these times.
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(DISCONNECT)
            .local_addr(address)
            .on_connect_ext(|stream: &GuardedStream<TcpStream>, data| {
                data.insert(stream.connection());
            })
            .finish(app);
        fn_service(move |stream: TcpStream| {
            let connections = Arc::clone(&connections);
            async move { Ok(admit(&connections, stream)?) }
        })
        .and_then(http)
    })?;
    let server = server.run();
    let handle = server.handle();
    Ok(Running { address, handle, task: tokio::spawn(server) })
}

/// A place for a connection, if there is one.
fn admit(
    connections: &Arc<Connections>,
    stream: TcpStream,
) -> std::io::Result<(GuardedStream<TcpStream>, Protocol, Option<SocketAddr>)> {
    let Some(place) = connections.admit() else {
        // As much as goes out at once: nobody waits for this caller.
        let _ = stream.try_write(&too_many());
        return Err(std::io::ErrorKind::ConnectionRefused.into());
    };
    // Answers are written as a whole, so waiting for more gains nothing.
    let _ = stream.set_nodelay(true);
    let peer = stream.peer_addr().ok();
    Ok((GuardedStream::new(stream, place), Protocol::Http1, peer))
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
        self.stop.cancel();
        // The task ends by itself; a panic in it was logged where it happened.
        let _ = self.written.await;
    }
}
