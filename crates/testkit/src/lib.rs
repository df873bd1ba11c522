//! For end-to-end tests: the real program on a free port with a database of
//! its own, and receivers that behave and misbehave, on real sockets.
//!
//! Nothing here sleeps to wait: a test waits for something to arrive, or asks
//! again until something is so, and fails when that takes too long.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

mod api;
mod authority;
mod clock;
mod dns;
mod http2;
mod mail;
mod postgres;
mod program;
mod proxy;
mod receiver;
mod tls;

pub use api::{Answer, Api};
pub use authority::{Authority, Identity};
pub use clock::Clock;
pub use dns::{NameServer, Named};
pub use http2::{Http2, Http2Receiver};
pub use mail::MailServer;
pub use postgres::Postgres;
pub use program::{Program, Start, Store, migrate, run, signal};
pub use proxy::Proxy;
pub use receiver::{Behaviour, Received, Receiver};
pub use tls::{Secured, TlsReceiver};

use std::future::Future;
use std::time::Duration;

/// How long a test waits for what should come soon.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    // After a look that took long, what it waits for has its turn, too.
    again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let asking = async {
        loop {
            again.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}
