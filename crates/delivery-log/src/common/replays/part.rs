//! A part of a replay: what is sent in one transaction.

use sqlx::Row as _;
use uuid::Uuid;

use model::attempt::Trigger;
use model::calls::Ordering;
use model::clock::Timestamp;
use model::event::Event;
use model::ids::{DeliveryId, EndpointId, EventId, ReplayId};
use model::payload::PayloadForm;
use model::replay::{NextStep, PartSent, Progress, Replay, ReplayMode, later_delivery};

use super::super::deliveries::status_of_endpoint;
use super::super::events::older_data;
use super::super::rows::count;
use super::super::{Connection, Shared, lock_delivery, lock_key, moves, statements};
use super::rows::{ends, note, replay, write};
use super::select::{next_deliveries, next_events, read_data, view_of};
use crate::configuration::LiveEndpoint;
use crate::publishing::downgraded;

/// A part that is being sent.
struct Part<'a> {
    connection: &'a mut Connection,
    replay: &'a Replay,
    live: &'a LiveEndpoint,
    now: Timestamp,
    shared: &'a Shared,
    sent: u32,
    skipped: u32,
}

impl Part<'_> {
    /// When the next one is due.
    fn due(&self) -> Timestamp {
        self.replay.due(self.now, self.sent)
    }

    /// Sends again what was delivered or failed. Gives where it ended, if that
    /// was not the end of all.
    async fn send_again(&mut self, after: Option<Uuid>, room: u32) -> sqlx::Result<Option<Uuid>> {
        let page = next_deliveries(self.connection, self.replay, after, room, self.now).await?;
        for delivery in &page.rows {
            lock_delivery(self.connection, delivery.id).await?;
            match moves::replay(self.connection, delivery, Trigger::Replay, self.due(), self.now).await? {
                true => self.note(delivery.id).await?,
                false => self.skipped += 1,
            }
        }
        Ok(page.next)
    }

    /// Sends what the endpoint never got.
    async fn send_missing(&mut self, after: Option<Uuid>, room: u32) -> sqlx::Result<Option<Uuid>> {
        lock_key(self.connection, self.replay.project, &format!("replay {}", self.replay.endpoint)).await?;
        let page = next_events(self.connection, self.shared, self.replay, self.live, after).await?;
        let mut left = room;
        let many = page.rows.len();
        for (place, (event, missing)) in page.rows.into_iter().enumerate() {
            if let Some(version) = missing {
                match self.add(&event, version).await? {
                    Some(id) => self.note(id).await?,
                    None => self.skipped += 1,
                }
                left -= 1;
            }
            if left == 0 && (place + 1 < many || page.next.is_some()) {
                return Ok(Some(event.id.0));
            }
        }
        Ok(page.next)
    }

    /// Sees to it that an event's data is there in an older version. Tells
    /// whether it is.
    async fn give_in_version(&mut self, event: &Event, version: u32) -> sqlx::Result<bool> {
        let view = view_of(self.replay);
        let mut older = older_data(self.connection, view, event.id).await?;
        if older.get(version).is_some() {
            return Ok(true);
        }
        let entry = self.shared.configuration.event_type(event.project, &event.event_type);
        let data = read_data(self.connection, view, event.id).await?;
        let (Some(entry), Some(data)) = (entry, data) else { return Ok(false) };
        let Ok(text) = downgraded(&entry, &data, event.schema_version, version) else { return Ok(false) };
        older.add(version, text);
        sqlx::query(statements::WRITE_OLDER_DATA)
            .bind(event.project.0)
            .bind(event.id.0)
            .bind(older.to_stored())
            .execute(&mut *self.connection)
            .await?;
        Ok(true)
    }

    /// Adds the delivery of an event that has none, unless its data cannot be
    /// given in the version.
    async fn add(&mut self, event: &Event, version: u32) -> sqlx::Result<Option<DeliveryId>> {
        let own = version == event.schema_version;
        if !own && !self.give_in_version(event, version).await? {
            return Ok(None);
        }
        let endpoint = &self.live.endpoint;
        let id = later_delivery(event.id, endpoint.id);
        let ordered = endpoint.calls.ordering == Ordering::PerKey;
        let form = PayloadForm::new(endpoint.payload, endpoint.calls.format, &self.shared.public_url);
        let form = form.in_version((!own).then_some(version));
        let new = moves::Missed {
            id,
            endpoint: endpoint.id,
            event: EventId(event.id.0),
            project: event.project,
            form: &form,
            order: ordered.then(|| (event.ordering_key.as_str(), event.sequence)),
        };
        moves::add(self.connection, &new, self.due(), self.now).await?;
        Ok(Some(id))
    }

    async fn note(&mut self, delivery: DeliveryId) -> sqlx::Result<()> {
        self.sent += 1;
        note(self.connection, self.replay.id, delivery).await
    }
}

/// Does the next step of a replay; gives the endpoint that is to be woken.
pub(super) async fn advance(
    connection: &mut Connection,
    shared: &Shared,
    id: ReplayId,
) -> sqlx::Result<Option<EndpointId>> {
    let now = shared.env.now();
    let row = sqlx::query(statements::LOCK_DUE_REPLAY)
        .bind(id.0)
        .bind(now.as_micros())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let stands = replay(&row)?;
    let (position, all_sent) = (row.try_get::<Option<Uuid>, _>("position")?, count(&row, "all_sent")? != 0);
    let status = status_of_endpoint(connection, stands.endpoint).await?;
    let live = shared.configuration.endpoint(stands.endpoint);
    let progress = match (stands.next_step(all_sent, status), live) {
        (NextStep::Watch, _) => Progress::watched(ends(connection, id).await?),
        (NextStep::Send(room), Some(live)) => {
            let part = send_part(connection, shared, (&stands, &live), (position, room), now).await?;
            stands.after_part(part)
        }
        (NextStep::Halt(state, detail), _) => Progress::halted(state, detail),
        // Made a moment ago by another process: this one will know it in a moment.
        (NextStep::Send(_), None) => Progress::postponed(),
    };
    write(connection, id, &progress, now).await?;
    Ok((progress.sent > 0).then_some(stands.endpoint))
}

async fn send_part(
    connection: &mut Connection,
    shared: &Shared,
    (replay, live): (&Replay, &LiveEndpoint),
    (position, room): (Option<Uuid>, u32),
    now: Timestamp,
) -> sqlx::Result<PartSent> {
    let mut part = Part { connection, replay, live, now, shared, sent: 0, skipped: 0 };
    let next = match replay.mode {
        ReplayMode::Missing => part.send_missing(position, room).await?,
        ReplayMode::Failed | ReplayMode::All => part.send_again(position, room).await?,
    };
    Ok(PartSent { sent: part.sent, skipped: part.skipped, next })
}
