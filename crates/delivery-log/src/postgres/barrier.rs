//! A commit of one's own, after which everything that was read is safe.
//!
//! Where a synchronous standby is set, a commit is answered when the standby
//! has it. But if that wait is broken off (the connection ends, somebody cancels
//! it, the server crashes), the row stays, and everybody can read it, although
//! this server alone has it. So a row that can be read is not a row that
//! survives the loss of the server. The log is replicated in its order: when a
//! commit made after the reading has been replicated, so has all that was read.
//!
//! Where no synchronous standby is set, the database is asked nothing but that.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;

use super::link::bounded;

/// How long it may take. A standby that is away is no reason to keep a caller
/// for longer.
const PATIENCE: Duration = Duration::from_secs(3);
/// A commit that took longer may have been cancelled while it waited for the
/// standby. PostgreSQL then says that it succeeded, with a warning that the
/// driver keeps to itself. One that is cancelled sooner went out to a standby
/// that was there.
const QUICK: Duration = Duration::from_millis(100);
/// So often it is tried to see a quick commit. After that, the standby is taken
/// for a slow one.
const TRIES: usize = 3;

/// Whether a commit that began at this time took so long that it may have been
/// cancelled, and has to be made sure of.
pub(super) fn is_doubtful(began: Instant) -> bool {
    began.elapsed() > QUICK
}

/// Waits until all that can be read on this connection is also on the
/// synchronous standby, if there is to be one.
///
/// # Errors
///
/// Fails if that takes too long: then nothing may be answered that rests on
/// what was read.
pub(super) async fn pass(connection: &mut PgConnection) -> sqlx::Result<()> {
    let passing = async {
        for _ in 0..TRIES {
            let began = Instant::now();
            write(connection).await?;
            if !is_doubtful(began) {
                break;
            }
        }
        Ok(())
    };
    bounded(PATIENCE, passing).await
}

/// Writes something tiny, so that the commit of this transaction waits for the
/// standby although it may only have read.
pub(super) async fn write(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "SELECT pg_logical_emit_message(true, 'posthorn', '') \
         WHERE current_setting('synchronous_standby_names') <> ''",
    )
    .execute(connection)
    .await
    .map(|_| ())
}
