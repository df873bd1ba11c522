//! Claims of due deliveries, in groups.
//!
//! The lanes that want something at the same time are served by one
//! statement, which is a transaction of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use tokio::time::Instant;
use uuid::Uuid;

use model::clock::Timestamp;
use model::event::Event;

use super::lane_rows::ready_delivery;
use super::link::Link;
use super::statements::behind;
use super::{store_error, transient_cause};
use crate::hand_off::ReadyDelivery;
use crate::lanes::{ClaimDue, ClaimedDeliveries, Cursor, LOOKED_AT};
use crate::queue::{self, Halves, HandIn, Inbox, Reply, Turn};

/// The greatest number of lanes in one statement.
const GROUP: usize = 64;
/// Statements follow one another no faster: many small ones cost the database
/// more than a few large ones.
const PACE: Duration = Duration::from_millis(5);

/// One lane's claim.
pub(super) struct Claim(pub(super) ClaimDue, pub(super) Reply<ClaimedDeliveries>);

impl queue::Job for Claim {
    fn bytes(&self) -> usize {
        self.0.max_bytes / 8
    }

    fn rows(&self) -> usize {
        // Lanes take turns by themselves.
        1
    }

    fn turn(&self) -> Turn {
        Turn::Platform
    }

    fn is_patient(&self) -> bool {
        false
    }

    fn is_abandoned(&self) -> bool {
        false
    }
}

/// Starts to claim.
pub(super) fn start(link: Link) -> HandIn<Claim> {
    let (hand_in, inbox) = queue::queue();
    tokio::spawn(run(link, inbox));
    hand_in
}

async fn run(mut link: Link, mut inbox: Inbox<Claim>) {
    let mut next = Instant::now();
    loop {
        // The first claim after a rest goes at once; the next ones together.
        tokio::time::sleep_until(next).await;
        let Some(claims) = inbox.next_group(GROUP).await else { break };
        next = Instant::now() + PACE;
        let mut groups = Halves::new(claims);
        while let Some(claims) = groups.next() {
            match link.ask(async |connection| claim_due(connection, &claims).await).await {
                Ok(claimed) => {
                    // A caller that has gone away needs no answer.
                    let answer = |(Claim(_, reply), one)| drop(reply.send(Ok(one)));
                    claims.into_iter().zip(claimed).for_each(answer);
                }
                Err(error) if claims.len() > 1 && transient_cause(&error).is_none() => {
                    tracing::warn!(%error, lanes = claims.len(), "a group of claims failed and is split");
                    groups.split(claims);
                }
                Err(error) => {
                    let told = store_error("claim what is due")(error);
                    claims.into_iter().for_each(|Claim(_, reply)| drop(reply.send(Err(told.clone()))));
                }
            }
        }
    }
    link.close().await;
}

/// Marks what is due as claimed, and reads all that its calls need: a row for
/// each delivery, and one for each lane with the time at which it has more
/// and with how far it has looked.
///
/// What an earlier owner had claimed may be claimed again; what this one has
/// in hand, or a later one, may not. Of each lane, the last delivery is the
/// one with which its bytes are reached. What goes in order and is behind
/// another of its key is looked at and left.
const CLAIM: &str = concat!(
    "WITH lane AS MATERIALIZED ( \
      SELECT w.* FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], \
          $7::uuid[]) WITH ORDINALITY \
        AS w (endpoint, epoch, now, count, bytes, after_due, after_id, place) \
      JOIN lanes l ON l.endpoint = w.endpoint AND l.epoch = w.epoch AND l.owner IS NOT NULL), \
    seen AS MATERIALIZED (SELECT lane.place, lane.epoch, lane.bytes, lane.count, d.* \
      FROM lane CROSS JOIN LATERAL (SELECT w.id, w.due_at, w.event, w.order_key, ",
    behind!("w"),
    " AS behind FROM waiting w \
        WHERE w.endpoint = lane.endpoint AND w.due_at <= lane.now AND (w.claimed IS NULL OR w.claimed < lane.epoch) \
          AND (w.due_at, w.id) > (lane.after_due, lane.after_id) \
        ORDER BY w.due_at, w.id LIMIT CASE WHEN EXISTS ( \
          SELECT 1 FROM waiting o WHERE o.endpoint = lane.endpoint AND o.order_key IS NOT NULL) \
          THEN GREATEST($8, lane.count) ELSE lane.count END) d), \
    free AS (SELECT s.place, s.epoch, s.bytes, s.id, s.due_at, \
        row_number() OVER w AS number, s.count, \
        sum(octet_length(e.data)) OVER w - octet_length(e.data) AS bytes_before \
      FROM seen s JOIN events e ON e.id = s.event WHERE NOT s.behind \
      WINDOW w AS (PARTITION BY s.place ORDER BY s.due_at, s.id)), \
    kept AS MATERIALIZED (SELECT * FROM free \
      WHERE number <= count AND (bytes_before < bytes OR bytes_before = 0)), \
    taken AS (UPDATE waiting w SET claimed = kept.epoch FROM kept \
      WHERE w.id = kept.id AND (w.claimed IS NULL OR w.claimed < kept.epoch) \
      RETURNING kept.place, kept.due_at, w.event, w.id AS delivery_id, w.payload, w.public_url, w.attempts, \
        w.tries, w.rejections, w.schedule_since, w.trigger, w.last_error, w.order_key), \
    looked AS (SELECT place, count(*) AS looked, count(*) FILTER (WHERE behind) AS behind, \
        (array_agg(id ORDER BY due_at DESC, id DESC))[1] AS last_id, max(due_at) AS last_due \
      FROM seen GROUP BY place), \
    last AS (SELECT DISTINCT ON (place) place, due_at, id FROM kept ORDER BY place, due_at DESC, id DESC) \
    SELECT t.*, NULL::uuid AS last_id, NULL::bigint AS last_due, NULL::bigint AS looked, e.* \
    FROM taken t JOIN events e ON e.id = t.event \
    UNION ALL \
    SELECT lane.place, CASE WHEN coalesce(looked.behind, 0) = 0 AND lane.after_due < 0 \
        THEN (SELECT w.due_at FROM waiting w WHERE w.endpoint = lane.endpoint \
          AND (w.claimed IS NULL OR w.claimed < lane.epoch) \
          AND (w.due_at, w.id) > (coalesce(last.due_at, -1), coalesce(last.id, lane.endpoint)) \
          ORDER BY w.due_at, w.id LIMIT 1) \
        ELSE (SELECT min(w.due_at) FROM waiting w WHERE w.endpoint = lane.endpoint AND w.due_at > lane.now) END, \
      NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
      looked.last_id, looked.last_due, looked.looked, (NULL::events).* \
    FROM lane LEFT JOIN last ON last.place = lane.place LEFT JOIN looked ON looked.place = lane.place"
);

async fn claim_due(connection: &mut PgConnection, claims: &[Claim]) -> sqlx::Result<Vec<ClaimedDeliveries>> {
    let column = |value: fn(&ClaimDue) -> i64| claims.iter().map(|claim| value(&claim.0)).collect::<Vec<_>>();
    let query = sqlx::query(CLAIM)
        .bind(claims.iter().map(|claim| claim.0.endpoint.0).collect::<Vec<_>>())
        .bind(column(|claim| claim.epoch.0))
        .bind(column(|claim| claim.now.as_micros()))
        .bind(column(|claim| i64::from(claim.limit)))
        .bind(column(|claim| claim.max_bytes as i64))
        .bind(column(|claim| claim.after.due_at.as_micros()))
        .bind(claims.iter().map(|claim| Uuid::from_u128(claim.0.after.place)).collect::<Vec<_>>())
        .bind(i64::from(LOOKED_AT));
    let mut taken: Vec<Vec<(i64, ReadyDelivery)>> = claims.iter().map(|_| Vec::new()).collect();
    let mut rest = vec![(None, None); claims.len()];
    let mut events: HashMap<Uuid, Arc<Event>> = HashMap::new();
    let mut rows = query.fetch(connection);
    while let Some(row) = rows.try_next().await? {
        // Ordinality counts from 1.
        let place = row.try_get::<i64, _>("place")? as usize - 1;
        let due_at: Option<i64> = row.try_get("due_at")?;
        match (row.try_get::<Option<Uuid>, _>("delivery_id")?, due_at) {
            (Some(_), Some(due_at)) => {
                taken[place].push((due_at, ready_delivery(&row, &claims[place].0, &mut events)?));
            }
            _ => rest[place] = (due_at.map(Timestamp::from_micros), looked_to(&row)?),
        }
    }
    let claimed = taken.into_iter().zip(rest).map(|(mut ready, (next_due, more_after))| {
        ready.sort_unstable_by_key(|(due_at, delivery)| (*due_at, delivery.id));
        let ready = ready.into_iter().map(|(_, delivery)| delivery).collect();
        ClaimedDeliveries { ready, next_due, more_after }
    });
    Ok(claimed.collect())
}

/// How far a lane has looked, if there may be more beyond.
fn looked_to(row: &PgRow) -> sqlx::Result<Option<Cursor>> {
    if row.try_get::<Option<i64>, _>("looked")?.unwrap_or(0) < i64::from(LOOKED_AT) {
        return Ok(None);
    }
    let id: Option<Uuid> = row.try_get("last_id")?;
    let due_at: Option<i64> = row.try_get("last_due")?;
    Ok(id.zip(due_at).map(|(id, due_at)| Cursor::at(Timestamp::from_micros(due_at), id.as_u128())))
}
