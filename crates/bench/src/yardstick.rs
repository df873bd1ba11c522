//! The least that a platform for webhooks can do: accept, answer 202, and post
//! on, with nothing stored, signed or checked.
//!
//! How fast a machine is changes by half from hour to hour. What Posthorn takes
//! for a delivery is therefore told as a multiple of what this takes, in the
//! same minutes, with the same publishers and the same receiver.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

use super::{WARM_UP, wait_for};
use crate::load::Load;
use crate::publishers;
use crate::server::Server;
use client::receiver::{Answer, Receiver};

/// Events of one measurement.
const EVENTS: u64 = 40_000;
/// Connections on which it posts.
const CONNECTIONS: usize = 64;
/// How many events may wait to be posted on; more are refused.
const QUEUE: usize = 8_192;

/// Measures the yardstick: processor time for an event, in microseconds.
pub(crate) async fn measure(load: &Load) -> anyhow::Result<f64> {
    let plain = Load { events: EVENTS, fan_out: 1, rate: None, ..load.clone() };
    let receiver = crate::Receiver::start(false, 1).await?;
    let server = Server::start_yardstick(receiver.address()).await?;
    let targets = Arc::new(server.targets(&plain));
    let warm_up = Load { events: WARM_UP, ..plain.clone() };
    let warm = publishers::publish(&server, &targets, &warm_up, receiver.log()).await?;
    wait_for(&receiver, warm.healthy, "warming up the yardstick").await?;
    receiver.log().clear();
    let before = server.usage()?;
    let published = publishers::publish(&server, &targets, &plain, receiver.log()).await?;
    wait_for(&receiver, published.healthy, "measuring the yardstick").await?;
    let used = server.usage()?.since(before).seconds();
    server.stop().await?;
    Ok(used * 1e6 / published.healthy as f64)
}

/// Where the yardstick posts.
#[derive(Debug, Args)]
pub struct YardstickArgs {
    /// Where to post
    #[arg(long)]
    to: SocketAddr,
}

/// Is the yardstick: listens, says where on standard output, and posts what comes.
///
/// # Errors
///
/// It cannot listen, or what it posts to is gone.
pub async fn serve_yardstick(args: &YardstickArgs) -> anyhow::Result<()> {
    let target = args.to;
    let (queue, waiting) = mpsc::channel::<Bytes>(QUEUE);
    let waiting = Arc::new(Mutex::new(waiting));
    let mut posting = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        posting.spawn(post(target, Arc::clone(&waiting)));
    }
    let answer: Answer = Arc::new(move |_: &HeaderMap, body: &[u8]| {
        let accepted = body.is_empty() || queue.try_send(Bytes::copy_from_slice(body)).is_ok();
        if accepted { StatusCode::ACCEPTED } else { StatusCode::SERVICE_UNAVAILABLE }.into()
    });
    let receiver = Receiver::start(SocketAddr::from(([127, 0, 0, 1], 0)), answer).await?;
    println!("the yardstick is listening on http://{}", receiver.address);
    posting.join_next().await.context("nothing is posted")??
}

/// Posts on one connection, one event after the other.
async fn post(target: SocketAddr, waiting: Arc<Mutex<mpsc::Receiver<Bytes>>>) -> anyhow::Result<()> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    loop {
        let next = waiting.lock().await.recv().await;
        let Some(body) = next else { return Ok(()) };
        let request = Request::post("/hook/0")
            .header("host", target.to_string())
            .header("content-type", "application/json")
            .header("webhook-id", "yardstick")
            .body(Full::new(body))?;
        sender.ready().await?;
        sender.send_request(request).await?.into_body().collect().await?;
    }
}
