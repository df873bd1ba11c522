//! What the store must be told, and cannot be told while it is away.

use std::time::Duration;

use delivery_log::Result;

/// How long to wait before the store is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Asks the store until it takes what it is told, or says that it never will. It is
/// the end of the process that ends it otherwise: whoever waits for this is one of
/// [`Context::tasks`](crate::context::Context), which are waited for only so long.
pub(crate) async fn until_taken<T, Asked>(mut ask: impl FnMut() -> Asked) -> Result<T>
where
    Asked: Future<Output = Result<T>>,
{
    loop {
        match ask().await {
            Err(error) if error.is_transient() => tokio::time::sleep(AGAIN).await,
            taken => return taken,
        }
    }
}
