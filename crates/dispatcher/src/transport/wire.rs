//! The stream of a connection to a receiver.
//!
//! What a peer sends is read by loops of the HTTP and TLS libraries, which go
//! on as long as there is something to read: answers that are only
//! informational (1xx), frames of HTTP/2 that ask for an answer, records of TLS
//! that hold nothing. None of them ends by itself. Here every byte passes, so
//! here is the bound: bytes that lead to nothing are counted, and a task that
//! reads much without a pause lets the others go on.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::status_line::StatusLine;

/// How much may come that leads to nothing: neither the head of an answer nor
/// a part of a body. The longest head that is read (256 KiB) is far below.
const UNEARNED: u64 = 1024 * 1024;
/// After so much, a task that reads lets the others go on.
const STRETCH: usize = 32 * 1024;
/// How old a connection may get. Then the name is looked up, and the address
/// checked, anew.
const OLDEST: Duration = Duration::from_secs(5 * 60);
/// How old it may always get, also where the name's record ends earlier: a
/// handshake is far dearer than a call.
const YOUNGEST: Duration = Duration::from_secs(10);

/// Too much came that led to nothing.
#[derive(Debug, thiserror::Error)]
#[error("the receiver sent more than {} KiB without an answer", UNEARNED / 1024)]
pub(super) struct Unearned;

/// What is between us and a receiver.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// What is known of a connection wherever it is used.
#[derive(Debug, Clone)]
pub(super) struct WireInfo {
    progress: Arc<Progress>,
    best_before: Instant,
    /// The address at the other end; none behind a proxy.
    pub(super) remote: Option<std::net::IpAddr>,
}

#[derive(Debug, Default)]
struct Progress {
    unearned: AtomicU64,
    /// Whether a call on it has been answered before.
    has_answered: AtomicBool,
    /// Whether a call is under way, over HTTP/1.
    is_calling: AtomicBool,
    /// Whether `answer` has still something to learn.
    is_listening: AtomicBool,
    /// What is coming; over HTTP/1 only.
    answer: Mutex<StatusLine>,
}

impl WireInfo {
    /// `known_until` is how long the address is known to be right.
    pub(super) fn new(remote: Option<std::net::IpAddr>, known_until: Instant) -> Self {
        let now = Instant::now();
        let best_before = known_until.clamp(now + YOUNGEST, now + OLDEST);
        Self { progress: Arc::default(), best_before, remote }
    }

    /// What came so far led to something.
    pub(super) fn earn(&self) {
        self.progress.unearned.store(0, Ordering::Relaxed);
    }

    /// The head of an answer came.
    pub(super) fn answered(&self) {
        self.earn();
        self.progress.has_answered.store(true, Ordering::Relaxed);
        self.progress.is_listening.store(false, Ordering::Relaxed);
        *self.answer() = StatusLine::default();
        self.progress.is_calling.store(false, Ordering::Relaxed);
    }

    /// Whether a call on it has been answered before.
    pub(super) fn is_reused(&self) -> bool {
        self.progress.has_answered.load(Ordering::Relaxed)
    }

    /// Whether no further call should be made on it.
    pub(super) fn is_old(&self) -> bool {
        Instant::now() > self.best_before
    }

    /// The status of the answer that is coming, as soon as it is known; over
    /// HTTP/1 only.
    pub(super) fn status(&self) -> Option<u16> {
        self.answer().status()
    }

    /// Whether anything has come since the last call was sent; over HTTP/1 only.
    pub(super) fn is_heard(&self) -> bool {
        self.answer().is_heard()
    }

    fn answer(&self) -> std::sync::MutexGuard<'_, StatusLine> {
        self.progress.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call is being sent.
    fn listen(&self) {
        if !self.progress.is_calling.swap(true, Ordering::Relaxed) {
            *self.answer() = StatusLine::default();
            self.progress.is_listening.store(true, Ordering::Relaxed);
        }
    }

    fn hear(&self, bytes: &[u8]) {
        if self.progress.is_listening.load(Ordering::Relaxed) && !self.answer().read(bytes) {
            self.progress.is_listening.store(false, Ordering::Relaxed);
        }
    }
}

/// A connection.
pub(super) struct Wire {
    io: Box<dyn Io>,
    info: WireInfo,
    is_http2: bool,
    /// How much was read since there was a pause.
    stretch: usize,
    /// One of the connections that there may be.
    _place: OwnedSemaphorePermit,
}

impl Wire {
    pub(super) fn new(io: Box<dyn Io>, info: WireInfo, is_http2: bool, place: OwnedSemaphorePermit) -> Self {
        Self { io, info, is_http2, stretch: 0, _place: place }
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.info.clone());
        if self.is_http2 { connected.negotiated_h2() } else { connected }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.stretch > STRETCH {
            this.stretch = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, buffer) else {
            this.stretch = 0;
            return Poll::Pending;
        };
        read?;
        let length = buffer.filled().len() - before;
        // Many small pieces are as much work as a large one.
        this.stretch += length.max(256);
        if !this.is_http2 {
            this.info.hear(&buffer.filled()[before..]);
        }
        let length = length as u64;
        let unearned = this.info.progress.unearned.fetch_add(length, Ordering::Relaxed) + length;
        if unearned > UNEARNED {
            buffer.set_filled(before);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, Unearned)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.info.listen();
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.info.listen();
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Semaphore;

    use super::*;

    async fn fresh() -> (Wire, tokio::io::DuplexStream, WireInfo) {
        let (near, far) = tokio::io::duplex(4 * 1024 * 1024);
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.expect("a place");
        let info = WireInfo::new(None, Instant::now());
        (Wire::new(Box::new(near), info.clone(), false, place), far, info)
    }

    #[tokio::test]
    async fn what_leads_to_nothing_has_an_end_and_what_is_earned_has_none() {
        let (mut wire, mut far, _) = fresh().await;
        far.write_all(&vec![0; 2 * UNEARNED as usize]).await.expect("is taken");
        let mut read = Vec::new();
        let error = wire.read_to_end(&mut read).await.expect_err("too much");
        assert!(error.get_ref().is_some_and(|inner| inner.is::<Unearned>()), "{error}");
        assert!(read.len() as u64 <= UNEARNED);

        let (mut wire, mut far, info) = fresh().await;
        let mut piece = vec![0; UNEARNED as usize / 2];
        for _ in 0..10 {
            far.write_all(&piece).await.expect("is taken");
            wire.read_exact(&mut piece).await.expect("is read");
            info.earn();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_lives_as_long_as_its_record_within_bounds() {
        for (record_secs, lives_secs) in [(0, 10), (60, 60), (86_400, 300)] {
            let info = WireInfo::new(None, Instant::now() + Duration::from_secs(record_secs));
            tokio::time::advance(Duration::from_secs(lives_secs)).await;
            assert!(!info.is_old(), "a record of {record_secs} s");
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(info.is_old(), "a record of {record_secs} s");
        }
    }

    #[tokio::test]
    async fn a_task_that_reads_without_a_pause_lets_others_go_on() {
        let (mut wire, mut far, _) = fresh().await;
        far.write_all(&vec![0; 10 * STRETCH]).await.expect("is taken");
        let mut piece = vec![0; STRETCH];
        let mut pauses = 0;
        let mut read = 0;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while read < 10 * STRETCH {
            let mut buffer = ReadBuf::new(&mut piece);
            match Pin::new(&mut wire).poll_read(&mut cx, &mut buffer) {
                Poll::Ready(result) => {
                    result.expect("is read");
                    read += buffer.filled().len();
                }
                Poll::Pending => pauses += 1,
            }
        }
        assert!((4..=10).contains(&pauses), "{pauses}");
    }
}
