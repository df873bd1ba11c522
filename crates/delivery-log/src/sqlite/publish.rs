//! Publishing: events, their deliveries, sequences and idempotency keys, in
//! one transaction and as few statements as can be.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use model::clock::Timestamp;
use model::event::Event;
use model::ids::{EventId, ProjectId, TenantId};
use model::names::OrderingKey;

use super::multi_row::{Binding, MultiRow, Part, Piece, bind_rows};
use super::parts;
use super::sequences::{SEQUENCES, Sequences};
use super::{Effects, FanOut, Shared};
use crate::events::{Publish, Published};
use crate::publishing::{Contents, Matched, NewDelivery, ToWake, current, new_event, twin};

/// An event of the group with all that is decided about it.
struct NewEvent<'a> {
    position: i64,
    publish: &'a Publish,
    event: Arc<Event>,
    matched: Arc<Matched>,
}

/// A delivery with its event.
pub(super) struct DeliveryRow<'a> {
    pub(super) event: &'a Event,
    pub(super) position: i64,
    pub(super) delivery: &'a NewDelivery,
}

/// Writes the events, and gives the result of each in their order. `version`
/// is that of the configuration in this transaction.
pub(super) async fn publish(
    connection: &mut SqliteConnection,
    shared: &Shared,
    version: i64,
    sequences: &mut Sequences,
    publishes: &[&Publish],
    effects: &mut Effects,
) -> sqlx::Result<Vec<Published>> {
    shared.refresh_to(connection, version, "").await?;
    let now = shared.env.now();
    let mut results: Vec<Option<Published>> = vec![None; publishes.len()];
    find_repeated(connection, publishes, now, &mut results).await?;

    let mut fresh: Vec<(usize, Arc<Matched>)> = Vec::with_capacity(publishes.len());
    // A key that stands twice in one group belongs to the first that has it.
    let mut first_of_key: HashMap<(ProjectId, &str), usize> = HashMap::new();
    let mut twins: Vec<(usize, usize)> = Vec::new();
    for (index, publish) in publishes.iter().enumerate() {
        if results[index].is_some() {
            continue;
        }
        let matched = match current(shared, publish) {
            Ok(matched) => matched,
            Err(no_target) => {
                results[index] = Some(no_target.into());
                continue;
            }
        };
        if let Some(key_use) = &publish.key_use {
            match first_of_key.entry((publish.project, key_use.key.as_str())) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    twins.push((index, *first.get()));
                    continue;
                }
                std::collections::hash_map::Entry::Vacant(place) => drop(place.insert(index)),
            }
        }
        fresh.push((index, matched));
    }

    let tenants: Vec<TenantId> = fresh.iter().map(|(index, _)| publishes[*index].tenant).collect();
    sequences.load(connection, &tenants).await?;
    let mut events = Vec::with_capacity(fresh.len());
    for (index, matched) in fresh {
        let publish = publishes[index];
        let sequence = sequences.next(publish.tenant);
        let event = Arc::new(new_event(publish, sequence, now, shared));
        results[index] = Some(Published::Accepted { event: event.id, sequence, delivery: None });
        let position = shared.extra.next_event.fetch_add(1, Ordering::Relaxed);
        events.push((index, NewEvent { position, publish, event, matched }));
    }
    let events_only: Vec<&NewEvent<'_>> = events.iter().map(|(_, event)| event).collect();
    insert_keys(connection, &events_only).await?;

    let mut deliveries = Vec::with_capacity(events.len());
    for (index, new) in &events {
        let contents = Contents::of(new.publish, &new.matched.older, now);
        for target in &new.matched.wanted {
            let delivery = NewDelivery::new(contents, target, shared);
            if let (Some(Published::Accepted { delivery: tested, .. }), true) =
                (&mut results[*index], new.event.test)
            {
                *tested = Some(delivery.id);
            }
            deliveries.push((new, delivery));
        }
    }
    let rows: Vec<DeliveryRow<'_>> = deliveries
        .iter()
        .map(|(new, delivery)| DeliveryRow { event: &new.event, position: new.position, delivery })
        .collect();
    insert(connection, &events_only, &rows).await?;
    for (_, new) in &events {
        parts::mark(connection, new.position, &new.matched.late, now).await?;
        effects.fan_outs.extend(FanOut::new(&new.event, new.position, Arc::clone(&new.matched.late), 0));
    }
    let woken = ToWake::of(deliveries.iter().map(|(_, delivery)| delivery));
    wake(connection, woken, now, effects).await?;
    for (new, delivery) in deliveries {
        effects.add(delivery, &new.event, &new.publish.data);
    }

    for (index, first) in twins {
        results[index] = Some(twin(publishes[index], publishes[first], results[first].as_ref()));
    }
    Ok(results.into_iter().map(|result| result.expect("every publish was decided")).collect())
}

/// Wakes lanes, of this process and of any.
pub(super) async fn wake(
    connection: &mut SqliteConnection,
    woken: ToWake,
    now: Timestamp,
    effects: &mut Effects,
) -> sqlx::Result<()> {
    super::lanes::wake(connection, &woken.endpoints, now).await?;
    super::lanes::wake(connection, &woken.for_test, now).await?;
    effects.add_woken(woken);
    Ok(())
}

/// Finds what was published before under the same key.
async fn find_repeated(
    connection: &mut SqliteConnection,
    publishes: &[&Publish],
    now: Timestamp,
    results: &mut [Option<Published>],
) -> sqlx::Result<()> {
    const WANTED: Part = Part {
        before: "WITH wanted (place, project, key) AS (VALUES",
        columns: 3,
        after: ") SELECT w.place, k.fingerprint, k.event, k.sequence, k.expires_at FROM wanted w \
                CROSS JOIN idempotency_keys k ON k.project = w.project AND k.key = w.key",
    };
    static FIND: MultiRow = MultiRow::new(&[WANTED]);
    let keyed: Vec<(usize, &Publish)> =
        publishes.iter().enumerate().filter(|(_, p)| p.key_use.is_some()).map(|(i, p)| (i, *p)).collect();
    for piece in FIND.pieces(&keyed) {
        let query = sqlx::query(piece.sql);
        let query =
            bind_rows(query, piece.rows.iter(), piece.places, WANTED.columns, |query, (index, publish)| {
                let key = publish.key_use.as_ref().map(|key_use| key_use.key.as_str().to_owned());
                query.bind(*index as i64).bind(publish.project.0).bind(key)
            });
        for row in query.fetch_all(&mut *connection).await? {
            // One that has expired is written over.
            if row.try_get::<i64, _>(4)? <= now.as_micros() {
                continue;
            }
            let index = row.try_get::<i64, _>(0)? as usize;
            let fingerprint: &[u8] = row.try_get(1)?;
            let same =
                publishes[index].key_use.as_ref().is_some_and(|key_use| key_use.fingerprint == *fingerprint);
            let event: Option<Uuid> = row.try_get(2)?;
            let sequence: Option<i64> = row.try_get(3)?;
            results[index] = Some(match (same, event, sequence) {
                (true, Some(event), Some(sequence)) => {
                    Published::Repeated { event: EventId(event), sequence: sequence as u64 }
                }
                _ => Published::KeyReused,
            });
        }
    }
    Ok(())
}

const EVENTS: Part = Part {
    before: "WITH new (position, id, project, tenant, type, schema_version, subject, revision, occurred_at, \
             ordering_key, labels, sequence, test, unmatched, created_at) AS (VALUES",
    columns: 15,
    after: ") INSERT INTO events (position, id, project, tenant, type, schema_version, subject, revision, \
            occurred_at, ordering_key, labels, sequence, test, unmatched, created_at) \
            SELECT * FROM new WHERE id IS NOT NULL",
};

const PAYLOADS: Part = Part {
    before: "WITH new (event, data, older) AS (VALUES",
    columns: 3,
    after: ") INSERT INTO payloads (event, data, older) SELECT * FROM new WHERE event IS NOT NULL",
};

macro_rules! deliveries {
    ($on_conflict:literal) => {
        Part {
            before: "WITH new (project, id, tenant, endpoint, event, payload, public_url, due_at, claimed, trigger, \
                     at, order_key, order_sequence) AS (VALUES",
            columns: 13,
            after: concat!(
                ") INSERT INTO deliveries (project, id, tenant, endpoint, event, payload, public_url, status, due_at, \
                 claimed, attempts, tries, rejections, schedule_since, trigger, created_at, updated_at, order_key, \
                 order_sequence) \
                 SELECT project, id, tenant, endpoint, event, payload, public_url, 0, due_at, claimed, 0, 0, 0, at, \
                 trigger, at, at, order_key, order_sequence FROM new WHERE id IS NOT NULL ",
                $on_conflict
            ),
        }
    };
}

const DELIVERIES: Part = deliveries!("");
/// The same for those that may be there.
const LATE_DELIVERIES: Part = deliveries!("ON CONFLICT (project, id) DO NOTHING");

/// Writes events with as many deliveries as there are events together; most
/// events have one. Deliveries beyond that follow.
async fn insert(
    connection: &mut SqliteConnection,
    events: &[&NewEvent<'_>],
    deliveries: &[DeliveryRow<'_>],
) -> sqlx::Result<()> {
    static TOGETHER: MultiRow = MultiRow::new(&[SEQUENCES, EVENTS, PAYLOADS, DELIVERIES]);
    let mut rest = deliveries;
    for Piece { sql, places, rows } in TOGETHER.pieces(events) {
        let with_them;
        (with_them, rest) = rest.split_at(rest.len().min(places));
        // The last number of a tenant stands; those before it in the piece do not.
        let mut last: HashMap<TenantId, u64> = HashMap::new();
        last.extend(rows.iter().map(|new| (new.event.tenant, new.event.sequence)));
        let query = sqlx::query(sql);
        let query = bind_rows(query, last.into_iter(), places, SEQUENCES.columns, |query, (tenant, last)| {
            query.bind(tenant.0).bind(last as i64)
        });
        let query =
            bind_rows(query, rows.iter(), places, EVENTS.columns, |query, new| bind_event(query, new));
        let query = bind_rows(query, rows.iter(), places, PAYLOADS.columns, |query, new| {
            query.bind(new.position).bind(new.publish.data.as_bytes()).bind(new.matched.older.to_stored())
        });
        let query = bind_rows(query, with_them.iter(), places, DELIVERIES.columns, bind_delivery);
        query.execute(&mut *connection).await?;
    }
    static REST: MultiRow = MultiRow::new(&[DELIVERIES]);
    insert_deliveries(connection, &REST, rest).await
}

/// Writes deliveries of events that are there.
pub(super) async fn insert_late(
    connection: &mut SqliteConnection,
    deliveries: &[DeliveryRow<'_>],
) -> sqlx::Result<()> {
    static LATE: MultiRow = MultiRow::new(&[LATE_DELIVERIES]);
    insert_deliveries(connection, &LATE, deliveries).await
}

async fn insert_deliveries(
    connection: &mut SqliteConnection,
    statement: &'static MultiRow,
    deliveries: &[DeliveryRow<'_>],
) -> sqlx::Result<()> {
    for Piece { sql, places, rows } in statement.pieces(deliveries) {
        let query = bind_rows(sqlx::query(sql), rows.iter(), places, DELIVERIES.columns, bind_delivery);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn bind_event<'q>(query: Binding<'q>, new: &'q NewEvent<'_>) -> Binding<'q> {
    let event = &new.event;
    query
        .bind(new.position)
        .bind(event.id.0)
        .bind(event.project.0)
        .bind(event.tenant.0)
        .bind(event.event_type.as_str())
        .bind(event.schema_version)
        .bind(event.subject.as_str())
        .bind(event.revision.map(|revision| revision as i64))
        .bind(event.occurred_at.as_micros())
        .bind(new.publish.ordering_key.as_ref().map(OrderingKey::as_str))
        .bind(super::rows::labels_to_text(&event.labels))
        .bind(event.sequence as i64)
        .bind(event.test)
        .bind(super::rows::unmatched_to_text(&new.matched.unmatched))
        .bind(event.created_at.as_micros())
}

fn bind_delivery<'q>(query: Binding<'q>, new: &'q DeliveryRow<'_>) -> Binding<'q> {
    let DeliveryRow { event, position, delivery } = new;
    query
        .bind(event.project.0)
        .bind(delivery.id.0)
        .bind(event.tenant.0)
        .bind(delivery.endpoint.0)
        .bind(*position)
        .bind(delivery.form.stored_name())
        .bind(delivery.form.public_url())
        .bind(delivery.due_at().as_micros())
        .bind(delivery.claimed().map(|epoch| epoch.0))
        .bind(delivery.trigger.code())
        .bind(delivery.at.as_micros())
        .bind(delivery.order_key(event))
        .bind(delivery.ordered.then_some(event.sequence as i64))
}

async fn insert_keys(connection: &mut SqliteConnection, events: &[&NewEvent<'_>]) -> sqlx::Result<()> {
    const KEYS: Part = Part {
        before: "WITH new (project, key, fingerprint, event, sequence, expires_at) AS (VALUES",
        columns: 6,
        after: ") INSERT INTO idempotency_keys (project, key, fingerprint, event, sequence, expires_at) \
                SELECT * FROM new WHERE key IS NOT NULL ON CONFLICT (project, key) DO UPDATE SET \
                fingerprint = excluded.fingerprint, event = excluded.event, sequence = excluded.sequence, \
                status = NULL, location = NULL, sealed_body = NULL, expires_at = excluded.expires_at",
    };
    static INSERT: MultiRow = MultiRow::new(&[KEYS]);
    let keyed: Vec<_> =
        events.iter().filter_map(|new| Some((&new.event, new.publish.key_use.as_ref()?))).collect();
    for Piece { sql, places, rows } in INSERT.pieces(&keyed) {
        let query =
            bind_rows(sqlx::query(sql), rows.iter(), places, KEYS.columns, |query, (event, key_use)| {
                query
                    .bind(event.project.0)
                    .bind(key_use.key.as_str())
                    .bind(key_use.fingerprint.as_slice())
                    .bind(event.id.0)
                    .bind(event.sequence as i64)
                    .bind(key_use.expires_at.as_micros())
            });
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
