//! The receivers: one that answers at once, and a bad one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::http1::{Messages, header};
use crate::latency::ArrivalLog;
use crate::load::Misbehaviour;

/// Between two bytes of an answer that drips.
const DRIP: Duration = Duration::from_secs(1);

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// A receiver that answers at once, or from when it is let go.
pub(crate) struct Receiver {
    address: SocketAddr,
    log: Arc<ArrivalLog>,
    going: watch::Sender<bool>,
}

impl Receiver {
    pub(crate) async fn start(hold_back: bool, fan_out: u32) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (going, gate) = watch::channel(!hold_back);
        let log = Arc::new(ArrivalLog::new());
        let to = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&to), gate.clone(), fan_out));
            }
        });
        Ok(Self { address, log, going })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn log(&self) -> &Arc<ArrivalLog> {
        &self.log
    }

    /// Answers from now on.
    pub(crate) fn let_go(&self) {
        self.going.send_replace(true);
    }
}

async fn serve(
    mut stream: TcpStream,
    log: Arc<ArrivalLog>,
    mut gate: watch::Receiver<bool>,
    fan_out: u32,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.split();
    let mut messages = Messages::new(read);
    while let Some(message) = messages.next().await? {
        // A receiver whose run has ended needs no gate.
        let _ = gate.wait_for(|going| *going).await;
        if let Some(number) = number_of(message.body) {
            log.note_arrival(number * u64::from(fan_out) + branch_of(message.head));
        }
        debug_assert!(header(message.head, b"webhook-id: ").is_some());
        write.write_all(ANSWER).await?;
    }
    Ok(())
}

/// Which of an event's endpoints this is: the number in `/hook/…`.
fn branch_of(head: &[u8]) -> u64 {
    let digits = head.iter().skip(b"POST /hook/".len()).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// The number in `"subject":"bench_…"`.
fn number_of(body: &[u8]) -> Option<u64> {
    let mark = b"\"subject\":\"bench_";
    let begin = body.windows(mark.len()).position(|part| part == mark)? + mark.len();
    let digits = body[begin..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// A receiver that takes nothing.
pub(crate) struct BadReceiver {
    address: SocketAddr,
}

impl BadReceiver {
    pub(crate) async fn start(what: Misbehaviour) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(misbehave(stream, what));
            }
        });
        Ok(Self { address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn misbehave(mut stream: TcpStream, what: Misbehaviour) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.split();
    let mut messages = Messages::new(read);
    while messages.next().await?.is_some() {
        let status = match what {
            Misbehaviour::Hang => continue,
            Misbehaviour::Drip => {
                write.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await?;
                loop {
                    write.write_all(b"x").await?;
                    tokio::time::sleep(DRIP).await;
                }
            }
            Misbehaviour::Reset => {
                // Closed with no time to linger, the connection is reset.
                return stream.set_zero_linger();
            }
            Misbehaviour::Fail => "500 Internal Server Error",
            Misbehaviour::Redirect => "302 Found\r\nlocation: http://127.0.0.1/",
            Misbehaviour::Refuse => "429 Too Many Requests",
        };
        write.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
    }
    Ok(())
}
