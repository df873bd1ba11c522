//! HTTP clients: one for all, and one for each client certificate.
//!
//! hyper's client, which keeps connections and speaks HTTP/1.1 and HTTP/2, on
//! connections of our own making ([`super::connector`]).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use model::attempt::ErrorClass;
use model::endpoint::{ClientCertificate, Endpoint};
use model::ids::EndpointId;
use moka::future::Cache;
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::BuilderVerifierExt as _;
use secrecy::{ExposeSecret as _, SecretString};

use super::address_guard::Guard;
use super::connector::{Connector, Means};
use super::fault::Fault;
use super::repeat::{Repeat, Watch};

/// How many idle connections to one host are kept.
const IDLE_PER_HOST: usize = 64;
/// For how long.
const IDLE_FOR: Duration = Duration::from_secs(60);
/// So many clients with a certificate are kept,
const MOST: u64 = 1_000;
/// and so long after they were used last.
const UNUSED_FOR: Duration = Duration::from_secs(10 * 60);
/// The longest head of an answer, in bytes.
///
/// It may have 100 headers, hyper's own bound: a higher one makes hyper set up a
/// place for each header that there could be, for every head, also for each
/// informational one. 4,096 of them took nine tenths of the processor while
/// receivers announced answers without end.
const MAX_HEAD: u32 = 256 * 1024;

/// How much of one answer may be under way on HTTP/2.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The name of HTTP/1.1 in TLS (RFC 7301).
const HTTP1: &[u8] = b"http/1.1";

type Inner = Client<Connector, Full<Bytes>>;

/// A client, whose idle connections can be let go.
#[derive(Clone)]
pub(super) struct HttpClient(Arc<Settings>);

struct Settings {
    connector: Connector,
    /// For all calls, on connections that are kept.
    kept: RwLock<Inner>,
    /// For calls that are made again, on connections of their own.
    unkept: Inner,
    /// The same without HTTP/2.
    http1: Inner,
}

/// The TLS of the program cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct NoTls(#[from] rustls::Error);

impl HttpClient {
    fn new(means: Arc<Means>, tls: ClientConfig) -> Self {
        let mut only_http1 = tls.clone();
        only_http1.alpn_protocols = vec![HTTP1.to_vec()];
        let connector = Connector::new(Arc::clone(&means), Arc::new(tls));
        let http1 = Connector::new(means, Arc::new(only_http1));
        Self(Arc::new(Settings {
            kept: RwLock::new(build(connector.clone(), IDLE_PER_HOST)),
            unkept: build(connector.clone(), 0),
            http1: build(http1, 0),
            connector,
        }))
    }

    /// Sends a request, and once more if it cannot have been heard. What fails
    /// otherwise is not repeated: that is the schedule's business, and each
    /// attempt is logged.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        watch: &mut Watch,
    ) -> Result<Response<Incoming>, Error> {
        if self.0.connector.means().are_used_up() {
            self.let_idle_go();
        }
        let again = request.clone();
        let kept = self.0.kept.read().unwrap_or_else(PoisonError::into_inner).clone();
        let error = match send_once(&kept, request, watch).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let Some(repeat) = Repeat::after(&error, watch.wire().as_ref()) else { return Err(error) };
        watch.repeat = Some(repeat);
        let client = match repeat {
            Repeat::Stale | Repeat::Refused => &self.0.unkept,
            Repeat::OverHttp1 => &self.0.http1,
        };
        send_once(client, again, watch).await
    }

    /// Closes the connections that are idle, so that others can be made.
    fn let_idle_go(&self) {
        *self.0.kept.write().unwrap_or_else(PoisonError::into_inner) =
            build(self.0.connector.clone(), IDLE_PER_HOST);
    }
}

async fn send_once(
    client: &Inner,
    mut request: Request<Full<Bytes>>,
    watch: &mut Watch,
) -> Result<Response<Incoming>, Error> {
    watch.connection = Some(capture_connection(&mut request));
    client.request(request).await
}

fn build(connector: Connector, idle_per_host: usize) -> Inner {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(idle_per_host)
        .pool_idle_timeout(IDLE_FOR)
        .retry_canceled_requests(false)
        .http1_max_buf_size(MAX_HEAD as usize)
        .http2_max_header_list_size(MAX_HEAD)
        // No more comes of an answer than is read of it: what came beyond would
        // count against all calls on the connection.
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_adaptive_window(false)
        .build(connector)
}

/// All clients, which share their means.
pub(super) struct Clients {
    means: Arc<Means>,
    plain: HttpClient,
    /// By the endpoint and its last change: a certificate belongs to a client.
    with_certificate: Cache<(EndpointId, i64), HttpClient>,
}

impl Clients {
    pub(super) fn new(guard: Arc<Guard>, proxy: Option<&SecretString>, most: usize) -> Result<Self, NoTls> {
        let mut tls = ClientConfig::builder().with_platform_verifier()?.with_no_client_auth();
        let means = Arc::new(Means::new(guard, proxy, Arc::new(tls.clone()), most));
        tls.alpn_protocols = protocols();
        let plain = HttpClient::new(Arc::clone(&means), tls);
        let with_certificate = Cache::builder().max_capacity(MOST).time_to_idle(UNUSED_FOR).build();
        Ok(Self { means, plain, with_certificate })
    }

    /// The client for calls that show no certificate.
    pub(super) fn plain(&self) -> &HttpClient {
        &self.plain
    }

    /// The client for calls to an endpoint.
    pub(super) async fn of(&self, endpoint: &Endpoint) -> Result<HttpClient, Fault> {
        let Some(certificate) = &endpoint.credentials.client_certificate else {
            return Ok(self.plain.clone());
        };
        let key = (endpoint.id, endpoint.updated_at.as_micros());
        let made = self.with_certificate.try_get_with(key, async { self.showing(certificate) });
        made.await.map_err(|error: Arc<String>| Fault {
            class: ErrorClass::Tls,
            detail: format!("the client certificate of this endpoint cannot be used: {error}"),
        })
    }

    fn showing(&self, certificate: &ClientCertificate) -> Result<HttpClient, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect();
        let chain = chain.map_err(|_| "it is not PEM")?;
        let key = PrivateKeyDer::from_pem_slice(certificate.key.expose_secret().as_bytes());
        let key = key.map_err(|_| "its key is not PEM")?;
        let tls = ClientConfig::builder().with_platform_verifier().map_err(|error| error.to_string())?;
        let mut tls = tls.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?;
        tls.alpn_protocols = protocols();
        Ok(HttpClient::new(Arc::clone(&self.means), tls))
    }
}

/// What is offered in TLS (RFC 7301), the best first.
fn protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), HTTP1.to_vec()]
}
