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
use model::replay::later_delivery;
use serde_json::Value;

use super::Shared;
use super::fan_out::{self, FanOut, LateTarget};
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
    /// Those that get it with the commit of the event.
    pub(super) wanted: Vec<Target>,
    pub(super) unmatched: Vec<Unmatched>,
    /// Those that get it in further parts.
    pub(super) late: Vec<LateTarget>,
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
        return Ok(Targets { wanted, unmatched: Vec::new(), late: Vec::new(), older: OlderData::default() });
    }
    let mut targets = Targets {
        wanted: Vec::with_capacity(endpoints.len()),
        unmatched: Vec::new(),
        late: Vec::new(),
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
    targets.late = fan_out::split_off_late(&mut targets.wanted);
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
    /// When it is made.
    pub(super) at: Timestamp,
    /// The data for its lane, if it is not the event's own.
    data: Option<EventData>,
    called: bool,
}

/// What a delivery is made of, beside its target.
#[derive(Clone, Copy)]
pub(super) struct Contents<'a> {
    /// The publisher's bytes.
    pub(super) data: &'a EventData,
    /// The same in the versions that endpoints get.
    pub(super) older: &'a OlderData,
    pub(super) trigger: Trigger,
    /// When the delivery is made.
    pub(super) at: Timestamp,
}

impl NewDelivery {
    /// With a place in its lane, if this process can give it one.
    pub(super) fn new(contents: Contents<'_>, target: &Target, shared: &Shared) -> Self {
        let Contents { data, older, trigger, at } = contents;
        let id = next_id!(DeliveryId, shared.surroundings);
        let mut new = Self::in_store(id, trigger, at, target, shared);
        new.data = target.version.and_then(|version| older.get(version)).cloned();
        // A test goes through the store, where it stands before all that is
        // held; what has an order, because only the store knows what stands
        // before it.
        if new.called && !new.ordered && trigger != Trigger::Test {
            let bytes = new.data.as_ref().unwrap_or(data).as_bytes().len();
            new.claimed = shared.hand_off.get().reserve(new.endpoint, bytes);
        }
        new
    }

    /// Of an event that was written before. It goes through the store: it may be
    /// there already, by a replay.
    pub(super) fn late(event: EventId, at: Timestamp, target: &Target, shared: &Shared) -> Self {
        let id = later_delivery(event, target.live.endpoint.id);
        Self::in_store(id, Trigger::Automatic, at, target, shared)
    }

    fn in_store(id: DeliveryId, trigger: Trigger, at: Timestamp, target: &Target, shared: &Shared) -> Self {
        let Target { live, version } = target;
        let endpoint = live.endpoint.id;
        let form = PayloadForm::new(live.endpoint.payload, live.endpoint.calls.format, &shared.public_url);
        Self {
            id,
            endpoint,
            form: form.in_version(*version),
            data: None,
            claimed: None,
            trigger,
            ordered: live.endpoint.calls.ordering == Ordering::PerKey && trigger != Trigger::Test,
            at,
            called: shared.configuration.is_called(endpoint).unwrap_or(false),
        }
    }

    /// At once. A test is due before everything else, so that it can be
    /// claimed alone while all else is held.
    pub(super) fn due_at(&self) -> Timestamp {
        if self.trigger == Trigger::Test { Timestamp::EPOCH } else { self.at }
    }

    /// Its place in a lane of this process, if it has one.
    #[allow(dead_code, reason = "one backend only counts what it hands over")]
    pub(super) fn reservation(&self, data: &EventData) -> Option<Reservation> {
        let data = self.data.as_ref().unwrap_or(data);
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
            spent: Spent { tries: 0, rejections: 0, since: self.at },
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
    /// Adds others.
    #[allow(dead_code, reason = "one backend writes parts of events by themselves")]
    pub(super) fn extend(&mut self, other: Self) {
        self.endpoints.extend(other.endpoints);
        self.for_test.extend(other.for_test);
    }

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

/// What is to be told, and to be gone on with, when events are committed.
#[derive(Default)]
pub(super) struct Effects {
    /// Deliveries with a reserved place in a lane of this process.
    pub(super) ready: Vec<ReadyDelivery>,
    /// Endpoints with new work in the store.
    pub(super) wake: ToWake,
    /// Events of which a part is written.
    pub(super) fan_outs: Vec<FanOut>,
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
