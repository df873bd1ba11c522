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

use super::connector::{Connector, Means};
use super::fault::Fault;
use crate::address_guard::Guard;

/// How many idle connections to one host are kept.
const IDLE_PER_HOST: usize = 64;
/// For how long.
const IDLE_FOR: Duration = Duration::from_secs(60);
/// So many clients with a certificate are kept,
const MOST: u64 = 1_000;
/// and so long after they were used last.
const UNUSED_FOR: Duration = Duration::from_secs(10 * 60);
/// The longest head of an answer, in bytes, and how many headers it may have.
const MAX_HEAD: u32 = 256 * 1024;
const MAX_HEADERS: usize = 4_096;

/// How much of one answer may be under way on HTTP/2.
const STREAM_WINDOW: u32 = 64 * 1024;

type Inner = Client<Connector, Full<Bytes>>;

/// A client, whose idle connections can be let go.
#[derive(Clone)]
pub(super) struct HttpClient(Arc<Settings>);

struct Settings {
    means: Arc<Means>,
    tls: Arc<ClientConfig>,
    inner: RwLock<Inner>,
}

/// The TLS of the program cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up: {0}")]
pub struct NoTls(#[from] rustls::Error);

impl HttpClient {
    fn new(means: Arc<Means>, tls: ClientConfig) -> Self {
        let tls = Arc::new(tls);
        let inner = RwLock::new(build(Connector::new(Arc::clone(&means), Arc::clone(&tls))));
        Self(Arc::new(Settings { means, tls, inner }))
    }

    /// Sends a request. Where it is refused or breaks off, it is not repeated:
    /// that is the schedule's business, and each attempt is logged.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        if self.0.means.are_used_up() {
            self.let_idle_go();
        }
        let sending = self.0.inner.read().unwrap_or_else(PoisonError::into_inner).request(request);
        sending.await
    }

    /// Closes the connections that are idle, so that others can be made.
    fn let_idle_go(&self) {
        let connector = Connector::new(Arc::clone(&self.0.means), Arc::clone(&self.0.tls));
        *self.0.inner.write().unwrap_or_else(PoisonError::into_inner) = build(connector);
    }
}

fn build(connector: Connector) -> Inner {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .pool_idle_timeout(IDLE_FOR)
        .retry_canceled_requests(false)
        .http1_max_buf_size(MAX_HEAD as usize)
        .http1_max_headers(MAX_HEADERS)
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
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}
