//! A name server on loopback that says what a test wants.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// A running name server. It ends when it is dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a name server says of a name.
#[derive(Debug, Clone)]
pub enum Named {
    /// Its addresses, and for how many seconds they may be kept.
    At(Vec<IpAddr>, u32),
    /// Its addresses of IPv4; of IPv6 it never says anything.
    OnlyV4(Vec<IpAddr>),
    /// Nothing at all.
    Silence,
    /// An answer code without records (RFC 1035, section 4.1.1).
    Code(u8),
}

/// A question and an answer record, as numbers of RFC 1035 and RFC 3596.
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;

impl NameServer {
    /// A server that gives each name the addresses that `zone` says, also
    /// different ones each time: nothing is to be kept.
    pub async fn start(zone: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
        Self::saying(move |name| Named::At(zone(name), 0)).await
    }

    /// A server that says of each name what `zone` says, once for each kind of
    /// address.
    pub async fn saying(zone: impl Fn(&str) -> Named + Send + Sync + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(zone);
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1_024];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                if let Some(answer) = answer(&buffer[..length], zone.as_ref()) {
                    // Whoever asked may be gone.
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Self { address, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The answer to a question with one name.
fn answer(question: &[u8], zone: &dyn Fn(&str) -> Named) -> Option<Vec<u8>> {
    let (mut place, mut labels) = (12, Vec::new());
    while let length @ 1.. = usize::from(*question.get(place)?) {
        labels.push(String::from_utf8_lossy(question.get(place + 1..place + 1 + length)?).to_lowercase());
        place += 1 + length;
    }
    let kind = u16::from_be_bytes([*question.get(place + 1)?, *question.get(place + 2)?]);
    let end = place + 5;
    let fits =
        |address: &IpAddr| matches!((kind, address), (TYPE_A, IpAddr::V4(_)) | (TYPE_AAAA, IpAddr::V6(_)));
    let (addresses, ttl, code) = match zone(&labels.join(".")) {
        Named::At(addresses, ttl) => (addresses, ttl, 0),
        Named::OnlyV4(addresses) if kind == TYPE_A => (addresses, 0, 0),
        Named::OnlyV4(_) | Named::Silence => return None,
        Named::Code(code) => (Vec::new(), 0, code),
    };
    let addresses: Vec<IpAddr> = addresses.into_iter().filter(fits).collect();
    let mut answer = question.get(..2)?.to_vec();
    // An answer, recursion wanted and available; one question.
    answer.extend([0x81, 0x80 | code, 0, 1]);
    answer.extend((addresses.len() as u16).to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend(question.get(12..end)?);
    for address in addresses {
        // The name is that of the question, at byte 12.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend(CLASS_IN.to_be_bytes());
        answer.extend(ttl.to_be_bytes());
        let bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        answer.extend((bytes.len() as u16).to_be_bytes());
        answer.extend(bytes);
    }
    Some(answer)
}
