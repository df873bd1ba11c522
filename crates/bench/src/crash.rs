//! The rate before the database crashed, and from a while after.

use std::time::Duration;

use tokio::time::Instant;

use crate::receiver::Receiver;
use crate::server::Server;

/// How long before the crash the rate is taken from.
const BEFORE: Duration = Duration::from_secs(10);
/// How long after it the rate counts again.
const AFTER: Duration = Duration::from_secs(30);
/// How often it is looked how many events have arrived.
const LOOK: Duration = Duration::from_millis(100);

/// Events a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    pub(crate) before: f64,
    pub(crate) after: f64,
    /// How long nothing at all arrived, at most.
    pub(crate) silence: Duration,
}

/// Crashes the database when so many events have arrived, and watches until
/// `until` have.
pub(crate) async fn watch(
    server: &Server,
    receiver: &Receiver,
    crash_at: u64,
    until: u64,
) -> anyhow::Result<Rates> {
    let mut seen = vec![(Instant::now(), receiver.log().arrived())];
    let mut crashed = None;
    let (mut last, mut silence) = (Instant::now(), Duration::ZERO);
    let stalled = Instant::now() + Duration::from_secs(600);
    while Instant::now() < stalled {
        tokio::time::sleep(LOOK).await;
        let (now, arrived) = (Instant::now(), receiver.log().arrived());
        if seen.last().is_some_and(|(_, before)| *before < arrived) {
            silence = silence.max(now - last);
            last = now;
        }
        seen.push((now, arrived));
        if crashed.is_none() && arrived >= crash_at {
            server.crash_database()?;
            crashed = Some(now);
        }
        if arrived >= until {
            break;
        }
    }
    let crashed = crashed.unwrap_or_else(Instant::now);
    Ok(Rates {
        before: rate(&seen, crashed.checked_sub(BEFORE).unwrap_or(crashed), crashed),
        after: rate(&seen, crashed + AFTER, Instant::now()),
        silence,
    })
}

/// Events a second between two moments, as far as was seen.
fn rate(seen: &[(Instant, u64)], from: Instant, to: Instant) -> f64 {
    let mut within = seen.iter().filter(|(at, _)| (from..=to).contains(at));
    let Some(first) = within.next() else { return 0.0 };
    let last = within.next_back().unwrap_or(first);
    let seconds = (last.0 - first.0).as_secs_f64();
    if seconds > 0.0 { (last.1 - first.1) as f64 / seconds } else { 0.0 }
}
