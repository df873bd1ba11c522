//! A stream that knows how long its peer may take.
//!
//! The HTTP library times the first request's head and the pause between
//! requests, and nothing else; so all of it is done here, where every byte
//! passes:
//!
//! | waiting for | at most |
//! |---|---|
//! | the first byte of a connection | [`HEAD`] |
//! | the first byte of a further request | [`IDLE`] |
//! | the rest of a head, or of a body that nobody reads any more | [`HEAD`] |
//! | the caller to take what it is sent | [`WRITE`], and longer for what moves |
//!
//! While a request is being answered, reading has no time of its own: a body
//! that is read has [`crate::incoming`]'s.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::rt::time::{Instant, Sleep, sleep_until};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::bare;
use super::{Admitted, Connection};

/// How long the head of a request may take from its first byte, and the first
/// request of a connection to begin.
pub(super) const HEAD: Duration = Duration::from_secs(10);
/// How long a connection is kept between requests.
pub(super) const IDLE: Duration = Duration::from_secs(75);
/// How long an answer may stand still.
pub(super) const WRITE: Duration = Duration::from_secs(10);
/// At which pace an answer must at least be taken, in bytes a second.
const PACE: u64 = 16 * 1024;
/// In how many pieces a head may come. It is read anew with each of them.
const PIECES: u32 = 1_000;
/// Pieces above this are not small.
const SMALL: usize = 256;

/// A connection's stream.
pub(crate) struct GuardedStream<T> {
    io: T,
    admitted: Admitted,
    /// Fires at the latest when something has to be looked at.
    timer: Pin<Box<Sleep>>,
    /// Since when nothing was begun, or was begun and is not complete.
    since: Instant,
    /// Whether a head has begun, and in how many small pieces it came.
    head: Option<u32>,
    /// How many requests were begun and ended when it was last looked.
    seen: (u64, u64),
    /// Since when the peer has not taken all it was sent, and what it took since.
    blocked: Option<(Instant, u64)>,
    /// What goes out instead of what was to.
    instead: Vec<u8>,
    /// It ends with the next read.
    over: bool,
}

impl<T> std::fmt::Debug for GuardedStream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardedStream").field("connection", &self.admitted.connection).finish_non_exhaustive()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> GuardedStream<T> {
    /// Guards a stream that has a place.
    pub(crate) fn new(io: T, admitted: Admitted) -> Self {
        let now = Instant::now();
        Self {
            io,
            admitted,
            timer: Box::pin(sleep_until(now + HEAD)),
            since: now,
            head: None,
            seen: (0, 0),
            blocked: None,
            instead: Vec::new(),
            over: false,
        }
    }

    /// What its requests know of it.
    pub(crate) fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.admitted.connection)
    }

    /// Looks what became of the requests.
    fn look(&mut self) {
        let connection = &self.admitted.connection;
        let now = (connection.begun.load(Ordering::Acquire), connection.ended.load(Ordering::Acquire));
        if now != self.seen {
            self.seen = now;
            self.head = None;
            self.since = Instant::now();
        }
    }

    fn is_busy(&self) -> bool {
        self.seen.0 != self.seen.1
    }

    /// Until when the caller has to say more, if it has to.
    fn deadline(&self) -> Option<Instant> {
        match self.head {
            _ if self.is_busy() => None,
            Some(_) => Some(self.since + HEAD),
            None if self.seen.0 == 0 => Some(self.since + HEAD),
            None if self.admitted.connection.unread.load(Ordering::Acquire) => Some(self.since + HEAD),
            None => Some(self.since + IDLE),
        }
    }

    /// Waits for a deadline; ready when it has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        // One timer for all: it is set anew only when it fires too early or
        // would fire too late.
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= deadline || Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Ends it, with an answer where one is owed.
    fn end(&mut self, cx: &mut Context<'_>, why: &'static str) {
        self.over = true;
        self.admitted.note(why);
        if self.head.is_some() {
            // As much as goes out at once: nobody waits for this caller.
            let _ = Pin::new(&mut self.io).poll_write(cx, &bare::too_slow());
        }
    }

    /// Sends what goes out instead, if there is anything left of it.
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let Poll::Ready(written) = Pin::new(&mut self.io).poll_write(cx, &self.instead)? else {
                return self.poll_blocked(cx).map(Err);
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// The peer takes nothing now: it has time, but not for ever.
    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let (since, taken) = *self.blocked.get_or_insert((Instant::now(), 0));
        let deadline = since + WRITE + Duration::from_secs(taken / PACE);
        ready!(self.poll_deadline(cx, deadline));
        self.admitted.note("unread");
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for GuardedStream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.admitted.connection.waker.register(cx.waker());
        this.look();
        if this.over || (this.admitted.connection.closing.load(Ordering::Acquire) && !this.is_busy()) {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        if Pin::new(&mut this.io).poll_read(cx, buffer)?.is_ready() {
            let length = buffer.filled().len() - before;
            if length > 0 && !this.is_busy() {
                if this.head.is_none() {
                    this.since = Instant::now();
                }
                let pieces = this.head.get_or_insert(0);
                *pieces += u32::from(length < SMALL);
                if *pieces > PIECES {
                    this.end(cx, "pieces");
                    buffer.set_filled(before);
                }
            }
            return Poll::Ready(Ok(()));
        }
        match this.deadline() {
            Some(deadline) if this.poll_deadline(cx, deadline).is_ready() => {
                let why = if this.head.is_some() { "slow" } else { "idle" };
                this.end(cx, why);
                Poll::Ready(Ok(()))
            }
            _ => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedStream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        if let Some(instead) = bare::with_problem(bytes) {
            this.instead = instead;
            return Poll::Ready(Ok(bytes.len()));
        }
        match Pin::new(&mut this.io).poll_write(cx, bytes) {
            Poll::Pending => this.poll_blocked(cx).map(Err),
            Poll::Ready(written) => {
                if let (Some((_, taken)), Ok(written)) = (&mut this.blocked, &written) {
                    *taken += *written as u64;
                }
                Poll::Ready(written)
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        // All that was to be sent is taken.
        this.blocked = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_instead(cx))?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::super::tests::connections;
    use super::*;

    fn guarded(room: usize) -> (GuardedStream<DuplexStream>, DuplexStream) {
        let (near, far) = tokio::io::duplex(room);
        let admitted = connections(10).admit().expect("a place");
        (GuardedStream::new(near, admitted), far)
    }

    /// Reads to the end, and gives how long it took.
    async fn read_to_end(stream: &mut GuardedStream<DuplexStream>) -> (Vec<u8>, Duration) {
        let began = Instant::now();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.expect("ends");
        (text, began.elapsed())
    }

    fn is_about(took: Duration, wanted: Duration) -> bool {
        (wanted..wanted + Duration::from_millis(10)).contains(&took)
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_says_nothing_ends_and_so_does_one_that_stops_halfway() {
        let (mut stream, far) = guarded(1_024);
        let (text, took) = read_to_end(&mut stream).await;
        assert!(text.is_empty() && is_about(took, HEAD), "{took:?}");
        drop(far);

        let (mut stream, mut far) = guarded(1_024);
        // A first request, answered; then half of another.
        far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("is taken");
        let mut head = [0; 18];
        stream.read_exact(&mut head).await.expect("is there");
        drop(stream.connection().begin(false));
        let (text, took) = read_to_end(&mut stream).await;
        assert!(text.is_empty() && is_about(took, IDLE), "{took:?}");
        drop(far);

        let (mut stream, mut far) = guarded(1_024);
        drop(stream.connection().begin(false));
        let dripping = tokio::spawn(async move {
            let mut answer = Vec::new();
            for byte in b"GET /x HTTP/1.1\r\nx: y" {
                if far.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            far.read_to_end(&mut answer).await.expect("ends");
            answer
        });
        let (text, took) = read_to_end(&mut stream).await;
        assert!(text.len() < 12 && is_about(took, HEAD), "{took:?} {text:?}");
        drop(stream);
        let answer = String::from_utf8(dripping.await.expect("ends")).expect("text");
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":\"timeout\""), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_nobody_reads_keeps_no_connection() {
        let (mut stream, _far) = guarded(1_024);
        drop(stream.connection().begin(true));
        let (_, took) = read_to_end(&mut stream).await;
        assert!(is_about(took, HEAD), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_request_is_answered_nobody_is_hurried() {
        let (mut stream, mut far) = guarded(1_024);
        let answering = stream.connection().begin(false);
        let later = tokio::spawn(async move {
            tokio::time::sleep(IDLE * 3).await;
            far.write_all(b"rest").await.expect("is taken");
            far
        });
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await.expect("comes");
        drop(answering);
        let (_, took) = read_to_end(&mut stream).await;
        assert!(is_about(took, IDLE), "{took:?}");
        drop(later);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_ends_and_one_that_is_taken_slowly_does_not() {
        let (mut stream, far) = guarded(1_024);
        let began = Instant::now();
        let error = stream.write_all(&[0; 4_096]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(is_about(began.elapsed(), WRITE), "{:?}", began.elapsed());
        drop(far);

        let (mut stream, mut far) = guarded(64 * 1_024);
        let reading = tokio::spawn(async move {
            let mut read = 0;
            let mut piece = vec![0; 64 * 1_024];
            while let Ok(length @ 1..) = far.read(&mut piece).await {
                read += length;
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            read
        });
        stream.write_all(&vec![0; 1_024 * 1_024]).await.expect("is taken at 32 KiB a second");
        stream.flush().await.expect("is flushed");
        drop(stream);
        assert_eq!(reading.await.expect("ends"), 1_024 * 1_024);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_in_thousands_of_pieces_is_not_read_thousands_of_times() {
        let (mut stream, mut far) = guarded(1_024);
        let writing = tokio::spawn(async move {
            let mut pieces = 0;
            while far.write_all(b"x").await.is_ok() {
                tokio::task::yield_now().await;
                pieces += 1;
                if pieces > 10 * PIECES {
                    break;
                }
            }
            far
        });
        let mut piece = [0; 1];
        let mut read = 0;
        while let Ok(1) = stream.read(&mut piece).await {
            read += 1;
        }
        assert_eq!(read, PIECES);
        drop(stream);
        drop(writing);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bare_refusal_becomes_a_problem() {
        let (mut stream, mut far) = guarded(4_096);
        let bare = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(bare).await.expect("is taken");
        stream.flush().await.expect("is flushed");
        drop(stream);
        let mut answer = String::new();
        far.read_to_string(&mut answer).await.expect("ends");
        assert!(
            answer.contains("application/problem+json") && answer.contains("malformed_request"),
            "{answer}"
        );
    }
}
