//! Publishing: which rows a group of publishes becomes.
//!
//! A plan is made in memory against the configuration as it is known; the
//! statement that writes it does nothing if that is no longer the newest.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, PgConnection, Row as _};
use uuid::Uuid;

use model::clock::Timestamp;
use model::event::Event;
use model::ids::{EventId, ProjectId, TenantId};
use model::names::OrderingKey;

use super::Shared;
use super::matching::{NewDelivery, ToWake, find_targets, new_event};
use super::rows;
use crate::events::{Publish, Published, Unmatched};
use crate::hand_off::{Fate, ReadyDelivery, Reservation};

/// The part of the statement that writes a plan. Each `?` is an argument, in
/// the order of [`Plan::add_to`].
pub(super) const PUBLISH: &str = "given AS (SELECT ?::bigint AS version, ?::bigint AS now), \
    ok AS MATERIALIZED (SELECT g.now FROM given g JOIN configuration c ON c.version = g.version), \
    counted AS (INSERT INTO tenant_sequences AS s (tenant, last) \
      SELECT t.tenant, t.n FROM unnest(?::uuid[], ?::bigint[]) AS t (tenant, n), ok \
      ON CONFLICT (tenant) DO UPDATE SET last = s.last + excluded.last RETURNING tenant, last), \
    lasts AS MATERIALIZED (SELECT array_agg(last ORDER BY tenant) AS last FROM counted), \
    new_events AS (INSERT INTO events (id, project, tenant, sequence, occurred_at, created_at, revision, \
        schema_version, test, type, subject, ordering_key, labels, unmatched, data) \
      SELECT n.id, n.project, n.tenant, l.last[n.place] - n.back, n.occurred_at, ok.now, n.revision, \
        n.schema_version, n.test, n.type, n.subject, n.ordering_key, n.labels, n.unmatched, n.data \
      FROM unnest(?::uuid[], ?::uuid[], ?::uuid[], ?::int[], ?::bigint[], ?::bigint[], ?::bigint[], ?::int[], \
        ?::bool[], ?::text[], ?::text[], ?::text[], ?::text[], ?::text[], ?::bytea[]) \
        AS n (id, project, tenant, place, back, occurred_at, revision, schema_version, test, type, subject, \
        ordering_key, labels, unmatched, data), ok, lasts l), \
    new_keys AS (INSERT INTO idempotency_keys (project, key, fingerprint, event, sequence, expires_at) \
      SELECT k.project, k.key, k.fingerprint, k.event, l.last[k.place] - k.back, k.expires_at \
      FROM unnest(?::uuid[], ?::text[], ?::bytea[], ?::uuid[], ?::int[], ?::bigint[], ?::bigint[]) \
        AS k (project, key, fingerprint, event, place, back, expires_at), ok, lasts l), \
    new_deliveries AS (INSERT INTO waiting (id, project, tenant, endpoint, event, due_at, claimed, \
        schedule_since, created_at, updated_at, attempts, tries, rejections, status, trigger, payload, public_url) \
      SELECT d.id, d.project, d.tenant, d.endpoint, d.event, d.due_at, d.claimed, ok.now, ok.now, ok.now, \
        0, 0, 0, 0, d.trigger, d.payload, d.public_url \
      FROM unnest(?::uuid[], ?::uuid[], ?::uuid[], ?::uuid[], ?::uuid[], ?::bigint[], ?::bigint[], \
        ?::smallint[], ?::text[], ?::text[]) \
        AS d (id, project, tenant, endpoint, event, due_at, claimed, trigger, payload, public_url), ok), \
    woken AS (UPDATE lanes SET wake_at = ok.now FROM unnest(?::uuid[]) AS w (endpoint), ok \
      WHERE lanes.endpoint = w.endpoint AND lanes.wake_at > ok.now)";

/// What a group of publishes becomes.
pub(super) struct Plan<'a> {
    version: i64,
    now: Timestamp,
    publishes: &'a [&'a Publish],
    results: Vec<Option<Published>>,
    /// Publishes that repeat another of the group.
    twins: Vec<(usize, usize)>,
    events: Vec<NewEvent>,
    /// Each with the place of its event.
    deliveries: Vec<(usize, NewDelivery)>,
    /// In the order in which their rows are locked.
    tenants: Vec<TenantId>,
    counts: Vec<i64>,
    wake: ToWake,
}

struct NewEvent {
    publish: usize,
    event: Event,
    unmatched: Vec<Unmatched>,
    /// The place of its tenant, from 1.
    place: i32,
    /// How many of the tenant's events in the group come after it.
    back: i64,
}

/// What is to be told when a plan is written.
pub(super) struct Effects {
    pub(super) ready: Vec<ReadyDelivery>,
    pub(super) wake: ToWake,
}

impl<'a> Plan<'a> {
    /// Plans. `known` are publishes whose result is known already.
    pub(super) fn new(
        shared: &Shared,
        publishes: &'a [&'a Publish],
        known: HashMap<usize, Published>,
    ) -> Self {
        let now = shared.surroundings.now();
        let mut plan = Self {
            version: shared.configuration.version(),
            now,
            publishes,
            results: vec![None; publishes.len()],
            twins: Vec::new(),
            events: Vec::with_capacity(publishes.len()),
            deliveries: Vec::with_capacity(publishes.len()),
            tenants: Vec::new(),
            counts: Vec::new(),
            wake: ToWake::default(),
        };
        for (index, result) in known {
            plan.results[index] = Some(result);
        }
        let mut fresh = Vec::with_capacity(publishes.len());
        // A key that stands twice in one group belongs to the first that has it.
        let mut first_of_key: HashMap<(ProjectId, &str), usize> = HashMap::new();
        for (index, publish) in publishes.iter().enumerate() {
            if plan.results[index].is_some() {
                continue;
            }
            let targets = match find_targets(shared, publish) {
                Ok(targets) => targets,
                Err(refused) => {
                    plan.results[index] = Some(refused);
                    continue;
                }
            };
            if let Some(claim) = &publish.claim {
                let first = *first_of_key.entry((publish.project, claim.key.as_str())).or_insert(index);
                if first != index {
                    plan.twins.push((index, first));
                    continue;
                }
            }
            fresh.push((index, targets));
        }
        plan.tenants = fresh.iter().map(|(index, _)| publishes[*index].tenant).collect();
        plan.tenants.sort_unstable();
        plan.tenants.dedup();
        plan.counts = vec![0; plan.tenants.len()];
        for (index, targets) in fresh {
            let publish = publishes[index];
            let place = plan.tenants.binary_search(&publish.tenant).expect("it was just collected");
            plan.counts[place] += 1;
            let number = plan.events.len();
            plan.events.push(NewEvent {
                publish: index,
                // The number is the database's to give.
                event: new_event(publish, 0, now, shared),
                unmatched: targets.unmatched,
                place: place as i32 + 1,
                back: plan.counts[place],
            });
            for target in &targets.wanted {
                plan.deliveries.push((number, NewDelivery::new(publish, target, shared)));
            }
        }
        for event in &mut plan.events {
            event.back = plan.counts[event.place as usize - 1] - event.back;
        }
        plan.wake = ToWake::of(plan.deliveries.iter().map(|(_, delivery)| delivery));
        plan
    }

    /// Whether there is something to write.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether a tenant or an endpoint is not known here.
    pub(super) fn lacks_something(&self) -> bool {
        let lacks = |result: &Option<Published>| {
            matches!(result, Some(Published::UnknownTenant | Published::UnknownEndpoint))
        };
        self.results.iter().any(lacks)
    }

    /// The ids of the events.
    pub(super) fn event_ids(&self) -> Vec<Uuid> {
        self.events.iter().map(|new| new.event.id.0).collect()
    }

    /// Adds the arguments of [`PUBLISH`].
    pub(super) fn add_to(&self, arguments: &mut PgArguments) -> sqlx::Result<()> {
        let mut to = Columns(arguments);
        to.add(self.version)?;
        to.add(self.now.as_micros())?;
        to.column(&self.tenants, |tenant| tenant.0)?;
        to.add(self.counts.as_slice())?;

        let events = &self.events;
        let published = |new: &NewEvent| self.publishes[new.publish];
        to.column(events, |new| new.event.id.0)?;
        to.column(events, |new| new.event.project.0)?;
        to.column(events, |new| new.event.tenant.0)?;
        to.column(events, |new| new.place)?;
        to.column(events, |new| new.back)?;
        to.column(events, |new| new.event.occurred_at.as_micros())?;
        to.column(events, |new| new.event.revision.map(|revision| revision as i64))?;
        to.column(events, |new| new.event.schema_version as i32)?;
        to.column(events, |new| new.event.test)?;
        to.column(events, |new| new.event.event_type.as_str())?;
        to.column(events, |new| new.event.subject.as_str())?;
        to.column(events, |new| published(new).ordering_key.as_ref().map(OrderingKey::as_str))?;
        to.column(events, |new| rows::labels_to_text(&new.event.labels))?;
        to.column(events, |new| rows::unmatched_to_text(&new.unmatched))?;
        to.column(events, |new| published(new).data.as_bytes())?;

        let keyed: Vec<_> =
            events.iter().filter_map(|new| Some((new, published(new).claim.as_ref()?))).collect();
        to.column(&keyed, |(new, _)| new.event.project.0)?;
        to.column(&keyed, |(_, claim)| claim.key.as_str())?;
        to.column(&keyed, |(_, claim)| claim.fingerprint.as_slice())?;
        to.column(&keyed, |(new, _)| new.event.id.0)?;
        to.column(&keyed, |(new, _)| new.place)?;
        to.column(&keyed, |(new, _)| new.back)?;
        to.column(&keyed, |(_, claim)| claim.expires_at.as_micros())?;

        let deliveries = &self.deliveries;
        let event = |place: usize| &events[place].event;
        to.column(deliveries, |(_, new)| new.id.0)?;
        to.column(deliveries, |(of, _)| event(*of).project.0)?;
        to.column(deliveries, |(of, _)| event(*of).tenant.0)?;
        to.column(deliveries, |(_, new)| new.endpoint.0)?;
        to.column(deliveries, |(of, _)| event(*of).id.0)?;
        to.column(deliveries, |(_, new)| new.due_at(self.now).as_micros())?;
        to.column(deliveries, |(_, new)| new.claimed.map(|epoch| epoch.0))?;
        to.column(deliveries, |(_, new)| new.trigger.code() as i16)?;
        to.column(deliveries, |(_, new)| new.form.mode().as_str())?;
        to.column(deliveries, |(_, new)| new.public_url())?;
        let woken: Vec<Uuid> =
            self.wake.endpoints.iter().chain(&self.wake.for_test).map(|endpoint| endpoint.0).collect();
        to.add(woken)
    }

    /// The places in lanes that were reserved are not needed: the plan is
    /// made anew, or was not written.
    pub(super) fn give_up(&self, shared: &Shared, fate: Fate) {
        let reserved: Vec<Reservation> = self
            .deliveries
            .iter()
            .filter_map(|(of, new)| new.reservation(self.publishes[self.events[*of].publish]))
            .collect();
        if !reserved.is_empty() {
            shared.hand_off.get().give_up(&reserved, fate);
        }
    }

    /// What became of each publish, with the last numbers of the tenants.
    pub(super) fn written(self, lasts: &[i64]) -> (Vec<Published>, Effects) {
        let Self { publishes, mut results, twins, events, deliveries, wake, .. } = self;
        let mut finished = Vec::with_capacity(events.len());
        for new in events {
            let sequence = (lasts[new.place as usize - 1] - new.back) as u64;
            let event = Arc::new(Event { sequence, ..new.event });
            results[new.publish] = Some(Published::Accepted { event: event.id, sequence, delivery: None });
            finished.push((new.publish, event));
        }
        let mut ready = Vec::with_capacity(deliveries.len());
        for (of, delivery) in &deliveries {
            let (publish, event) = &finished[*of];
            if event.test
                && let Some(Published::Accepted { delivery: tested, .. }) = &mut results[*publish]
            {
                *tested = Some(delivery.id);
            }
            ready.extend(delivery.ready(event, &publishes[*publish].data));
        }
        for (index, first) in twins {
            let fingerprint = |of: usize| publishes[of].claim.as_ref().map(|claim| claim.fingerprint);
            results[index] = Some(match &results[first] {
                Some(Published::Accepted { event, sequence, .. })
                    if fingerprint(index) == fingerprint(first) =>
                {
                    Published::Repeated { event: *event, sequence: *sequence }
                }
                _ => Published::KeyReused,
            });
        }
        let results = results.into_iter().map(|result| result.expect("every publish was decided"));
        (results.collect(), Effects { ready, wake })
    }
}

/// Arguments, column by column.
pub(super) struct Columns<'a>(pub(super) &'a mut PgArguments);

impl Columns<'_> {
    pub(super) fn add<'q, T>(&mut self, value: T) -> sqlx::Result<()>
    where
        T: sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        self.0.add(value).map_err(sqlx::Error::Encode)
    }

    /// One value of every row.
    pub(super) fn column<'q, R, T>(&mut self, rows: &'q [R], value: impl Fn(&'q R) -> T) -> sqlx::Result<()>
    where
        Vec<T>: sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        self.add(rows.iter().map(value).collect::<Vec<T>>())
    }
}

/// Finds what was published before under the same key, and frees keys that
/// have expired.
pub(super) async fn find_repeated(
    connection: &mut PgConnection,
    publishes: &[&Publish],
    now: Timestamp,
) -> sqlx::Result<HashMap<usize, Published>> {
    let keyed: Vec<_> = publishes
        .iter()
        .enumerate()
        .filter_map(|(i, publish)| Some((i, publish, publish.claim.as_ref()?)))
        .collect();
    let projects: Vec<Uuid> = keyed.iter().map(|(_, publish, _)| publish.project.0).collect();
    let keys: Vec<&str> = keyed.iter().map(|(_, _, claim)| claim.key.as_str()).collect();
    sqlx::query(
        "DELETE FROM idempotency_keys k USING unnest($1::uuid[], $2::text[]) AS w (project, key) \
         WHERE k.project = w.project AND k.key = w.key AND k.expires_at <= $3",
    )
    .bind(&projects)
    .bind(&keys)
    .bind(now.as_micros())
    .execute(&mut *connection)
    .await?;
    let rows = sqlx::query(
        "SELECT w.place, k.fingerprint, k.event, k.sequence \
         FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS w (project, key, place) \
         JOIN idempotency_keys k ON k.project = w.project AND k.key = w.key",
    )
    .bind(&projects)
    .bind(&keys)
    .bind(keyed.iter().map(|(place, _, _)| *place as i64).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let mut repeated = HashMap::new();
    for row in rows {
        let place = row.try_get::<i64, _>(0)? as usize;
        let fingerprint: &[u8] = row.try_get(1)?;
        let same = publishes[place].claim.as_ref().is_some_and(|claim| claim.fingerprint == *fingerprint);
        let (event, sequence): (Option<Uuid>, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
        let result = match (same, event, sequence) {
            (true, Some(event), Some(sequence)) => {
                Published::Repeated { event: EventId(event), sequence: sequence as u64 }
            }
            _ => Published::KeyReused,
        };
        repeated.insert(place, result);
    }
    Ok(repeated)
}
