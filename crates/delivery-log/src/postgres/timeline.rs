//! Noticing that the database is another server now.
//!
//! A standby that is promoted has a clock of its own. Heartbeats that were
//! given by the clock of the server before say nothing by this one: three
//! seconds of difference, and a process is taken for dead that still trusts
//! its lease. But a promotion begins a new timeline in the log, and all
//! heartbeats of before were given before anybody could see it. So nobody is
//! given up within one lease of that moment (`tests/models/lease.rs`).

use sqlx::PgConnection;

/// The timeline that the server writes.
/// <https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES>
macro_rules! timeline {
    () => {
        "left(pg_walfile_name(pg_current_wal_lsn()), 8)"
    };
}
pub(super) use timeline;

/// Keeps when a new timeline was seen first. To be called, in the same
/// transaction, before heartbeats are judged.
pub(super) async fn note(connection: &mut PgConnection) -> sqlx::Result<()> {
    let is_known = concat!("SELECT timeline = ", timeline!(), " FROM server_timeline");
    if sqlx::query_scalar(is_known).fetch_one(&mut *connection).await? {
        return Ok(());
    }
    let keep = concat!(
        "UPDATE server_timeline SET timeline = ",
        timeline!(),
        ", seen_at = clock_timestamp() WHERE timeline <> ",
        timeline!(),
    );
    if sqlx::query(keep).execute(&mut *connection).await?.rows_affected() == 0 {
        // Another process was a moment earlier.
        return Ok(());
    }
    tracing::warn!(
        "the database is on a new timeline after a failover or a restore; heartbeat deadlines start over"
    );
    // By a clock that was ahead, the dead would live on for as long.
    sqlx::query("UPDATE processes SET beat_at = clock_timestamp() WHERE beat_at > clock_timestamp()")
        .execute(connection)
        .await
        .map(|_| ())
}
