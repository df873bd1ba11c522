//! Replays of many deliveries, part by part.
//!
//! A part is one transaction: it locks the replay, looks at what comes after
//! the place where the part before ended, makes it due, and moves the place on.
//! So whichever process does a part, and whenever it dies, nothing is sent
//! twice and nothing is passed over. What is next is decided in
//! `model::replay`; here it is done.

mod part;
mod rows;
mod select;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use uuid::Uuid;

use model::audit::Entry;
use model::clock::Timestamp;
use model::ids::{DeliveryId, ReplayId};
use model::replay::{Replay, ReplayState, before_resend};

use self::part::advance;
use self::rows::{ends, held_by, insert, replay, unsend, visible};
use self::select::count_matches;
use super::deliveries::find;
use super::idempotency::Outcome;
use super::{Connection, Store, filter, lock_delivery, moves, statements, store_error};
use crate::idempotency::{Once, Performed};
use crate::page::{Page, PageRequest};
use crate::replays::{Counted, ReplayCreated, ReplaySet, Replays};
use crate::{Result, View};

/// So many deliveries are withdrawn in one transaction.
const WITHDRAWN_AT_ONCE: i64 = 250;

impl Store {
    /// Withdraws what a replay has sent and what has not gone out, in pieces:
    /// others are not kept waiting. What had ended before stands as it stood.
    async fn withdraw(&self, view: View, replay: ReplayId) -> Result<()> {
        loop {
            let now = self.shared.env.now();
            let piece = self.edit(move |connection| {
                async move {
                    let unsent: Vec<Uuid> = sqlx::query_scalar(statements::UNSENT_OF_REPLAY)
                        .bind(replay.0)
                        .bind(WITHDRAWN_AT_ONCE)
                        .fetch_all(&mut *connection)
                        .await?;
                    let mut withdrawn = Vec::with_capacity(unsent.len());
                    for id in unsent.into_iter().map(DeliveryId) {
                        lock_delivery(connection, id).await?;
                        let Some(delivery) = find(connection, view, id, now).await? else { continue };
                        if delivery.status.is_waiting() {
                            moves::end(
                                connection,
                                &delivery,
                                before_resend(delivery.attempts, delivery.last_http_status),
                                now,
                            )
                            .await?;
                            unsend(connection, replay, id).await?;
                            withdrawn.push((delivery.endpoint, id));
                        }
                    }
                    Ok(withdrawn)
                }
                .boxed()
            });
            let withdrawn = piece.await?;
            if withdrawn.is_empty() {
                return Ok(());
            }
            let hand_off = self.shared.hand_off.get();
            withdrawn.iter().for_each(|(endpoint, id)| hand_off.withdraw(*endpoint, *id));
        }
    }

    async fn set_state(
        &self,
        view: View,
        id: ReplayId,
        state: ReplayState,
        entry: Option<Entry>,
    ) -> Result<ReplaySet> {
        let now = self.shared.env.now();
        let set = self.perform(view.project, None, entry, move |connection| {
            async move {
                let mut sql = visible(view);
                sql.push(" AND id = ").push_bind(id.0).push(statements::FOR_UPDATE);
                let row = sql.build().fetch_optional(&mut *connection).await?;
                let Some(stands) = row.as_ref().map(replay).transpose()? else {
                    return Ok(Outcome::Refused(ReplaySet::NotFound));
                };
                if stands.state.is_ended() {
                    return Ok(Outcome::Refused(if stands.state == state {
                        ReplaySet::Done
                    } else {
                        ReplaySet::Ended(stands.state)
                    }));
                }
                let ends = ends(connection, id).await?;
                sqlx::query(
                    "UPDATE replays SET state = $2, detail = NULL, next_at = $3, updated_at = $3, \
                     delivered = $4, failed = $5 WHERE id = $1",
                )
                .bind(id.0)
                .bind(state.code())
                .bind(now.as_micros())
                .bind(i64::from(ends.delivered))
                .bind(i64::from(ends.failed))
                .execute(connection)
                .await?;
                Ok(Outcome::Done(ReplaySet::Done))
            }
            .boxed()
        });
        set.await?.first()
    }

    /// A replay that has not ended, with what has become of its deliveries.
    async fn with_ends(&self, stands: Replay) -> sqlx::Result<Replay> {
        if stands.state == ReplayState::Completed {
            return Ok(stands);
        }
        let mut reader = self.readers.acquire().await?;
        let ends = ends(&mut reader, stands.id).await?;
        let held_by = held_by(&mut reader, stands.endpoint, self.shared.env.now()).await?;
        Ok(stands.with_ends(ends, held_by))
    }
}

/// Removes replays, with what they noted of their deliveries.
pub(crate) async fn remove(connection: &mut Connection, replays: &[Uuid]) -> sqlx::Result<()> {
    for id in replays {
        for sql in ["DELETE FROM replayed WHERE replay = $1", "DELETE FROM replays WHERE id = $1"] {
            sqlx::query(sql).bind(id).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

#[async_trait]
impl Replays for Store {
    async fn count_replay(&self, wanted: &Replay) -> Result<Counted> {
        let now = self.shared.env.now();
        let failed = store_error("count what a replay would send");
        let mut reader = self.readers.acquire().await.map_err(&failed)?;
        count_matches(&mut reader, &self.shared, wanted, now).await.map_err(failed)
    }

    async fn create_replay(
        &self,
        new: &Replay,
        once: Option<Once>,
        entry: Entry,
    ) -> Result<Performed<ReplayCreated>> {
        let new = new.clone();
        self.perform(new.project, once, Some(entry), move |connection| {
            async move { Ok(Outcome::done_if(ReplayCreated::Done, insert(connection, &new).await?)) }.boxed()
        })
        .await
    }

    async fn find_replay(&self, view: View, id: ReplayId) -> Result<Option<Replay>> {
        let failed = || store_error("find a replay");
        let mut sql = visible(view);
        sql.push(" AND id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(&self.readers).await.map_err(failed())?;
        let Some(stands) = row.as_ref().map(replay).transpose().map_err(failed())? else { return Ok(None) };
        self.with_ends(stands).await.map(Some).map_err(failed())
    }

    async fn list_replays(&self, view: View, page: PageRequest) -> Result<Page<Replay>> {
        let failed = || store_error("list replays");
        let mut sql = visible(view);
        filter::page(&mut sql, "id", page);
        let rows = sql.build().fetch_all(&self.readers).await.map_err(failed())?;
        let read = rows.iter().map(replay).collect::<sqlx::Result<_>>().map_err(failed())?;
        let mut page = Page::from_overfull(read, page.limit, |replay: &Replay| replay.id.0);
        for stands in &mut page.rows {
            *stands = self.with_ends(stands.clone()).await.map_err(failed())?;
        }
        Ok(page)
    }

    async fn set_replay(
        &self,
        view: View,
        id: ReplayId,
        state: ReplayState,
        entry: Entry,
    ) -> Result<ReplaySet> {
        if state == ReplayState::Canceled {
            // Nothing more is sent while it is withdrawn. If this process dies
            // meanwhile, it is paused, and can be canceled again.
            match self.set_state(view, id, ReplayState::Paused, None).await? {
                ReplaySet::Done => self.withdraw(view, id).await?,
                ReplaySet::Ended(ReplayState::Canceled) => return Ok(ReplaySet::Done),
                refused => return Ok(refused),
            }
        }
        self.set_state(view, id, state, Some(entry)).await
    }

    async fn due_replays(&self, now: Timestamp, limit: u32) -> Result<Vec<ReplayId>> {
        let due: Vec<Uuid> = sqlx::query_scalar(
            "SELECT id FROM replays WHERE state = 0 AND next_at <= $1 ORDER BY next_at LIMIT $2",
        )
        .bind(now.as_micros())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(store_error("look for replays"))?;
        Ok(due.into_iter().map(ReplayId).collect())
    }

    async fn advance_replay(&self, id: ReplayId) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let woken = self
            .edit(move |connection| async move { advance(connection, &shared, id).await }.boxed())
            .await?;
        if let Some(endpoint) = woken {
            self.shared.hand_off.get().wake(&[endpoint]);
        }
        Ok(())
    }

    async fn forget_replays(&self, before: Timestamp, limit: u32) -> Result<u64> {
        self.edit(move |connection| {
            async move {
                let old: Vec<Uuid> =
                    sqlx::query_scalar("SELECT id FROM replays WHERE state > 1 AND updated_at < $1 LIMIT $2")
                        .bind(before.as_micros())
                        .bind(i64::from(limit))
                        .fetch_all(&mut *connection)
                        .await?;
                remove(connection, &old).await?;
                Ok(old.len() as u64)
            }
            .boxed()
        })
        .await
    }
}
