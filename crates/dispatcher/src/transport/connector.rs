//! Making a connection: the name, the guard, TCP, and TLS.
//!
//! Every connection to a receiver is made here, so this is the one place where
//! an address is checked: the very one that is connected to, directly or by
//! the operator's proxy, which is given the address and never the name.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tower::Service;
use url::Url;

use super::address_guard::{Guard, LookUpError};
use super::phases::{self, Stage};
use super::wire::{Io, Wire, WireInfo};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long to wait before the next address of a name is tried as well
/// (RFC 8305, section 5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// How many addresses of a name are tried.
const MOST_ADDRESSES: usize = 8;
/// How many of them are tried through a proxy, one after the other.
const MOST_BY_PROXY: usize = 3;
/// The longest answer of a proxy, in bytes.
const PROXY_ANSWER: usize = 8 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    #[error("the host did not accept the connection within {} s", CONNECT.as_secs())]
    SlowTcp,
    #[error("the TLS handshake was not complete within {} s", CONNECT.as_secs())]
    SlowTls,
    #[error("{}", tcp_words(.0))]
    Tcp(std::io::Error),
    #[error("{}", super::fault::tls_words(.0))]
    Tls(std::io::Error),
    #[error("the outgoing proxy of this Posthorn {0}")]
    Proxy(String),
    #[error("too many connections are open now")]
    Full,
    #[error("the URL has no host that can be called")]
    NoHost,
}

fn tcp_words(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => "nothing listens at this address and port: the connection was refused",
        Kind::TimedOut => "the host does not answer",
        Kind::ConnectionReset | Kind::ConnectionAborted => "the connection was reset while it was made",
        Kind::HostUnreachable | Kind::NetworkUnreachable => "there is no route to this address",
        _ => "the connection could not be made",
    }
}

/// The operator's forward proxy.
struct Proxy {
    host: String,
    port: u16,
    /// For a proxy that is called over HTTPS: without a receiver's client
    /// certificate, and without HTTP/2.
    tls: Option<Arc<ClientConfig>>,
    /// The value of `proxy-authorization`.
    authorization: Option<SecretString>,
}

/// What all connections have in common.
pub(super) struct Means {
    guard: Arc<Guard>,
    proxy: Option<Proxy>,
    places: Arc<Semaphore>,
}

impl Means {
    /// `tls` is for the proxy; `most` is how many connections there may be at
    /// once.
    pub(super) fn new(
        guard: Arc<Guard>,
        proxy: Option<&SecretString>,
        tls: Arc<ClientConfig>,
        most: usize,
    ) -> Self {
        let proxy = proxy.and_then(|url| Proxy::from_url(&Url::parse(url.expose_secret()).ok()?, tls));
        Self { guard, proxy, places: Arc::new(Semaphore::new(most)) }
    }

    /// Whether no further connection can be made now.
    pub(super) fn are_used_up(&self) -> bool {
        self.places.available_permits() == 0
    }
}

impl Proxy {
    fn from_url(url: &Url, tls: Arc<ClientConfig>) -> Option<Self> {
        let credentials = (!url.username().is_empty()).then(|| {
            let decoded = |text: &str| {
                let text = text.replace('+', "%2B");
                let mut form = url::form_urlencoded::parse(text.as_bytes());
                form.next().map(|(name, _)| name.into_owned()).unwrap_or_default()
            };
            let password = decoded(url.password().unwrap_or_default());
            SecretString::from(super::basic(&decoded(url.username()), &password))
        });
        Some(Self {
            host: url.host_str()?.trim_matches(['[', ']']).to_owned(),
            port: url.port_or_known_default()?,
            tls: (url.scheme() == "https").then_some(tls),
            authorization: credentials,
        })
    }
}

/// Makes connections with a set of TLS settings.
#[derive(Clone)]
pub(super) struct Connector {
    means: Arc<Means>,
    tls: Arc<ClientConfig>,
}

impl Connector {
    pub(super) fn new(means: Arc<Means>, tls: Arc<ClientConfig>) -> Self {
        Self { means, tls }
    }

    pub(super) fn means(&self) -> &Means {
        &self.means
    }

    async fn connect(&self, uri: &Uri) -> Result<Wire, ConnectError> {
        let host = uri.host().ok_or(ConnectError::NoHost)?.trim_matches(['[', ']']);
        let is_https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let until = Instant::now() + CONNECT;
        let place = Arc::clone(&self.means.places).acquire_owned();
        let place = timeout_at(until, place).await.ok().and_then(Result::ok).ok_or(ConnectError::Full)?;
        let since = Instant::now();
        phases::enter(Stage::LookingUp);
        let found = self.means.guard.addresses(host, port).await;
        if host.parse::<IpAddr>().is_err() {
            phases::record_dns(since);
        }
        let found = found?;
        let until = Instant::now() + CONNECT;
        phases::enter(Stage::Connecting);
        let reached = timeout_at(until, self.reach(&found.addresses)).await;
        let (io, remote) = reached.map_err(|_| ConnectError::SlowTcp)??;
        let (io, is_http2) = if is_https {
            phases::enter(Stage::Securing);
            let secured = timeout_at(until, secure(io, host, &self.tls)).await;
            secured.map_err(|_| ConnectError::SlowTls)?.map_err(ConnectError::Tls)?
        } else {
            (io, false)
        };
        phases::enter(Stage::Calling);
        phases::record_connect(since);
        Ok(Wire::new(io, WireInfo::new(remote, found.until), is_http2, place))
    }

    /// A stream to one of the addresses, and to which if that is known.
    async fn reach(&self, addresses: &[SocketAddr]) -> Result<(Box<dyn Io>, Option<IpAddr>), ConnectError> {
        if let Some(proxy) = &self.means.proxy {
            return Ok((self.by_proxy(proxy, addresses).await?, None));
        }
        let stream = first_of(addresses).await.map_err(ConnectError::Tcp)?;
        let remote = stream.peer_addr().ok().map(|address| address.ip());
        Ok((Box::new(stream), remote))
    }

    /// A tunnel to one of the addresses, which were checked: the proxy never
    /// learns the name, and cannot look it up to something else. IPv4 is tried
    /// first, because a proxy without IPv6 is the more common one.
    async fn by_proxy(&self, proxy: &Proxy, addresses: &[SocketAddr]) -> Result<Box<dyn Io>, ConnectError> {
        let found = self.means.guard.unguarded(&proxy.host, proxy.port).await;
        let hops = found.map_err(|_| proxy_failed("cannot be looked up"))?.addresses;
        let mut targets = addresses.to_vec();
        targets.sort_by_key(SocketAddr::is_ipv6);
        let mut failed = ConnectError::NoHost;
        for target in targets.iter().take(MOST_BY_PROXY) {
            match tunnel(proxy, &hops, *target).await {
                Ok(io) => return Ok(io),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

fn proxy_failed(what: &str) -> ConnectError {
    ConnectError::Proxy(what.to_owned())
}

/// Asks the proxy, at one of its addresses, for a tunnel to an address.
async fn tunnel(proxy: &Proxy, hops: &[SocketAddr], target: SocketAddr) -> Result<Box<dyn Io>, ConnectError> {
    let stream = first_of(hops).await;
    let mut io: Box<dyn Io> = Box::new(stream.map_err(|_| proxy_failed("cannot be reached"))?);
    if let Some(tls) = &proxy.tls {
        let secured = secure(io, &proxy.host, tls).await;
        io = secured.map_err(|_| proxy_failed("cannot be called over TLS"))?.0;
    }
    let authorization = proxy
        .authorization
        .as_ref()
        .map_or_else(String::new, |value| format!("proxy-authorization: {}\r\n", value.expose_secret()));
    let request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{authorization}\r\n");
    let sent = io.write_all(request.as_bytes()).await;
    sent.map_err(|_| proxy_failed("closed the connection"))?;
    let mut answer = Vec::new();
    // Byte by byte: what comes behind the head is the receiver's.
    while !answer.ends_with(b"\r\n\r\n") {
        let byte = io.read_u8().await.map_err(|_| proxy_failed("closed the connection"))?;
        answer.push(byte);
        if answer.len() > PROXY_ANSWER {
            return Err(proxy_failed("answers with more than a head"));
        }
    }
    let status = String::from_utf8_lossy(&answer).split(' ').nth(1).map(str::to_owned);
    match status.as_deref() {
        Some(status) if status.starts_with('2') && status.len() == 3 => Ok(io),
        Some(status) if status.len() == 3 => Err(proxy_failed(&format!("refuses the call with {status}"))),
        _ => Err(proxy_failed("does not speak HTTP")),
    }
}

/// TLS with a host, and whether it is HTTP/2 that is spoken within.
async fn secure(
    io: Box<dyn Io>,
    host: &str,
    tls: &Arc<ClientConfig>,
) -> std::io::Result<(Box<dyn Io>, bool)> {
    // A certificate names a host without the dot that a full name may end with.
    let host = host.trim_end_matches('.').to_owned();
    let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, io).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok((Box::new(stream), is_http2))
}

/// A connection to the first address that takes one. The next one is tried when
/// one fails, and when it is slow.
async fn first_of(addresses: &[SocketAddr]) -> std::io::Result<TcpStream> {
    let mut addresses = addresses.iter().take(MOST_ADDRESSES);
    let mut trying = FuturesUnordered::new();
    let mut failed = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = addresses.next() {
            trying.push(TcpStream::connect(*address));
        } else if trying.is_empty() {
            return Err(failed);
        }
        let tried = match addresses.len() {
            0 => trying.next().await,
            _ => match timeout(NEXT_ADDRESS, trying.next()).await {
                Ok(tried) => tried,
                Err(_) => continue,
            },
        };
        match tried {
            Some(Ok(stream)) => {
                // Requests are written as a whole, so waiting for more gains nothing.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Some(Err(error)) => failed = error,
            None => {}
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Wire>, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await.map(TokioIo::new) })
    }
}
