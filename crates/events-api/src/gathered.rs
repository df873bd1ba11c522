//! What gathers in memory is written every now and then, so that requests cause no
//! writes.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often it is tried to write the last of it. A connection that a worker opened
/// ends with the worker, and then the first use of it fails.
const LAST_TRIES: u32 = 10;

/// When it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// In between.
    Now,
    /// In the end: nothing can wait any longer.
    Last,
}

/// Writes every now and then until `stop`, and what is left in the end. `write` says
/// whether nothing is left.
pub(crate) async fn keep_written<F: Future<Output = bool>>(
    every: Duration,
    stop: CancellationToken,
    write: impl Fn(When) -> F,
) {
    while tokio::time::timeout(every, stop.cancelled()).await.is_err() {
        write(When::Now).await;
    }
    for _ in 0..LAST_TRIES {
        if write(When::Last).await {
            return;
        }
    }
}
