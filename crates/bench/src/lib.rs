//! `posthorn bench`: the project's own load generator and receiver.
//!
//! The server under test is a process of its own, on a database of its own,
//! so that its processor time and memory can be told apart from ours. With
//! `--rate` the load is open: an event is sent when it is due, and its
//! latency counts from then, also when the server was not ready for it.

mod catalogue;
mod crash;
mod http1;
mod latency;
mod load;
mod publishers;
mod receiver;
mod report;
mod server;
mod usage;
pub(crate) mod yardstick;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use self::receiver::{BadReceiver, Receiver};
use self::report::Report;
use self::server::Server;

pub use self::load::{Load, Misbehaviour, Wanted};
pub use self::yardstick::{YardstickArgs, serve_yardstick};

/// How long nothing may arrive before the run is given up.
const STALLED: Duration = Duration::from_secs(60);
/// How many events warm up caches, connections and limits before the count begins.
const WARM_UP: u64 = 2_000;

/// Measures, and gives a report.
///
/// `database_url` is the PostgreSQL database to measure on. Without one, each
/// run has an embedded store of its own.
///
/// # Errors
///
/// The server cannot be started, or stops making progress.
pub async fn run(load: &Load, database_url: Option<&str>) -> anyhow::Result<String> {
    if load.yardstick {
        let us = yardstick::measure(load).await?;
        return Ok(match load.json {
            true => format!(r#"{{"yardstick_us":{us:.1}}}"#),
            false => format!("the yardstick: {us:.1} µs of processor time an event"),
        });
    }
    // A price is told in yardsticks where it is that of as many as can be.
    let is_throughput = load.rate.is_none() && !load.hold_back && !load.crash_database;
    let yardstick_before = if is_throughput { Some(yardstick::measure(load).await?) } else { None };
    let fsync_ms = report::probe_fsync()?;
    let receiver = Receiver::start(load.hold_back, load.fan_out).await?;
    let bad = match load.every_fifth {
        Some(what) => Some(BadReceiver::start(what).await?),
        None => None,
    };
    let server = Server::start(database_url, load.dispatchers).await?;
    let targets = server.set_up(load, receiver.address(), bad.as_ref().map(BadReceiver::address)).await?;
    let targets = Arc::new(targets);
    if load.held > 0 {
        let held = Arc::new(vec![server.add_held(receiver.address()).await?]);
        let waiting = Load { events: load.held, rate: None, ..load.clone() };
        publishers::publish(&server, &held, &waiting, receiver.log()).await?;
    }

    if !load.hold_back {
        let warm_up = Load {
            events: WARM_UP.div_ceil(load.fan_out.into()),
            rate: load.rate.map(|rate| rate.max(500)),
            ..load.clone()
        };
        let warm = publishers::publish(&server, &targets, &warm_up, receiver.log()).await?;
        wait_for(&receiver, warm.healthy, "warming up").await?;
        receiver.log().clear();
    }
    let pinned = if load.pinned_snapshot { Some(server.pin_snapshot()?) } else { None };
    let idle_kib = server.memory_kib()?;
    let before = server.usage()?;
    let started = Instant::now();
    let publishing = publishers::publish(&server, &targets, load, receiver.log());
    let (published, crash) = if load.crash_database {
        // What was refused while the database was away never arrives.
        let watching = crash::watch(&server, &receiver, load.events / 3, load.events * 19 / 20);
        let (published, rates) = tokio::try_join!(publishing, watching)?;
        (published, Some(rates))
    } else {
        (publishing.await?, None)
    };
    let publishing = started.elapsed();
    let queued_kib = server.memory_kib()?;
    receiver.let_go();
    wait_for(&receiver, published.healthy, "delivering").await?;
    let took = started.elapsed();
    // What has arrived is still to be recorded: that belongs to the price.
    server.wait_until_recorded().await?;
    let usage = server.usage()?.since(before);
    drop(pinned);
    let end_kib = server.memory_kib()?;
    server.stop().await?;
    let yardstick_us = match yardstick_before {
        Some(before) => Some((before + yardstick::measure(load).await?) / 2.0),
        None => None,
    };
    let report = Report {
        events: published.accepted,
        healthy: published.healthy,
        refused: published.refused,
        publishing,
        took,
        usage,
        latency: receiver.log().percentiles(),
        duplicates: receiver.log().duplicates(),
        idle_kib,
        queued_kib,
        end_kib,
        fsync_ms,
        yardstick_us,
        crash,
        load: load.clone(),
    };
    Ok(if load.json { report.to_json() } else { report.to_string() })
}

/// Waits until so many events have arrived.
async fn wait_for(receiver: &Receiver, wanted: u64, what: &'static str) -> anyhow::Result<()> {
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} ({per_sec})")?;
    let bar = ProgressBar::new(wanted).with_style(style).with_message(what);
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let arrived = receiver.log().arrived();
        bar.set_position(arrived);
        if arrived >= wanted {
            bar.finish_and_clear();
            return Ok(());
        }
        if arrived > last {
            (last, since) = (arrived, Instant::now());
        }
        let stalled = since.elapsed() > STALLED;
        (!stalled).then_some(()).with_context(|| format!("only {arrived} of {wanted} events arrived"))?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
