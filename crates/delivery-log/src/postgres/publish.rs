//! Publishing: which rows a group of publishes becomes.
//!
//! A plan is made in memory against the configuration as it is known; the
//! statement that writes it does nothing if that is no longer the newest.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, PgConnection, Row as _};
use uuid::Uuid;

use model::clock::Timestamp;
use model::event::Event;
use model::ids::{EventId, ProjectId, TenantId};
use model::names::OrderingKey;

use super::composite::{Composite, Fields, add_rows};
use super::counters::Counters;
use super::rows;
use super::timeline::timeline;
use super::{Effects, FanOut, Shared};
use crate::configuration::Version;
use crate::events::{Publish, Published};
use crate::hand_off::Fate;
use crate::idempotency::KeyUse;
use crate::publishing::{Contents, LateTarget, Matched, NewDelivery, ToWake, current, new_event, twin};

/// The text that writes deliveries; with a condition on those that may be there.
pub(super) fn deliver(unless_there: &str) -> String {
    format!(include_str!("sql/deliver.sql"), unless_there = unless_there)
}

/// The part of the statement that writes a plan.
pub(super) fn parts(in_place: bool, in_parts: bool) -> String {
    let count =
        if in_place { include_str!("sql/count_in_place.sql") } else { include_str!("sql/count_by_key.sql") };
    let publish = format!(
        include_str!("sql/publish.sql"),
        timeline = timeline!(),
        count = count,
        deliver = deliver("")
    );
    if in_parts { format!("{publish}, {}", include_str!("sql/mark.sql")) } else { publish }
}

/// What a group of publishes becomes.
pub(super) struct Plan<'a> {
    version: Version,
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
    /// Where their counters stand, if that is known of all.
    places: Option<Vec<String>>,
    wake: ToWake,
}

struct NewEvent {
    publish: usize,
    event: Event,
    matched: Arc<Matched>,
    /// The place of its tenant, from 1.
    place: i32,
    /// How many of the tenant's events in the group come after it.
    back: i64,
}

impl<'a> Plan<'a> {
    /// Plans. `known` are publishes whose result is known already.
    pub(super) fn new(
        shared: &Shared,
        publishes: &'a [&'a Publish],
        known: HashMap<usize, Published>,
    ) -> Self {
        let now = shared.env.now();
        let mut plan = Self {
            version: shared.configuration.version_in_history(),
            now,
            publishes,
            results: vec![None; publishes.len()],
            twins: Vec::new(),
            events: Vec::with_capacity(publishes.len()),
            deliveries: Vec::with_capacity(publishes.len()),
            tenants: Vec::new(),
            counts: Vec::new(),
            places: None,
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
            let matched = match current(shared, publish) {
                Ok(matched) => matched,
                Err(no_target) => {
                    plan.results[index] = Some(no_target.into());
                    continue;
                }
            };
            if let Some(key_use) = &publish.key_use {
                let first = *first_of_key.entry((publish.project, key_use.key.as_str())).or_insert(index);
                if first != index {
                    plan.twins.push((index, first));
                    continue;
                }
            }
            fresh.push((index, matched));
        }
        plan.tenants = fresh.iter().map(|(index, _)| publishes[*index].tenant).collect();
        plan.tenants.sort_unstable();
        plan.tenants.dedup();
        plan.counts = vec![0; plan.tenants.len()];
        for (index, matched) in fresh {
            let publish = publishes[index];
            let place = plan.tenants.binary_search(&publish.tenant).expect("it was just collected");
            plan.counts[place] += 1;
            let number = plan.events.len();
            // The ids of its deliveries follow its own.
            let event = new_event(publish, 0, now, shared);
            let contents = Contents::of(publish, &matched.older, now);
            let deliveries = matched.wanted.iter().map(|target| NewDelivery::new(contents, target, shared));
            plan.deliveries.extend(deliveries.map(|delivery| (number, delivery)));
            plan.events.push(NewEvent {
                publish: index,
                // The number is the database's to give.
                event,
                matched,
                place: place as i32 + 1,
                back: plan.counts[place],
            });
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

    /// Looks where the counters of its tenants stand.
    pub(super) fn place_by(&mut self, counters: &mut Counters) {
        self.places = counters.places(&self.tenants);
    }

    /// Whether it counts where the counters were last.
    pub(super) fn counts_in_place(&self) -> bool {
        self.places.is_some()
    }

    /// Whether it has events for more endpoints than one part is for.
    pub(super) fn is_in_parts(&self) -> bool {
        self.events.iter().any(|new| !new.matched.late.is_empty())
    }

    /// The history of the database that it was made for.
    pub(super) fn history(&self) -> &str {
        &self.version.history
    }

    /// Counts by key from now on.
    pub(super) fn forget_places(&mut self) {
        self.places = None;
    }

    /// Whose events it has.
    pub(super) fn tenants(&self) -> &[TenantId] {
        &self.tenants
    }

    /// The ids of the events.
    pub(super) fn event_ids(&self) -> Vec<Uuid> {
        self.events.iter().map(|new| new.event.id.0).collect()
    }

    /// Adds the arguments of [`parts`].
    pub(super) fn add_to(&self, arguments: &mut PgArguments) -> sqlx::Result<()> {
        arguments.add(self.version.number).map_err(sqlx::Error::Encode)?;
        arguments.add(&*self.version.history).map_err(sqlx::Error::Encode)?;
        arguments.add(self.now.as_micros()).map_err(sqlx::Error::Encode)?;
        let counts = self.tenants.iter().zip(&self.counts);
        let place = |index: usize| self.places.as_ref().map(|places| places[index].as_str());
        let counts = counts.enumerate();
        let counts = counts.map(|(index, (tenant, events))| TenantCount(*tenant, *events, place(index)));
        add_rows(arguments, counts)?;
        let publish = |new: &NewEvent| self.publishes[new.publish];
        add_rows(arguments, self.events.iter().map(|new| EventRow { new, publish: publish(new) }))?;
        let keyed = |new| Some(KeyRow { new, key_use: publish(new).key_use.as_ref()? });
        add_rows(arguments, self.events.iter().filter_map(keyed))?;
        let deliveries = self.deliveries.iter();
        add_rows(
            arguments,
            deliveries.map(|(of, new)| {
                let NewEvent { event, place, back, .. } = &self.events[*of];
                DeliveryRow { new, event, place: *place, back: *back }
            }),
        )?;
        add_woken(&self.wake, arguments)?;
        if self.is_in_parts() {
            let marked = || self.events.iter().filter(|new| !new.matched.late.is_empty());
            let events: Vec<Uuid> = marked().map(|new| new.event.id.0).collect();
            let targets: Vec<Vec<u8>> =
                marked().map(|new| LateTarget::to_stored(&new.matched.late)).collect();
            arguments.add(events).map_err(sqlx::Error::Encode)?;
            arguments.add(targets).map_err(sqlx::Error::Encode)?;
        }
        Ok(())
    }

    /// What is known of its deliveries if nothing more is heard. Until it is sent,
    /// nothing is written; from then on, it may be there even if nobody says so.
    pub(super) fn set_fate(&mut self, fate: Fate) {
        self.deliveries.iter_mut().for_each(|(_, new)| new.set_fate(fate));
    }

    /// What became of each publish, with the last numbers of the tenants.
    pub(super) fn written(self, lasts: &[i64]) -> (Vec<Published>, Effects) {
        let Self { publishes, mut results, twins, events, deliveries, wake, .. } = self;
        let mut finished = Vec::with_capacity(events.len());
        let mut effects = Effects::default();
        for new in events {
            let sequence = (lasts[new.place as usize - 1] - new.back) as u64;
            let event = Arc::new(Event { sequence, ..new.event });
            results[new.publish] = Some(Published::Accepted { event: event.id, sequence, delivery: None });
            effects.fan_outs.extend(FanOut::new(&event, event.id.0, Arc::clone(&new.matched.late), 0));
            finished.push((new.publish, event));
        }
        effects.add_woken(wake);
        for (of, delivery) in deliveries {
            let (publish, event) = &finished[of];
            if let (Some(Published::Accepted { delivery: tested, .. }), true) =
                (&mut results[*publish], event.test)
            {
                *tested = Some(delivery.id);
            }
            effects.add(delivery, event, &publishes[*publish].data);
        }
        for (index, first) in twins {
            results[index] = Some(twin(publishes[index], publishes[first], results[first].as_ref()));
        }
        let results = results.into_iter().map(|result| result.expect("every publish was decided"));
        (results.collect(), effects)
    }
}

/// Adds the endpoints whose lanes are to be woken.
pub(super) fn add_woken(wake: &ToWake, arguments: &mut PgArguments) -> sqlx::Result<()> {
    let mut woken: Vec<Uuid> =
        wake.endpoints.iter().chain(&wake.for_test).map(|endpoint| endpoint.0).collect();
    // Rows are locked in one order by all.
    woken.sort_unstable();
    woken.dedup();
    arguments.add(woken).map_err(sqlx::Error::Encode)
}

struct TenantCount<'a>(TenantId, i64, Option<&'a str>);

impl Composite for TenantCount<'_> {
    const TYPE: &'static str = "tenant_count";

    fn write(&self, fields: &mut Fields<'_>) -> Result<(), BoxDynError> {
        fields.encode(self.0.0)?.encode(self.1)?.encode(self.2)?;
        Ok(())
    }
}

struct EventRow<'a> {
    new: &'a NewEvent,
    publish: &'a Publish,
}

impl Composite for EventRow<'_> {
    const TYPE: &'static str = "event_to_come";

    fn write(&self, fields: &mut Fields<'_>) -> Result<(), BoxDynError> {
        let Self { new: NewEvent { event, place, back, matched, .. }, publish } = self;
        fields
            .encode(event.id.0)?
            .encode(event.project.0)?
            .encode(event.tenant.0)?
            .encode(*place)?
            .encode(*back)?
            .encode(event.occurred_at.as_micros())?
            .encode(event.revision.map(|revision| revision as i64))?
            .encode(event.schema_version as i32)?
            .encode(event.test)?
            .encode(event.event_type.as_str())?
            .encode(event.subject.as_str())?
            .encode(publish.ordering_key.as_ref().map(OrderingKey::as_str))?
            .encode(rows::labels_to_text(&event.labels))?
            .encode(rows::unmatched_to_text(&matched.unmatched))?
            .encode(publish.data.as_bytes())?
            .encode(matched.older.to_stored())?;
        Ok(())
    }
}

struct KeyRow<'a> {
    new: &'a NewEvent,
    key_use: &'a KeyUse,
}

impl Composite for KeyRow<'_> {
    const TYPE: &'static str = "new_key";

    fn write(&self, fields: &mut Fields<'_>) -> Result<(), BoxDynError> {
        let Self { new: NewEvent { event, place, back, .. }, key_use } = self;
        fields
            .encode(event.project.0)?
            .encode(key_use.key.as_str())?
            .encode(key_use.fingerprint.as_slice())?
            .encode(event.id.0)?
            .encode(*place)?
            .encode(*back)?
            .encode(key_use.expires_at.as_micros())?;
        Ok(())
    }
}

/// A delivery of an event. Its number in an order is the last of the place, less
/// so many.
pub(super) struct DeliveryRow<'a> {
    pub(super) new: &'a NewDelivery,
    pub(super) event: &'a Event,
    pub(super) place: i32,
    pub(super) back: i64,
}

impl Composite for DeliveryRow<'_> {
    const TYPE: &'static str = "delivery_to_come";

    fn write(&self, fields: &mut Fields<'_>) -> Result<(), BoxDynError> {
        let Self { new, event, place, back } = self;
        let order_key = new.order_key(event);
        fields
            .encode(new.id.0)?
            .encode(event.project.0)?
            .encode(event.tenant.0)?
            .encode(new.endpoint.0)?
            .encode(event.id.0)?
            .encode(new.due_at().as_micros())?
            .encode(new.claimed().map(|epoch| epoch.0))?
            .encode(new.trigger.code() as i16)?
            .encode(new.form.stored_name())?
            .encode(new.form.public_url())?
            .encode(order_key)?
            // Without an order, no number: nothing is counted with null.
            .encode(order_key.map(|_| *place))?
            .encode(*back)?;
        Ok(())
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
        .filter_map(|(i, publish)| Some((i, publish, publish.key_use.as_ref()?)))
        .collect();
    let projects: Vec<Uuid> = keyed.iter().map(|(_, publish, _)| publish.project.0).collect();
    let keys: Vec<&str> = keyed.iter().map(|(_, _, key_use)| key_use.key.as_str()).collect();
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
        let same =
            publishes[place].key_use.as_ref().is_some_and(|key_use| key_use.fingerprint == *fingerprint);
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
