//! Claims of due deliveries, in groups.
//!
//! The lanes that want something at the same time are served by one
//! statement, which is a transaction of its own.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
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

/// Marks what is due as claimed, and reads all that its calls need.
static CLAIM: LazyLock<String> =
    LazyLock::new(|| format!(include_str!("sql/claim.sql"), behind = behind!("w")));

async fn claim_due(connection: &mut PgConnection, claims: &[Claim]) -> sqlx::Result<Vec<ClaimedDeliveries>> {
    let column = |value: fn(&ClaimDue) -> i64| claims.iter().map(|claim| value(&claim.0)).collect::<Vec<_>>();
    let query = sqlx::query(CLAIM.as_str())
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
