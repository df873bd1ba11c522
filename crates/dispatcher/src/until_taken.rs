//! What the store must be told, and cannot be told while it is away.

use std::time::Duration;

use delivery_log::Result;
use tokio_util::sync::CancellationToken;

/// How long to wait before the store is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Asks the store until it takes what it is told, or says that it never will; or
/// until `cut`, for what is not worth the time that the end of the process has.
pub(crate) async fn until_taken<T, Asked>(
    cut: Option<&CancellationToken>,
    mut ask: impl FnMut() -> Asked,
) -> Result<T>
where
    Asked: Future<Output = Result<T>>,
{
    loop {
        match ask().await {
            Err(error) if error.is_transient() && !cut.is_some_and(CancellationToken::is_cancelled) => {
                tokio::time::sleep(AGAIN).await;
            }
            taken => return taken,
        }
    }
}
