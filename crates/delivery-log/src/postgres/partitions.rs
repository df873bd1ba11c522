//! Days: tables of what is done are cut by the time in their ids.
//!
//! Days to come are made in advance, by every server at its start and by
//! housekeeping; days that no project keeps any more are dropped whole.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use model::clock::Timestamp;
use model::ids;

/// Tables that are cut by day.
const TABLES: [&str; 3] = ["events", "deliveries", "attempts"];
/// So many days are made in advance.
const AHEAD: i64 = 7;
/// So many days are made backwards, for hosts whose clocks are behind.
const BEHIND: i64 = 1;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// How long a statement waits for readers of a table that it cuts.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";

/// A day since 1970.
type Day = i64;

fn day_of(at: Timestamp) -> Day {
    at.as_millis().div_euclid(DAY_MS)
}

/// The smallest id of a day.
fn first_id(day: Day) -> Uuid {
    ids::first_at(Timestamp::from_millis(day * DAY_MS))
}

fn name(table: &str, day: Day) -> String {
    format!("{table}_d{day}")
}

/// Makes the partitions around `now` that are not there yet.
pub(super) async fn make(connection: &mut PgConnection, now: Timestamp) -> sqlx::Result<()> {
    let today = day_of(now);
    let present = present(connection).await?;
    for day in today - BEHIND..=today + AHEAD {
        for table in TABLES {
            if !present.contains(&name(table, day)) {
                make_one(connection, table, day).await?;
            }
        }
    }
    Ok(())
}

/// Attaching locks nobody out, unlike making a partition in its place.
async fn make_one(connection: &mut PgConnection, table: &str, day: Day) -> sqlx::Result<()> {
    let (name, from, to) = (name(table, day), first_id(day), first_id(day + 1));
    let tuned = "autovacuum_vacuum_insert_scale_factor = 0.3, autovacuum_freeze_min_age = 0, \
                 autovacuum_vacuum_cost_delay = 0";
    let sql = format!(
        "BEGIN; {LOCK_TIMEOUT}; \
         CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH ({tuned}); \
         ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{from}') TO ('{to}'); COMMIT"
    );
    // Names and bounds are made of numbers.
    let made = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await;
    let Err(error) = made else { return Ok(()) };
    sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
    // Another process may have been faster.
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    match code.as_deref() {
        Some("42P07" | "23505") => Ok(()),
        _ => Err(error),
    }
}

/// Drops the days before `before` in which nothing waits. Gives how many.
pub(super) async fn drop_before(connection: &mut PgConnection, before: Timestamp) -> sqlx::Result<u64> {
    let mut dropped = 0;
    let present = present(connection).await?;
    let oldest = present.iter().filter_map(|name| day_in(name)).min().unwrap_or(i64::MAX);
    for day in oldest..day_of(before) {
        let mut transaction = connection.begin().await?;
        if drop_one(&mut transaction, day, &present).await? {
            transaction.commit().await?;
            dropped += 1;
        } else {
            transaction.rollback().await?;
        }
    }
    Ok(dropped)
}

/// Drops a day, unless a delivery waits that needs its event or its attempts.
async fn drop_one(connection: &mut PgConnection, day: Day, present: &[String]) -> sqlx::Result<bool> {
    let names: Vec<String> = TABLES.map(|table| name(table, day)).into_iter().collect();
    let names: Vec<String> = names.into_iter().filter(|name| present.contains(name)).collect();
    if names.is_empty() {
        return Ok(false);
    }
    let names = names.join(", ");
    // Locked before it is looked whether anything waits: a replay holds a lock
    // on its event until its delivery waits. Names are made of numbers.
    let lock = format!("{LOCK_TIMEOUT}; LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE");
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *connection).await?;
    let waits: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM waiting WHERE (id >= $1 AND id < $2) OR (event >= $1 AND event < $2))",
    )
    .bind(first_id(day))
    .bind(first_id(day + 1))
    .fetch_one(&mut *connection)
    .await?;
    if !waits {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {names}"))).execute(&mut *connection).await?;
    }
    Ok(!waits)
}

fn day_in(name: &str) -> Option<Day> {
    name.rsplit_once("_d")?.1.parse().ok()
}

async fn present(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let rows = sqlx::query(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
         WHERE i.inhparent IN ('events'::regclass, 'deliveries'::regclass, 'attempts'::regclass)",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_with_the_smallest_id_of_its_first_millisecond() {
        let noon = Timestamp::from_secs(20_000 * 86_400 + 43_200);
        assert_eq!(day_of(noon), 20_000);
        let first = first_id(20_000);
        assert_eq!(first.as_u128() >> 80, 20_000 * 86_400_000);
        assert!(first < first_id(20_001));
        assert_eq!(day_in(&name("events", 20_000)), Some(20_000));
    }
}
