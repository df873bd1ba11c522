//! A wire that can be cut.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Forwards connections to another port of this machine. It ends when it is
/// dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    wire: watch::Sender<Wire>,
    task: JoinHandle<()>,
}

/// How the wire is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wire {
    /// Nothing passes, and nobody is told.
    stalled: bool,
    /// How often all connections were cut.
    cuts: u64,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// A proxy to this port.
    pub async fn to(port: u16) -> Self {
        Self::rewriting(port, &[], &[]).await
    }

    /// A proxy to this port that replaces `from` by `into`, as long as it, in
    /// what comes back.
    pub async fn rewriting(port: u16, from: &[u8], into: &[u8]) -> Self {
        assert_eq!(from.len(), into.len());
        let (from, into) = (from.to_vec(), into.to_vec());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (wire, watched) = watch::channel(Wire { stalled: false, cuts: 0 });
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // A target that is down shows as a connection that ends at once.
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                let rewrite = Rewrite { from: from.clone(), into: into.clone() };
                tokio::spawn(forward(near_read, far_write, watched.clone(), Rewrite::default()));
                tokio::spawn(forward(far_read, near_write, watched.clone(), rewrite));
            }
        });
        Self { address, wire, task }
    }

    /// The port that stands for the other.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends all connections. New ones may be made.
    pub fn cut(&self) {
        self.wire.send_modify(|wire| wire.cuts += 1);
    }

    /// Lets nothing pass, without a word, until [`Self::resume`].
    pub fn stall(&self) {
        self.wire.send_modify(|wire| wire.stalled = true);
    }

    /// Lets everything pass again.
    pub fn resume(&self) {
        self.wire.send_modify(|wire| wire.stalled = false);
    }
}

/// What passes as something else.
#[derive(Debug, Default)]
struct Rewrite {
    from: Vec<u8>,
    into: Vec<u8>,
}

impl Rewrite {
    /// Only what comes in one piece is found: good enough for short answers.
    fn apply(&self, bytes: &mut [u8]) {
        if self.from.is_empty() {
            return;
        }
        for start in 0..bytes.len().saturating_sub(self.from.len() - 1) {
            if bytes[start..].starts_with(&self.from) {
                bytes[start..start + self.from.len()].copy_from_slice(&self.into);
            }
        }
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
    rewrite: Rewrite,
) {
    let cuts = wire.borrow().cuts;
    let mut watched = wire.clone();
    let is_cut = watched.wait_for(|wire| wire.cuts != cuts);
    let copy = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
            if wire.wait_for(|wire| !wire.stalled).await.is_err() {
                return;
            }
            rewrite.apply(&mut buffer[..length]);
            if to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = copy => {}
        _ = is_cut => {}
    }
}
