//! The time between two looks of a task that looks again and again.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Waits for so long. `false` if the task is to stop.
pub(crate) async fn rest(stop: &CancellationToken, span: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(span) => true,
    }
}
