//! Claims of due deliveries, in groups.
//!
//! The lanes that want something at the same time are served by one
//! statement, which is a transaction of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::{PgConnection, Row as _};
use tokio::time::Instant;
use uuid::Uuid;

use model::clock::Timestamp;
use model::event::Event;

use super::lane_rows::{ClaimDue, ready_delivery};
use super::link::{self, Link};
use super::{store_error, transient_cause};
use crate::hand_off::ReadyDelivery;
use crate::lanes::ClaimedDeliveries;
use crate::queue::{self, Halves, HandIn, Inbox, Reply};

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

    fn is_patient(&self) -> bool {
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
            let claimed = match link.get().await {
                Ok(connection) => link::within(claim_due(connection, &claims)).await,
                Err(error) => Err(error),
            };
            match link.checked(claimed) {
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
/// each delivery, and one for each lane with the time at which it has more.
///
/// What an earlier owner had claimed may be claimed again; what this one has
/// in hand, or a later one, may not. Of each lane, the last delivery is the
/// one with which its bytes are reached.
const CLAIM: &str = "WITH lane AS MATERIALIZED ( \
      SELECT w.* FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) WITH ORDINALITY \
        AS w (endpoint, epoch, now, count, bytes, place) \
      JOIN lanes l ON l.endpoint = w.endpoint AND l.epoch = w.epoch AND l.owner IS NOT NULL), \
    due AS (SELECT lane.place, lane.epoch, lane.bytes, d.id, d.due_at, \
        sum(octet_length(e.data)) OVER (PARTITION BY lane.place ORDER BY d.due_at, d.id) \
          - octet_length(e.data) AS bytes_before \
      FROM lane CROSS JOIN LATERAL (SELECT id, due_at, event FROM waiting \
        WHERE endpoint = lane.endpoint AND due_at <= lane.now AND (claimed IS NULL OR claimed < lane.epoch) \
        ORDER BY due_at, id LIMIT lane.count) d JOIN events e ON e.id = d.event), \
    kept AS MATERIALIZED (SELECT * FROM due WHERE bytes_before < bytes OR bytes_before = 0), \
    taken AS (UPDATE waiting w SET claimed = kept.epoch FROM kept \
      WHERE w.id = kept.id AND (w.claimed IS NULL OR w.claimed < kept.epoch) \
      RETURNING kept.place, kept.due_at, w.event, w.id AS delivery_id, w.payload, w.public_url, w.attempts, \
        w.tries, w.rejections, w.schedule_since, w.trigger, w.last_error), \
    last AS (SELECT DISTINCT ON (place) place, due_at, id FROM kept ORDER BY place, due_at DESC, id DESC) \
    SELECT t.*, e.* FROM taken t JOIN events e ON e.id = t.event \
    UNION ALL \
    SELECT lane.place, (SELECT w.due_at FROM waiting w WHERE w.endpoint = lane.endpoint \
        AND (w.claimed IS NULL OR w.claimed < lane.epoch) \
        AND (w.due_at, w.id) > (coalesce(last.due_at, -1), coalesce(last.id, lane.endpoint)) \
        ORDER BY w.due_at, w.id LIMIT 1), \
      NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, (NULL::events).* \
    FROM lane LEFT JOIN last ON last.place = lane.place";

async fn claim_due(connection: &mut PgConnection, claims: &[Claim]) -> sqlx::Result<Vec<ClaimedDeliveries>> {
    let column = |value: fn(&ClaimDue) -> i64| claims.iter().map(|claim| value(&claim.0)).collect::<Vec<_>>();
    let query = sqlx::query(CLAIM)
        .bind(claims.iter().map(|claim| claim.0.endpoint.0).collect::<Vec<_>>())
        .bind(column(|claim| claim.epoch.0))
        .bind(column(|claim| claim.now.as_micros()))
        .bind(column(|claim| i64::from(claim.limit)))
        .bind(column(|claim| claim.max_bytes as i64));
    let mut taken: Vec<Vec<(i64, ReadyDelivery)>> = claims.iter().map(|_| Vec::new()).collect();
    let mut next_due = vec![None; claims.len()];
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
            _ => next_due[place] = due_at.map(Timestamp::from_micros),
        }
    }
    let claimed = taken.into_iter().zip(next_due).map(|(mut ready, next_due)| {
        ready.sort_unstable_by_key(|(due_at, delivery)| (*due_at, delivery.id));
        ClaimedDeliveries { ready: ready.into_iter().map(|(_, delivery)| delivery).collect(), next_due }
    });
    Ok(claimed.collect())
}
