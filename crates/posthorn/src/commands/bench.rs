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
mod publishers;
mod receiver;
mod report;
mod server;
mod usage;
pub(super) mod yardstick;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use self::receiver::{BadReceiver, Receiver};
use self::report::Report;
use self::server::Server;
use super::print;
use crate::cli::{BenchArgs, ListenArgs, StoreArgs};
use crate::settings::{Database, Settings};

/// How long nothing may arrive before the run is given up.
const STALLED: Duration = Duration::from_secs(60);
/// How many events warm up caches, connections and limits before the count begins.
const WARM_UP: u64 = 2_000;

/// Measures, and prints a report.
pub(super) async fn run(args: &BenchArgs) -> anyhow::Result<()> {
    if args.yardstick {
        let us = yardstick::measure(args).await?;
        let text = if args.json {
            format!(r#"{{"yardstick_us":{us:.1}}}"#)
        } else {
            format!("the yardstick: {us:.1} µs of processor time an event")
        };
        return print(&text);
    }
    // A price is told in yardsticks where it is that of as many as can be.
    let is_throughput = args.rate.is_none() && !args.hold_back && !args.crash_database;
    let yardstick_before = if is_throughput { Some(yardstick::measure(args).await?) } else { None };
    let fsync_ms = report::probe_fsync()?;
    let receiver = Receiver::start(args.hold_back, args.fan_out).await?;
    let bad = match args.every_fifth {
        Some(what) => Some(BadReceiver::start(what).await?),
        None => None,
    };
    let server = Server::start(postgres_url(&args.store)?.as_deref(), args.dispatchers).await?;
    let targets = server.set_up(args, receiver.address(), bad.as_ref().map(BadReceiver::address)).await?;
    let targets = Arc::new(targets);
    if args.held > 0 {
        let held = Arc::new(vec![server.add_held(receiver.address()).await?]);
        let load = BenchArgs { events: args.held, rate: None, ..args.clone() };
        publishers::publish(&server, &held, &load, receiver.log()).await?;
    }

    if !args.hold_back {
        let warm_up = BenchArgs {
            events: WARM_UP.div_ceil(args.fan_out.into()),
            rate: args.rate.map(|rate| rate.max(500)),
            ..args.clone()
        };
        let warm = publishers::publish(&server, &targets, &warm_up, receiver.log()).await?;
        wait_for(&receiver, warm.healthy, "warming up").await?;
        receiver.log().clear();
    }
    let pinned = if args.pinned_snapshot { Some(server.pin_snapshot()?) } else { None };
    let idle_kib = server.memory_kib()?;
    let before = server.usage()?;
    let started = Instant::now();
    let publishing = publishers::publish(&server, &targets, args, receiver.log());
    let (published, crash) = if args.crash_database {
        // What was refused while the database was away never arrives.
        let watching = crash::watch(&server, &receiver, args.events / 3, args.events * 19 / 20);
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
        Some(before) => Some((before + yardstick::measure(args).await?) / 2.0),
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
        args: args.clone(),
    };
    print(&if args.json { report.to_json() } else { report.to_string() })
}

/// The PostgreSQL database to measure on, if the settings name one. Otherwise
/// each run has an embedded store of its own.
fn postgres_url(args: &StoreArgs) -> anyhow::Result<Option<String>> {
    Ok(match Settings::load(args, &ListenArgs::default(), &[])?.database()? {
        Database::Postgres(url) => Some(url.expose_secret().to_owned()),
        Database::Sqlite(_) => None,
    })
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
