//! Events for many endpoints: the mark, and the parts after the first.

use sqlx::SqliteConnection;

use model::clock::Timestamp;

use super::publish::{DeliveryRow, insert_late, wake};
use super::{Effects, EventKey, FanOut, Shared};
use crate::publishing::{LateTarget, ToWake};

/// Notes for whom the parts after the first are, if there are any.
pub(super) async fn mark(
    connection: &mut SqliteConnection,
    event: EventKey,
    late: &[LateTarget],
    now: Timestamp,
) -> sqlx::Result<()> {
    if late.is_empty() {
        return Ok(());
    }
    sqlx::query("INSERT INTO fan_outs (event, targets, written, moved_at) VALUES (?, ?, 0, ?)")
        .bind(event)
        .bind(LateTarget::to_stored(late))
        .bind(now.as_micros())
        .execute(connection)
        .await
        .map(|_| ())
}

/// Writes the next part, and gives whether that was still to be done. `version`
/// is that of the configuration in this transaction.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    shared: &Shared,
    version: i64,
    fan_out: &FanOut,
    effects: &mut Effects,
) -> sqlx::Result<bool> {
    shared.refresh_to(connection, version, "").await?;
    let now = shared.env.now();
    let (from, to) = (fan_out.written as i64, fan_out.written_then() as i64);
    let move_on = if fan_out.ends() {
        sqlx::query("DELETE FROM fan_outs WHERE event = ? AND written = ?").bind(fan_out.key).bind(from)
    } else {
        sqlx::query("UPDATE fan_outs SET written = ?, moved_at = ? WHERE event = ? AND written = ?")
            .bind(to)
            .bind(now.as_micros())
            .bind(fan_out.key)
            .bind(from)
    };
    if move_on.execute(&mut *connection).await?.rows_affected() == 0 {
        return Ok(false);
    }
    let deliveries = fan_out.next_part(shared);
    let row = |delivery| DeliveryRow { event: &fan_out.event, position: fan_out.key, delivery };
    let rows: Vec<DeliveryRow<'_>> = deliveries.iter().map(row).collect();
    insert_late(connection, &rows).await?;
    wake(connection, ToWake::of(deliveries.iter()), now, effects).await?;
    Ok(true)
}
