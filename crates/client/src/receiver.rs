//! A small receiver of webhooks, for trying.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The longest body that is taken, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// What to answer to a webhook.
pub type Answer = Arc<dyn Fn(&HeaderMap, &[u8]) -> Reply + Send + Sync>;

/// An answer.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// In how many seconds to try again.
    pub retry_after: Option<u32>,
    /// How long it takes.
    pub delay: Duration,
}

impl From<StatusCode> for Reply {
    fn from(status: StatusCode) -> Self {
        Self { status, retry_after: None, delay: Duration::ZERO }
    }
}

/// A running receiver. It ends when it is dropped.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Listens on an address; port 0 is any that is free.
    pub async fn start(address: SocketAddr, answer: Answer) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { address, task: tokio::spawn(accept(listener, answer)) })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, answer: Answer) {
    while let Ok((stream, _)) = listener.accept().await {
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let service = service_fn(move |request| receive(request, Arc::clone(&answer)));
            // A connection that breaks is the sender's to notice.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn receive(request: Request<Incoming>, answer: Answer) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let reply = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => answer(&parts.headers, &body.to_bytes()),
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into(),
    };
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = reply.status;
    if let Some(seconds) = reply.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    Ok(response)
}
