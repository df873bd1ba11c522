//! Receivers that speak HTTP/2, and refuse as it allows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderValue, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::tls::acceptor;
use crate::{Authority, Identity};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http2 {
    /// It is answered with 204.
    Answer,
    /// It is answered with 204 and this many bytes of headers.
    AnswerWith(usize),
    /// Its stream is reset for this reason (RFC 9113, section 7).
    Reset(u32),
    /// The receiver goes away with the first call of a connection, and has not
    /// begun with it.
    GoAway,
    /// The connection is dropped.
    Drop,
}

/// A running receiver. It ends when it is dropped.
#[derive(Debug)]
pub struct Http2Receiver {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Http2Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Http2Receiver {
    /// A receiver that does what the script says to the calls it gets, counted
    /// from 0. Over HTTP/1.1 it answers each with 204.
    pub async fn start(
        authority: &Authority,
        script: impl Fn(usize) -> Http2 + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = acceptor(authority, Identity::Right, &[b"h2", b"http/1.1"], None);
        let (script, calls) = (Arc::new(script), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&calls);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, script, calls) = (acceptor.clone(), Arc::clone(&script), Arc::clone(&counted));
                tokio::spawn(async move { serve(stream, acceptor, script.as_ref(), &calls).await });
            }
        });
        Self { address, calls, task }
    }

    /// The URL of an endpoint here.
    pub fn url(&self) -> String {
        format!("https://{}/hook", self.address)
    }

    /// How many calls have come, over either version.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Settings that change nothing, and the end of a connection on which no
/// stream was begun with (RFC 9113, sections 6.5 and 6.8).
const GOING_AWAY: [u8; 26] = [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    script: &(impl Fn(usize) -> Http2 + Sync),
    calls: &AtomicUsize,
) -> Option<()> {
    let mut secured = acceptor.accept(stream).await.ok()?;
    if secured.get_ref().1.alpn_protocol() != Some(b"h2") {
        let mut request = Vec::new();
        while !request.windows(4).any(|part| part == b"\r\n\r\n") {
            secured.read_buf(&mut request).await.ok().filter(|read| *read > 0)?;
        }
        calls.fetch_add(1, Ordering::SeqCst);
        return secured.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok();
    }
    if script(calls.load(Ordering::SeqCst)) == Http2::GoAway {
        calls.fetch_add(1, Ordering::SeqCst);
        secured.write_all(&GOING_AWAY).await.ok()?;
        return secured.read_to_end(&mut Vec::new()).await.ok().map(|_| ());
    }
    let mut connection = h2::server::Builder::new().handshake::<_, Bytes>(secured).await.ok()?;
    while let Some(call) = connection.accept().await {
        let (_request, mut respond) = call.ok()?;
        match script(calls.fetch_add(1, Ordering::SeqCst)) {
            Http2::Answer => drop(respond.send_response(answer(0), true)),
            Http2::AnswerWith(bytes) => drop(respond.send_response(answer(bytes), true)),
            Http2::Reset(reason) => respond.send_reset(Reason::from(reason)),
            Http2::GoAway | Http2::Drop => return None,
        }
    }
    Some(())
}

fn answer(bytes: usize) -> Response<()> {
    let mut answer = Response::builder().status(204);
    for n in 0..bytes / 1_000 {
        answer = answer.header(format!("x-filler-{n}"), HeaderValue::from_str(&"y".repeat(950)).unwrap());
    }
    answer.body(()).unwrap()
}
