//! Replays as rows.

use sqlx::{QueryBuilder, Row as _};

use model::clock::Timestamp;
use model::delivery::HeldBy;
use model::endpoint::EndpointStatus;
use model::ids::{DeliveryId, EndpointId, ProjectId, ReplayId, TenantId};
use model::replay::{Ends, Progress, Replay, ReplayMode, ReplayState, Waiting};

use super::super::configuration::next_version;
use super::super::deliveries::status_of_endpoint;
use super::super::rows::{self, coded, count, json, time, to_json, uuid};
use super::super::{Connection, Db, Row, filter, statements};
use crate::View;
use crate::replays::ReplayCreated;

/// Reads a replay, without what has become of its deliveries.
pub(super) fn replay(row: &Row) -> sqlx::Result<Replay> {
    Ok(Replay {
        id: ReplayId(uuid(row, "id")?),
        project: ProjectId(uuid(row, "project")?),
        tenant: TenantId(uuid(row, "tenant")?),
        endpoint: EndpointId(uuid(row, "endpoint")?),
        mode: coded(row, "mode", ReplayMode::from_code)?,
        filter: json(row, "filter")?,
        rate_per_second: count(row, "rate")?,
        max: count(row, "max")?,
        reason: row.try_get("reason")?,
        state: coded(row, "state", ReplayState::from_code)?,
        detail: row.try_get("detail")?,
        matched: count(row, "matched")?,
        sent: count(row, "sent")?,
        skipped: count(row, "skipped")?,
        delivered: count(row, "delivered")?,
        failed: count(row, "failed")?,
        waiting: Waiting::default(),
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// Selects the replays of a view.
pub(super) fn visible(view: View) -> QueryBuilder<Db> {
    let mut sql = QueryBuilder::new("SELECT * FROM replays WHERE ");
    filter::is_seen(&mut sql, view);
    sql
}

/// Adds a replay, unless its endpoint is not enabled.
pub(super) async fn insert(connection: &mut Connection, new: &Replay) -> sqlx::Result<ReplayCreated> {
    if status_of_endpoint(connection, new.endpoint).await? != Some(EndpointStatus::Enabled) {
        return Ok(ReplayCreated::EndpointNotEnabled);
    }
    sqlx::query(
        "INSERT INTO replays (id, project, tenant, endpoint, mode, filter, rate, max, reason, state, all_sent, \
         next_at, matched, sent, skipped, delivered, failed, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, 0, 0, $12, $12)",
    )
    .bind(new.id.0)
    .bind(new.project.0)
    .bind(new.tenant.0)
    .bind(new.endpoint.0)
    .bind(new.mode.code())
    .bind(to_json(&new.filter))
    .bind(i64::from(new.rate_per_second))
    .bind(i64::from(new.max))
    .bind(&new.reason)
    .bind(new.state.code())
    .bind(false)
    .bind(new.created_at.as_micros())
    .bind(i64::from(new.matched))
    .execute(&mut *connection)
    .await?;
    if new.makes_up_for_what_was_missed() {
        // The offer that was made when the endpoint was enabled has been taken.
        let since = new.filter.published_after.map_or(i64::MIN, Timestamp::as_micros);
        let version = next_version(connection).await?;
        sqlx::query(
            "UPDATE endpoints SET missed_since = NULL, version = $3 WHERE id = $1 AND missed_since >= $2",
        )
        .bind(new.endpoint.0)
        .bind(since)
        .bind(version)
        .execute(connection)
        .await?;
    }
    Ok(ReplayCreated::Done)
}

/// What has become of the deliveries of a replay.
pub(super) async fn ends(connection: &mut Connection, id: ReplayId) -> sqlx::Result<Ends> {
    let rows = sqlx::query(statements::STATUSES_OF_REPLAY).bind(id.0).fetch_all(connection).await?;
    let mut ends = Ends::default();
    for row in &rows {
        let many = count(row, "many")?;
        match count(row, "status")? {
            0 => ends.queued += many,
            1 => ends.retrying += many,
            2 => ends.delivered += many,
            3 => ends.failed += many,
            _ => {}
        }
    }
    Ok(ends)
}

/// What holds everything that waits for an endpoint.
pub(super) async fn held_by(
    connection: &mut Connection,
    endpoint: EndpointId,
    now: Timestamp,
) -> sqlx::Result<Option<HeldBy>> {
    let row = sqlx::query(statements::HOLD_OF_ENDPOINT).bind(endpoint.0).fetch_optional(connection).await?;
    let hold = row.map(|row| rows::hold_of_endpoint(&row, now)).transpose()?.flatten();
    Ok(hold.map(|hold| hold.by))
}

/// Writes down how a replay stands after a step.
pub(super) async fn write(
    connection: &mut Connection,
    id: ReplayId,
    after: &Progress,
    now: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE replays SET state = $2, detail = $3, position = coalesce($4, position), all_sent = $5, \
         sent = sent + $6, skipped = skipped + $7, delivered = $8, failed = $9, next_at = $10, updated_at = $11 \
         WHERE id = $1",
    )
    .bind(id.0)
    .bind(after.state.code())
    .bind(after.detail)
    .bind(after.position)
    .bind(after.all_sent)
    .bind(i64::from(after.sent))
    .bind(i64::from(after.skipped))
    .bind(i64::from(after.ends.delivered))
    .bind(i64::from(after.ends.failed))
    .bind(now.plus(after.wait).as_micros())
    .bind(now.as_micros())
    .execute(connection)
    .await
    .map(|_| ())
}

/// Notes that a replay has sent a delivery.
pub(super) async fn note(
    connection: &mut Connection,
    replay: ReplayId,
    delivery: DeliveryId,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO replayed (replay, delivery) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(replay.0)
        .bind(delivery.0)
        .execute(connection)
        .await
        .map(|_| ())
}

/// The replay has not sent a delivery after all.
pub(super) async fn unsend(
    connection: &mut Connection,
    replay: ReplayId,
    delivery: DeliveryId,
) -> sqlx::Result<()> {
    let gone = sqlx::query("DELETE FROM replayed WHERE replay = $1 AND delivery = $2")
        .bind(replay.0)
        .bind(delivery.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE replays SET sent = sent - $2 WHERE id = $1")
        .bind(replay.0)
        .bind(gone.rows_affected() as i64)
        .execute(connection)
        .await
        .map(|_| ())
}
