//! From a publish to its event and deliveries, in memory.

use std::cell::LazyCell;
use std::sync::Arc;

use model::attempt::Trigger;
use model::calls::Ordering;
use model::catalogue::EventTypeEntry;
use model::clock::Timestamp;
use model::endpoint::NoMatch;
use model::event::{Event, EventData, OlderData};
use model::failure::Spent;
use model::filter::Candidate;
use model::ids::{DeliveryId, EndpointId, EventId};
use model::names::OrderingKey;
use model::payload::PayloadForm;
use serde_json::Value;

use super::Shared;
use crate::configuration::LiveEndpoint;
use crate::events::{Publish, Published, Unmatched};
use crate::hand_off::{HandOff, ReadyDelivery, Reservation};
use crate::lanes::Epoch;
use crate::surroundings::next_id;

/// An event lists at most so many endpoints that did not get it.
const MAX_UNMATCHED: usize = 100;

/// An endpoint that wants an event.
pub(super) struct Target {
    pub(super) live: Arc<LiveEndpoint>,
    /// The version that it gets, if that is older than the event's.
    pub(super) version: Option<u32>,
}

/// The endpoints that want an event, and those that do not.
pub(super) struct Targets {
    pub(super) wanted: Vec<Target>,
    pub(super) unmatched: Vec<Unmatched>,
    /// The data in the versions that they get.
    pub(super) older: OlderData,
}

/// Matches a publish with the endpoints of its tenant.
pub(super) fn find_targets(shared: &Shared, publish: &Publish) -> Result<Targets, Published> {
    let Some(endpoints) = shared.configuration.endpoints_of(publish.tenant) else {
        return Err(Published::UnknownTenant);
    };
    if let Some(test) = publish.test {
        let wanted = endpoints.into_iter().filter(|live| live.endpoint.id == test);
        let wanted: Vec<_> = wanted.map(|live| Target { live, version: None }).collect();
        if wanted.is_empty() {
            return Err(Published::UnknownEndpoint);
        }
        return Ok(Targets { wanted, unmatched: Vec::new(), older: OlderData::default() });
    }
    let mut targets = Targets {
        wanted: Vec::with_capacity(endpoints.len()),
        unmatched: Vec::new(),
        older: OlderData::default(),
    };
    let entry = shared.configuration.event_type(publish.project, &publish.event_type);
    // Read once, and only if a filter looks at it.
    let data = LazyCell::new(|| publish.data.to_value());
    for live in endpoints {
        let candidate = || Candidate {
            event_type: &publish.event_type,
            subject: &publish.subject,
            labels: &publish.labels,
            data: None,
        };
        let wants = live.endpoint.wants(entry.as_deref(), &publish.event_type, publish.schema_version);
        let wants = wants.and_then(|version| {
            passes_filter(&live, candidate(), &data)?;
            give_in_version(&mut targets.older, entry.as_deref(), publish, version)
        });
        match wants {
            Ok(version) => targets.wanted.push(Target { live, version }),
            Err(reason) if targets.unmatched.len() < MAX_UNMATCHED => {
                let endpoint = live.endpoint.id;
                targets.unmatched.push(Unmatched { endpoint, reason: reason.as_str().to_owned() });
            }
            Err(_) => {}
        }
    }
    Ok(targets)
}

/// Sees to it that the data is there in a version; gives the version if it is
/// not the event's own.
fn give_in_version(
    older: &mut OlderData,
    entry: Option<&EventTypeEntry>,
    publish: &Publish,
    version: u32,
) -> Result<Option<u32>, NoMatch> {
    if version == publish.schema_version {
        return Ok(None);
    }
    if older.get(version).is_none() {
        let text = match publish.older.get(version) {
            Some(data) => String::from_utf8_lossy(data.as_bytes()).into_owned(),
            None => {
                let entry = entry.ok_or(NoMatch::SchemaVersion)?;
                downgraded(entry, &publish.data, publish.schema_version, version)?
            }
        };
        older.add(version, text);
    }
    Ok(Some(version))
}

/// Data of one version in an older one.
pub(super) fn downgraded(
    entry: &EventTypeEntry,
    data: &EventData,
    from: u32,
    to: u32,
) -> Result<String, NoMatch> {
    let text = std::str::from_utf8(data.as_bytes()).map_err(|_| NoMatch::DowngradeFailed)?;
    entry.downgraded(text, from, to).map_err(|_| NoMatch::DowngradeFailed)
}

/// In which version an endpoint would get an event that is there already.
pub(super) fn would_get(
    live: &LiveEndpoint,
    entry: Option<&EventTypeEntry>,
    event: &Event,
    data: &LazyCell<Option<Value>, impl FnOnce() -> Option<Value>>,
) -> Result<u32, NoMatch> {
    let version = live.endpoint.wants(entry, &event.event_type, event.schema_version)?;
    let Event { event_type, subject, labels, .. } = event;
    passes_filter(live, Candidate { event_type, subject, labels, data: None }, data)?;
    Ok(version)
}

/// Whether a candidate passes the endpoint's filter; `data` is read only for a
/// filter that looks at it.
fn passes_filter<'a>(
    live: &LiveEndpoint,
    candidate: Candidate<'a>,
    data: &'a LazyCell<Option<Value>, impl FnOnce() -> Option<Value>>,
) -> Result<(), NoMatch> {
    let Some(filter) = &live.endpoint.calls.filter else { return Ok(()) };
    let data = if filter.reads_data() { data.as_ref() } else { None };
    if filter.passes(&Candidate { data, ..candidate }) { Ok(()) } else { Err(NoMatch::Filter) }
}

/// The event that a publish becomes.
pub(super) fn new_event(publish: &Publish, sequence: u64, now: Timestamp, shared: &Shared) -> Event {
    Event {
        id: next_id!(EventId, shared.surroundings),
        project: publish.project,
        tenant: publish.tenant,
        event_type: publish.event_type.clone(),
        schema_version: publish.schema_version,
        subject: publish.subject.clone(),
        revision: publish.revision,
        occurred_at: publish.occurred_at.unwrap_or(now),
        ordering_key: publish.ordering_key.clone().unwrap_or_else(|| {
            OrderingKey::parse(publish.subject.as_str()).expect("a subject is an ordering key")
        }),
        labels: publish.labels.clone(),
        sequence,
        test: publish.test.is_some(),
        created_at: now,
    }
}

/// A delivery that is to be written.
pub(super) struct NewDelivery {
    pub(super) id: DeliveryId,
    pub(super) endpoint: EndpointId,
    pub(super) form: PayloadForm,
    /// The lane of this process that has a place for it.
    pub(super) claimed: Option<Epoch>,
    pub(super) trigger: Trigger,
    /// Whether it goes in the order of its key.
    pub(super) ordered: bool,
    /// The data, if it is not the event's own.
    data: Option<EventData>,
    called: bool,
}

impl NewDelivery {
    /// With a place in its lane, if this process can give it one.
    pub(super) fn new(publish: &Publish, target: &Target, older: &OlderData, shared: &Shared) -> Self {
        let Target { live, version } = target;
        let endpoint = live.endpoint.id;
        let trigger = if publish.test.is_some() { Trigger::Test } else { Trigger::Automatic };
        let called = shared.configuration.is_called(endpoint).unwrap_or(false);
        let ordered = live.endpoint.calls.ordering == Ordering::PerKey && trigger != Trigger::Test;
        // A test goes through the store, where it stands before all that is
        // held; what has an order, because only the store knows what stands
        // before it.
        let direct = called && !ordered && trigger != Trigger::Test;
        let data = version.and_then(|version| older.get(version)).cloned();
        let bytes = data.as_ref().unwrap_or(&publish.data).as_bytes().len();
        let form = PayloadForm::new(live.endpoint.payload, live.endpoint.calls.format, &shared.public_url);
        Self {
            id: next_id!(DeliveryId, shared.surroundings),
            endpoint,
            form: form.in_version(*version),
            data,
            claimed: if direct { shared.hand_off.get().reserve(endpoint, bytes) } else { None },
            trigger,
            ordered,
            called,
        }
    }

    /// At once. A test is due before everything else, so that it can be
    /// claimed alone while all else is held.
    pub(super) fn due_at(&self, now: Timestamp) -> Timestamp {
        if self.trigger == Trigger::Test { Timestamp::EPOCH } else { now }
    }

    /// Its place in a lane of this process, if it has one.
    #[allow(dead_code, reason = "one backend only counts what it hands over")]
    pub(super) fn reservation(&self, publish: &Publish) -> Option<Reservation> {
        let data = self.data.as_ref().unwrap_or(&publish.data);
        let (endpoint, bytes) = (self.endpoint, data.as_bytes().len());
        Some(Reservation { endpoint, epoch: self.claimed?, bytes })
    }

    /// The key of its order, if it has one.
    pub(super) fn order_key<'e>(&self, event: &'e Event) -> Option<&'e str> {
        self.ordered.then(|| event.ordering_key.as_str())
    }

    /// What goes straight into the lane that has a place for it.
    pub(super) fn ready(&self, event: &Arc<Event>, data: &EventData) -> Option<ReadyDelivery> {
        Some(ReadyDelivery {
            id: self.id,
            endpoint: self.endpoint,
            epoch: self.claimed?,
            event: Arc::clone(event),
            data: self.data.as_ref().unwrap_or(data).clone(),
            form: self.form.clone(),
            attempts: 0,
            spent: Spent { tries: 0, rejections: 0, since: event.created_at },
            trigger: self.trigger,
            last_error: None,
            ordered: false,
        })
    }
}

/// Endpoints that got work through the store.
#[derive(Debug, Default)]
pub(super) struct ToWake {
    pub(super) endpoints: Vec<EndpointId>,
    /// Those that got a test, which passes holds.
    pub(super) for_test: Vec<EndpointId>,
}

impl ToWake {
    pub(super) fn of<'a>(deliveries: impl Iterator<Item = &'a NewDelivery>) -> Self {
        let unclaimed = deliveries.filter(|new| new.claimed.is_none());
        // What waits for a paused endpoint waits until it is enabled.
        let moving = unclaimed.filter(|new| new.called || new.trigger == Trigger::Test);
        let (tests, others): (Vec<_>, Vec<_>) = moving.partition(|new| new.trigger == Trigger::Test);
        let distinct = |deliveries: Vec<&NewDelivery>| {
            let mut endpoints: Vec<EndpointId> = deliveries.into_iter().map(|new| new.endpoint).collect();
            endpoints.sort_unstable();
            endpoints.dedup();
            endpoints
        };
        Self { endpoints: distinct(others), for_test: distinct(tests) }
    }
}

/// What is to be told when events are committed.
#[derive(Default)]
pub(super) struct Effects {
    /// Deliveries with a reserved place in a lane of this process.
    pub(super) ready: Vec<ReadyDelivery>,
    /// Endpoints with new work in the store.
    pub(super) wake: ToWake,
}

impl Effects {
    pub(super) fn tell(self, hand_off: &dyn HandOff) {
        if !self.ready.is_empty() {
            hand_off.hand_over(self.ready);
        }
        if !self.wake.endpoints.is_empty() {
            hand_off.wake(&self.wake.endpoints);
        }
        for endpoint in self.wake.for_test {
            hand_off.wake_for_test(endpoint);
        }
    }
}

/// What becomes of a publish whose key another of the same group has as well.
pub(super) fn twin(publish: &Publish, first: &Publish, result: Option<&Published>) -> Published {
    let fingerprint = |publish: &Publish| publish.claim.as_ref().map(|claim| claim.fingerprint);
    match result {
        Some(Published::Accepted { event, sequence, .. }) if fingerprint(publish) == fingerprint(first) => {
            Published::Repeated { event: *event, sequence: *sequence }
        }
        _ => Published::KeyReused,
    }
}
