//! Receivers that speak TLS, well or badly.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::{Authority, Identity};

/// How it treats each connection.
#[derive(Debug, Clone)]
pub enum Secured {
    /// TLS with a certificate of this kind; answers each request with these
    /// bytes and ends the TCP connection without a word in TLS (no
    /// `close_notify`).
    Answering(Identity, Vec<u8>),
    /// TLS with a right certificate, for those alone who show one of the
    /// authority's.
    WantingCertificate,
    /// No TLS: sends just these bytes.
    Plain(Vec<u8>),
    /// Takes the connection and says nothing.
    Silent,
    /// Takes the connection and closes it.
    Closing,
}

/// A running receiver. It ends when it is dropped.
#[derive(Debug)]
pub struct TlsReceiver {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for TlsReceiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TlsReceiver {
    /// Starts one on a free port.
    pub async fn start(authority: &Authority, how: Secured) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = match &how {
            Secured::Answering(identity, _) => Some(acceptor(authority, *identity, &[], None)),
            Secured::WantingCertificate => {
                let roots = Arc::new(authority.roots());
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let clients = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
                Some(acceptor(authority, Identity::Right, &[], Some(clients)))
            }
            Secured::Plain(_) | Secured::Silent | Secured::Closing => None,
        };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acceptor.clone(), how.clone()));
            }
        });
        Self { address, task }
    }

    /// The URL of an endpoint here.
    pub fn url(&self) -> String {
        format!("https://{}/hook", self.address)
    }
}

/// Takes connections over TLS with a certificate of this kind.
pub(crate) fn acceptor(
    authority: &Authority,
    identity: Identity,
    protocols: &[&[u8]],
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> TlsAcceptor {
    let (chain, key) = authority.identity(identity);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = match clients {
        Some(clients) => config.with_client_cert_verifier(clients),
        None => config.with_no_client_auth(),
    };
    let mut config = config.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(mut stream: TcpStream, acceptor: Option<TlsAcceptor>, how: Secured) -> std::io::Result<()> {
    match (how, acceptor) {
        (Secured::Answering(_, answer), Some(acceptor)) => {
            let mut secured = acceptor.accept(stream).await?;
            let mut request = Vec::new();
            while !request.windows(4).any(|part| part == b"\r\n\r\n") {
                if secured.read_buf(&mut request).await? == 0 {
                    return Ok(());
                }
            }
            secured.write_all(&answer).await?;
            secured.flush().await?;
            // The stream itself is closed in an orderly way, TLS is not.
            let (mut stream, _) = secured.into_inner();
            stream.shutdown().await?;
            drain(stream).await
        }
        (Secured::WantingCertificate, Some(acceptor)) => {
            match acceptor.accept(stream).into_fallible().await {
                Ok(mut secured) => secured.shutdown().await,
                Err((_, stream)) => drain(stream).await,
            }
        }
        (Secured::Plain(bytes), _) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
            drain(stream).await
        }
        (Secured::Silent, _) => drain(stream).await,
        (Secured::Closing | Secured::Answering(..) | Secured::WantingCertificate, _) => Ok(()),
    }
}

/// Reads until the other side closes, so that what was sent is not cut off by a
/// reset.
async fn drain(mut stream: TcpStream) -> std::io::Result<()> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.map(|_| ())
}
