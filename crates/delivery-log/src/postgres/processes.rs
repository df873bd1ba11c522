//! Who is alive: heartbeats by the database's clock, and what becomes of the
//! lanes of a process that has none left.

use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use model::attempt::{ErrorClass, Trigger};
use model::clock::Timestamp;
use model::ids::{AttemptId, EndpointId, ProcessId};
use model::retry::NextReason;

use super::rows::{coded, count, uuid};
use super::{Shared, timeline};
use crate::lanes::{Beat, LEASE};

/// So many deliveries are logged as interrupted in one statement.
const STEP: usize = 1_000;
/// So many lanes are taken over in one transaction.
const LANES: i64 = 64;

pub(super) async fn join(connection: &mut PgConnection, process: ProcessId) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO processes (id, joined_at, beat_at) VALUES ($1, clock_timestamp(), clock_timestamp())",
    )
    .bind(process.0)
    .execute(connection)
    .await
    .map(|_| ())
}

pub(super) async fn beat(connection: &mut PgConnection, process: ProcessId) -> sqlx::Result<Beat> {
    timeline::note(connection).await?;
    // After a failover nobody is given up for a lease, so whoever beats until
    // then lives, whatever the clock of now says of the heartbeat before.
    let clock: Option<i64> = sqlx::query_scalar(
        "UPDATE processes SET beat_at = clock_timestamp() FROM server_timeline \
         WHERE id = $1 AND beat_at > '-infinity' \
         AND GREATEST(beat_at, seen_at) >= clock_timestamp() - make_interval(secs => $2) \
         RETURNING (extract(epoch FROM beat_at) * 1000000)::bigint",
    )
    .bind(process.0)
    .bind(LEASE.as_secs_f64())
    .fetch_optional(connection)
    .await?;
    Ok(match clock {
        Some(micros) => Beat::Alive { store_clock: Timestamp::from_micros(micros) },
        None => Beat::GivenUp,
    })
}

/// Lanes that it still owns are taken over at once: it is as if it had not given
/// a heartbeat for ever.
pub(super) async fn leave(connection: &mut PgConnection, process: ProcessId) -> sqlx::Result<()> {
    sqlx::query("UPDATE processes SET beat_at = '-infinity' WHERE id = $1")
        .bind(process.0)
        .execute(connection)
        .await
        .map(|_| ())
}

/// Frees some lanes of a process whose heartbeat has ended: what was in its
/// hands may have been sent, is logged as interrupted, and is due now. Gives
/// how many deliveries that were, or `None` when there is no such process.
///
/// An interrupted attempt costs no try. It is logged for everything that
/// was in hand, because nobody can know any more what had been sent.
pub(super) async fn take_over_some(
    connection: &mut PgConnection,
    shared: &Shared,
) -> sqlx::Result<Option<u64>> {
    timeline::note(connection).await?;
    // Locked, so that a beat of this very moment is seen, or comes too late.
    let dead: Option<Uuid> = sqlx::query_scalar(
        "SELECT id FROM processes, server_timeline WHERE beat_at = '-infinity' \
         OR GREATEST(beat_at, seen_at) < clock_timestamp() - make_interval(secs => $1) \
         ORDER BY beat_at LIMIT 1 FOR UPDATE OF processes SKIP LOCKED",
    )
    .bind(LEASE.as_secs_f64())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(dead) = dead else { return Ok(None) };
    let lanes = sqlx::query(
        "SELECT endpoint, epoch FROM lanes WHERE owner = $1 ORDER BY endpoint LIMIT $2 FOR UPDATE",
    )
    .bind(dead)
    .bind(LANES)
    .fetch_all(&mut *connection)
    .await?;
    if lanes.is_empty() {
        sqlx::query("DELETE FROM processes WHERE id = $1").bind(dead).execute(connection).await?;
        return Ok(Some(0));
    }
    // From the first lane on there is no way back, also after a failover.
    leave(connection, ProcessId(dead)).await?;
    let now = shared.env.now();
    let mut interrupted = 0;
    let mut endpoints = Vec::with_capacity(lanes.len());
    for lane in &lanes {
        let endpoint = EndpointId(uuid(lane, "endpoint")?);
        interrupted += interrupt(connection, shared, endpoint, lane.try_get("epoch")?, now).await?;
        endpoints.push(endpoint.0);
    }
    sqlx::query("UPDATE lanes SET owner = NULL, epoch = epoch + 1, wake_at = $2 WHERE endpoint = ANY($1)")
        .bind(endpoints)
        .bind(now.as_micros())
        .execute(connection)
        .await?;
    Ok(Some(interrupted))
}

async fn interrupt(
    connection: &mut PgConnection,
    shared: &Shared,
    endpoint: EndpointId,
    epoch: i64,
    now: Timestamp,
) -> sqlx::Result<u64> {
    let in_hand = sqlx::query(
        "UPDATE waiting SET claimed = NULL, attempts = attempts + 1, \
         due_at = CASE trigger WHEN $5 THEN 0 ELSE $3 END, last_error = $4, updated_at = $3 \
         WHERE endpoint = $1 AND claimed = $2 RETURNING id, attempts, trigger",
    )
    .bind(endpoint.0)
    .bind(epoch)
    .bind(now.as_micros())
    .bind(ErrorClass::Interrupted.code() as i16)
    .bind(Trigger::Test.code() as i16)
    .fetch_all(&mut *connection)
    .await?;
    for rows in in_hand.chunks(STEP) {
        let (mut ids, mut deliveries, mut numbers, mut triggers) = (vec![], vec![], vec![], vec![]);
        for row in rows {
            ids.push(shared.env.new_id::<AttemptId>().0);
            deliveries.push(uuid(row, "id")?);
            numbers.push(count(row, "attempts")? as i32);
            triggers.push(coded(row, "trigger", Trigger::from_code)?.code() as i16);
        }
        sqlx::query(
            "INSERT INTO attempts (id, delivery, number, trigger, started_at, next_attempt_at, total_us, \
             error_class, next_reason, truncated, error_detail, request_headers) \
             SELECT id, delivery, number, trigger, $5, $5, 0, $6, $7, false, $8, '[]' \
             FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::smallint[]) AS n (id, delivery, number, trigger) \
             ON CONFLICT DO NOTHING",
        )
        .bind(ids)
        .bind(deliveries)
        .bind(numbers)
        .bind(triggers)
        .bind(now.as_micros())
        .bind(ErrorClass::Interrupted.code() as i16)
        .bind(NextReason::Interrupted.code() as i16)
        .bind("Posthorn ended while this call may have been under way")
        .execute(&mut *connection)
        .await?;
    }
    Ok(in_hand.len() as u64)
}
