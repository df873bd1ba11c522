//! What was measured.

use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use crate::crash::Rates;
use crate::latency::Percentiles;
use crate::load::Load;
use crate::usage::Usage;

/// The figures of one run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) events: u64,
    pub(crate) healthy: u64,
    pub(crate) refused: u64,
    pub(crate) publishing: Duration,
    pub(crate) took: Duration,
    pub(crate) usage: Usage,
    pub(crate) latency: Percentiles,
    pub(crate) duplicates: u64,
    pub(crate) idle_kib: u64,
    pub(crate) queued_kib: u64,
    pub(crate) end_kib: u64,
    pub(crate) fsync_ms: f64,
    /// The mean of before and after the run, where it was measured.
    pub(crate) yardstick_us: Option<f64>,
    pub(crate) crash: Option<Rates>,
    pub(crate) load: Load,
}

impl Report {
    fn delivered_per_second(&self) -> f64 {
        self.healthy as f64 / self.took.as_secs_f64()
    }

    fn accepted_per_second(&self) -> f64 {
        self.events as f64 / self.publishing.as_secs_f64()
    }

    fn cpu_us_per_delivery(&self) -> f64 {
        self.per_delivery(self.usage.seconds() * 1e6)
    }

    /// The price of a delivery as a multiple of the yardstick.
    fn yardsticks(&self) -> Option<f64> {
        self.yardstick_us.map(|yardstick| self.cpu_us_per_delivery() / yardstick)
    }

    fn per_delivery(&self, total: f64) -> f64 {
        total / self.healthy.max(1) as f64
    }

    pub(crate) fn to_json(&self) -> String {
        let ms = |span: Duration| span.as_secs_f64() * 1_000.0;
        serde_json::json!({
            "events": self.events,
            "refused": self.refused,
            "publishers": self.load.publishers,
            "endpoints": self.load.endpoints,
            "data_bytes": self.load.data_bytes,
            "rate": self.load.rate,
            "delivered_per_second": self.delivered_per_second().round(),
            "accepted_per_second": self.accepted_per_second().round(),
            "cpu_us_per_delivery": (self.cpu_us_per_delivery() * 10.0).round() / 10.0,
            "yardstick_us": self.yardstick_us.map(|us| (us * 10.0).round() / 10.0),
            "yardsticks_per_delivery": self.yardsticks().map(|many| (many * 100.0).round() / 100.0),
            "database_cpu_us_per_delivery": self.usage.database.map(|d| self.per_delivery(d.seconds * 1e6)),
            "round_trips_per_delivery": self.usage.database.map(|d| self.per_delivery(d.statements)),
            "p50_ms": ms(self.latency.p50),
            "p99_ms": ms(self.latency.p99),
            "max_ms": ms(self.latency.max),
            "duplicates": self.duplicates,
            "idle_kib": self.idle_kib,
            "queued_kib": self.queued_kib,
            "end_kib": self.end_kib,
            "fsync_p50_ms": self.fsync_ms,
            "per_second_before_crash": self.crash.map(|rates| rates.before.round()),
            "per_second_after_crash": self.crash.map(|rates| rates.after.round()),
            "silence_ms": self.crash.map(|rates| ms(rates.silence)),
        })
        .to_string()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |span: Duration| span.as_secs_f64() * 1_000.0;
        let load = match self.load.rate {
            Some(rate) => format!("{rate} events/s"),
            None => "as fast as answers come".to_owned(),
        };
        writeln!(
            f,
            "{} events of {} bytes, {} publishers, {} endpoints, {load}",
            self.events, self.load.data_bytes, self.load.publishers, self.load.endpoints
        )?;
        let set = [
            (self.load.fan_out > 1, format!("to {} endpoints each", self.load.fan_out)),
            (self.load.held > 0, format!("{} waiting for a paused endpoint", self.load.held)),
            (self.load.idle_endpoints > 0, format!("{} idle endpoints", self.load.idle_endpoints)),
            (self.load.pinned_snapshot, "an old snapshot open".to_owned()),
            (
                self.load.dispatchers.is_some(),
                format!("one process that answers and {} that deliver", self.load.dispatchers.unwrap_or(0)),
            ),
        ];
        for (_, what) in set.iter().filter(|(is_set, _)| *is_set) {
            writeln!(f, "with {what}")?;
        }
        writeln!(f, "delivered          {:>10.0} /s end to end", self.delivered_per_second())?;
        writeln!(f, "accepted           {:>10.0} /s, {} refused", self.accepted_per_second(), self.refused)?;
        writeln!(f, "CPU                {:>10.1} µs a delivery, all processes", self.cpu_us_per_delivery())?;
        if let Some((yardstick, many)) = self.yardstick_us.zip(self.yardsticks()) {
            writeln!(f, "in yardsticks      {many:>10.2}, of {yardstick:.1} µs before and after the run")?;
        }
        if let Some(database) = self.usage.database {
            writeln!(
                f,
                "of it the database {:>10.1} µs, in {:.3} round trips",
                self.per_delivery(database.seconds * 1e6),
                self.per_delivery(database.statements)
            )?;
        }
        writeln!(
            f,
            "publish to receive {:>10.2} ms p50, {:.2} ms p99, {:.2} ms at most",
            ms(self.latency.p50),
            ms(self.latency.p99),
            ms(self.latency.max)
        )?;
        writeln!(f, "arrived twice      {:>10}", self.duplicates)?;
        let mib = |kib: u64| kib as f64 / 1_024.0;
        writeln!(
            f,
            "server memory      {:>10.1} MiB before, {:.1} MiB when all was published, {:.1} MiB at the end",
            mib(self.idle_kib),
            mib(self.queued_kib),
            mib(self.end_kib)
        )?;
        if let Some(crash) = self.crash {
            writeln!(
                f,
                "database crashed   {:>10.0} /s in the 10 s before, {:.0} /s from 30 s after; {:.1} s of silence",
                crash.before,
                crash.after,
                crash.silence.as_secs_f64()
            )?;
        }
        write!(f, "one fsync here     {:>10.2} ms (median)", self.fsync_ms)
    }
}

/// How long it takes here to write a page and have it on the disk: the
/// median of many, in milliseconds.
pub(crate) fn probe_fsync() -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile()?;
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        file.write_all(&[0; 4_096])?;
        file.sync_data()?;
        took.push(started.elapsed());
    }
    took.sort_unstable();
    Ok(took[took.len() / 2].as_secs_f64() * 1_000.0)
}
