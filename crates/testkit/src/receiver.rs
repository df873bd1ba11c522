//! Receivers on real sockets, written without an HTTP library, so that they
//! can do what no library would.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Received {
    /// The path and query.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// When it was complete.
    pub at: Instant,
}

impl Received {
    /// A header that must be there.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers))
    }
}

/// What a receiver does with a request.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Answers with this status.
    Answer(u16),
    /// Answers with this status and these further header lines.
    AnswerWith(u16, String),
    /// Answers 200 with this JSON.
    Json(String),
    /// Reads the request and never answers.
    Hang,
    /// Answers 503 with a body of which it sends a byte a second, for ever.
    Drip,
    /// Answers 200 with a body that never ends, as fast as it is taken.
    Endless,
    /// Resets the connection when the request is complete.
    Reset,
    /// Answers 204, but only after this time.
    Late(Duration),
    /// Sends something that is not HTTP.
    Garbage,
    /// Sends just this and closes the connection.
    Raw(Vec<u8>),
    /// Sends just this and no more.
    RawAndHang(Vec<u8>),
    /// Answers 204, and closes the connection before the next request.
    AnswerAndClose,
    /// Answers 204, and resets the connection when the next request comes.
    AnswerAndResetNext,
    /// Announces an answer (103) for ever, as fast as that is taken.
    Announce,
}

type Script = Arc<dyn Fn(&Received) -> Behaviour + Send + Sync>;

/// A running receiver. It ends when it is dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    log: Arc<Log>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Log {
    received: Mutex<Vec<Received>>,
    arrived: Notify,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// A receiver that always does the same.
    pub async fn always(behaviour: Behaviour) -> Self {
        Self::start(move |_| behaviour.clone()).await
    }

    /// A receiver that does what the script says to each request.
    pub async fn start(script: impl Fn(&Received) -> Behaviour + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Log::default());
        let (script, to): (Script, _) = (Arc::new(script), Arc::clone(&log));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&to)));
            }
        });
        Self { address, log, task }
    }

    /// An address at which nothing listens.
    pub async fn refusing() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    /// The URL of an endpoint here.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What has come so far.
    pub fn received(&self) -> Vec<Received> {
        self.log.received.lock().unwrap().clone()
    }

    /// Looks at what has come so far, where it is: for many requests, to be looked
    /// at often.
    pub fn look<T>(&self, at: impl FnOnce(&[Received]) -> T) -> T {
        at(&self.log.received.lock().unwrap())
    }

    /// Waits until at least so many requests have come.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let waiting = async {
            loop {
                let arrived = self.log.arrived.notified();
                let received = self.received();
                if received.len() >= count {
                    return received;
                }
                arrived.await;
            }
        };
        match tokio::time::timeout(crate::PATIENCE, waiting).await {
            Ok(received) => received,
            Err(_) => panic!("only {} of {count} requests came", self.received().len()),
        }
    }
}

async fn serve(mut stream: TcpStream, script: Script, log: Arc<Log>) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(received) = read(&mut stream, &mut buffer).await? {
        let behaviour = script(&received);
        log.received.lock().unwrap().push(received);
        log.arrived.notify_waiters();
        if !act(&mut stream, behaviour).await? {
            break;
        }
    }
    Ok(())
}

/// Does it, and tells whether the connection goes on.
async fn act(stream: &mut TcpStream, behaviour: Behaviour) -> std::io::Result<bool> {
    match behaviour {
        Behaviour::Answer(status) => answer(stream, status, "").await?,
        Behaviour::AnswerWith(status, headers) => answer(stream, status, &headers).await?,
        Behaviour::Json(body) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await?;
        }
        Behaviour::Late(after) => {
            tokio::time::sleep(after).await;
            answer(stream, 204, "").await?;
        }
        Behaviour::Hang => {
            // Until the other side closes.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await?;
            return Ok(false);
        }
        Behaviour::Drip => {
            stream.write_all(b"HTTP/1.1 503 Wait\r\ncontent-length: 1000000\r\n\r\n").await?;
            loop {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Behaviour::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(4_096));
            loop {
                stream.write_all(chunk.as_bytes()).await?;
            }
        }
        Behaviour::Reset => {
            // Closed with no time to linger, the connection is reset.
            stream.set_zero_linger()?;
            return Ok(false);
        }
        Behaviour::Announce => {
            let many = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000);
            loop {
                stream.write_all(many.as_bytes()).await?;
            }
        }
        Behaviour::Raw(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
            return Ok(false);
        }
        Behaviour::RawAndHang(bytes) => {
            stream.write_all(&bytes).await?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await?;
            return Ok(false);
        }
        Behaviour::AnswerAndResetNext => {
            answer(stream, 204, "").await?;
            // With a byte of the next request unread, closing is a reset.
            stream.readable().await?;
            return Ok(false);
        }
        Behaviour::AnswerAndClose => {
            answer(stream, 204, "").await?;
            return Ok(false);
        }
        Behaviour::Garbage => {
            stream.write_all(b"\x16\x03\x01 this is not HTTP\r\n\r\n").await?;
            return Ok(false);
        }
    }
    Ok(true)
}

async fn answer(stream: &mut TcpStream, status: u16, headers: &str) -> std::io::Result<()> {
    let answer = format!("HTTP/1.1 {status} Test\r\n{headers}content-length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Received>> {
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
    let mut lines = text.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    while buffer.len() < head + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = buffer[head..head + length].to_vec();
    buffer.drain(..head + length);
    Ok(Some(Received { path, headers, body, at: Instant::now() }))
}
