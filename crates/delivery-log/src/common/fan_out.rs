//! Events of which a part is written, as they are stored.

use std::sync::Arc;

use sqlx::Row as _;

use model::clock::Timestamp;

use super::{Connection, EventKey, Row, rows, statements};
use crate::publishing::{FanOut, LateTarget};

/// What was not gone on with since a time, that for longest first.
pub(crate) async fn unmoved(
    connection: &mut Connection,
    since: Timestamp,
    limit: u32,
) -> sqlx::Result<Vec<FanOut<EventKey>>> {
    let query = sqlx::query(statements::UNMOVED_FAN_OUTS).bind(since.as_micros()).bind(i64::from(limit));
    let rows = query.fetch_all(connection).await?;
    // One that cannot be read keeps no other from being gone on with.
    let readable = |row: &Row| {
        fan_out(row).unwrap_or_else(|error| {
            tracing::error!(%error, "what is left of an event for many endpoints cannot be read");
            None
        })
    };
    Ok(rows.iter().filter_map(readable).collect())
}

fn fan_out(row: &Row) -> sqlx::Result<Option<FanOut<EventKey>>> {
    let targets = LateTarget::from_stored(row.try_get("targets")?);
    let targets = targets.ok_or_else(|| rows::broken("targets", "ends within a target"))?;
    let (event, written) = (Arc::new(rows::event(row)?), rows::count(row, "written")? as usize);
    Ok(FanOut::new(&event, row.try_get("key")?, targets.into(), written))
}
