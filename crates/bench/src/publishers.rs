//! The publishers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::catalogue::invoice;
use crate::http1::Messages;
use crate::latency::ArrivalLog;
use crate::load::Load;
use crate::server::{Server, Target};

/// How long a publisher waits that was refused.
const AFTER_REFUSAL: Duration = Duration::from_millis(100);

/// Numbers run through all phases of a run, so that none stands twice.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What was published.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Published {
    /// Answered with 202.
    pub(crate) accepted: u64,
    /// Deliveries of these to endpoints that answer.
    pub(crate) healthy: u64,
    /// Answered otherwise.
    pub(crate) refused: u64,
}

/// The work that publishers take from.
struct Plan {
    first: u64,
    end: u64,
    started: Instant,
    interval: Option<Duration>,
}

impl Plan {
    /// The next event's number, when it is time for it.
    async fn next(&self) -> Option<(u64, Instant)> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if number >= self.end {
            return None;
        }
        let Some(interval) = self.interval else { return Some((number, Instant::now())) };
        let due = self.started + interval.mul_f64((number - self.first) as f64);
        tokio::time::sleep_until(due).await;
        Some((number, due))
    }
}

/// Publishes as the arguments say.
pub(crate) async fn publish(
    server: &Server,
    targets: &Arc<Vec<Target>>,
    load: &Load,
    log: &Arc<ArrivalLog>,
) -> anyhow::Result<Published> {
    let first = NEXT.load(Ordering::Relaxed);
    let plan = Arc::new(Plan {
        first,
        end: first + load.events,
        started: Instant::now(),
        interval: load.rate.map(|rate| Duration::from_secs(1) / rate),
    });
    let data = match load.invoices || load.catalogue.is_some() {
        true => invoice(load.data_bytes as usize),
        false => format!(r#"{{"text":"{}"}}"#, "x".repeat(load.data_bytes as usize - 11)),
    };
    let mut tasks = Vec::new();
    for _ in 0..load.publishers {
        let stream = TcpStream::connect(server.address()).await.context("cannot connect to the server")?;
        stream.set_nodelay(true)?;
        let publisher = Publisher {
            stream,
            head: server.request_head(),
            data: data.clone(),
            targets: Arc::clone(targets),
            fan_out: u64::from(load.fan_out),
            log: Arc::clone(log),
        };
        tasks.push(tokio::spawn(publisher.run(Arc::clone(&plan))));
    }
    let mut all = Published::default();
    for task in tasks {
        let some = task.await??;
        all.accepted += some.accepted;
        all.healthy += some.healthy;
        all.refused += some.refused;
    }
    // The publishers have overrun the end by one each.
    NEXT.store(plan.end, Ordering::Relaxed);
    Ok(all)
}

struct Publisher {
    stream: TcpStream,
    head: String,
    data: String,
    targets: Arc<Vec<Target>>,
    fan_out: u64,
    log: Arc<ArrivalLog>,
}

impl Publisher {
    async fn run(mut self, plan: Arc<Plan>) -> anyhow::Result<Published> {
        let (read, mut write) = self.stream.split();
        let mut messages = Messages::new(read);
        let mut published = Published::default();
        while let Some((number, due)) = plan.next().await {
            let target = &self.targets[number as usize % self.targets.len()];
            let body = format!(
                r#"{{"tenant":"{}","type":"bench.event","subject":"bench_{number}","data":{}}}"#,
                target.tenant, self.data
            );
            let request = format!("{}content-length: {}\r\n\r\n{body}", self.head, body.len());
            if target.answers {
                for branch in 0..self.fan_out {
                    self.log.note_due(number * self.fan_out + branch, due);
                }
            }
            write.write_all(request.as_bytes()).await?;
            let answer = messages.next().await?.context("the server closed the connection")?;
            if answer.head.starts_with(b"HTTP/1.1 202") {
                published.accepted += 1;
                published.healthy += u64::from(target.answers) * self.fan_out;
            } else {
                published.refused += 1;
                tokio::time::sleep(AFTER_REFUSAL).await;
            }
        }
        Ok(published)
    }
}
