//! The event that a publish becomes, and its deliveries.

use std::sync::Arc;

use model::attempt::Trigger;
use model::calls::Ordering;
use model::clock::Timestamp;
use model::event::{Event, EventData, OlderData};
use model::failure::Spent;
use model::ids::{DeliveryId, EndpointId, EventId};
use model::names::OrderingKey;
use model::payload::PayloadForm;
use model::replay::later_delivery;

use super::matching::Target;
use super::place::Place;
use crate::events::{Publish, Published};
use crate::hand_off::{Fate, ReadyDelivery};
use crate::lanes::Epoch;
use crate::shared::Shared;

/// The event that a publish becomes.
pub(crate) fn new_event<E>(publish: &Publish, sequence: u64, now: Timestamp, shared: &Shared<E>) -> Event {
    Event {
        id: shared.env.new_id::<EventId>(),
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
pub(crate) struct NewDelivery {
    pub(crate) id: DeliveryId,
    pub(crate) endpoint: EndpointId,
    pub(crate) form: PayloadForm,
    pub(crate) trigger: Trigger,
    /// Whether it goes in the order of its key.
    pub(crate) ordered: bool,
    /// When it is made.
    pub(crate) at: Timestamp,
    /// Whether its endpoint is called at present.
    pub(super) called: bool,
    /// In the lane of this process, if there is one for it.
    place: Option<Place>,
    /// The data for its lane, if it is not the event's own.
    data: Option<EventData>,
}

/// What a delivery is made of, beside its target.
#[derive(Clone, Copy)]
pub(crate) struct Contents<'a> {
    /// The publisher's bytes.
    pub(crate) data: &'a EventData,
    /// The same in the versions that endpoints get.
    pub(crate) older: &'a OlderData,
    pub(crate) trigger: Trigger,
    /// When the delivery is made.
    pub(crate) at: Timestamp,
}

impl<'a> Contents<'a> {
    /// Those of an event that is being published.
    pub(crate) fn of(publish: &'a Publish, older: &'a OlderData, at: Timestamp) -> Self {
        let trigger = if publish.test.is_some() { Trigger::Test } else { Trigger::Automatic };
        Self { data: &publish.data, older, trigger, at }
    }
}

impl NewDelivery {
    /// With a place in its lane, if this process can give it one.
    pub(crate) fn new<E>(contents: Contents<'_>, target: &Target, shared: &Shared<E>) -> Self {
        let Contents { data, older, trigger, at } = contents;
        let id = shared.env.new_id::<DeliveryId>();
        let mut new = Self::in_store(id, trigger, at, target, shared);
        new.data = target.version.and_then(|version| older.get(version)).cloned();
        // A test goes through the store, where it stands before all that is
        // held; what has an order, because only the store knows what stands
        // before it.
        if new.called && !new.ordered && trigger != Trigger::Test {
            let bytes = new.data.as_ref().unwrap_or(data).as_bytes().len();
            new.place = Place::reserve(shared.hand_off.get(), new.endpoint, bytes);
        }
        new
    }

    /// Of an event that was written before. It goes through the store: it may be
    /// there already, by a replay.
    pub(super) fn late<E>(event: EventId, at: Timestamp, target: &Target, shared: &Shared<E>) -> Self {
        let id = later_delivery(event, target.live.endpoint.id);
        Self::in_store(id, Trigger::Automatic, at, target, shared)
    }

    fn in_store<E>(
        id: DeliveryId,
        trigger: Trigger,
        at: Timestamp,
        target: &Target,
        shared: &Shared<E>,
    ) -> Self {
        let Target { live, version } = target;
        let endpoint = live.endpoint.id;
        let form = PayloadForm::new(live.endpoint.payload, live.endpoint.calls.format, &shared.public_url);
        Self {
            id,
            endpoint,
            form: form.in_version(*version),
            trigger,
            ordered: live.endpoint.calls.ordering == Ordering::PerKey && trigger != Trigger::Test,
            at,
            called: shared.configuration.is_called(endpoint).unwrap_or(false),
            place: None,
            data: None,
        }
    }

    /// At once. A test is due before everything else, so that it can be
    /// claimed alone while all else is held.
    pub(crate) fn due_at(&self) -> Timestamp {
        if self.trigger == Trigger::Test { Timestamp::EPOCH } else { self.at }
    }

    /// In whose hands it is: the lane of this process that has a place for it.
    pub(crate) fn claimed(&self) -> Option<Epoch> {
        self.place.as_ref().map(Place::epoch)
    }

    /// The key of its order, if it has one.
    pub(crate) fn order_key<'e>(&self, event: &'e Event) -> Option<&'e str> {
        self.ordered.then(|| event.ordering_key.as_str())
    }

    /// What is known of it if nothing more is heard.
    pub(crate) fn set_fate(&mut self, fate: Fate) {
        if let Some(place) = &mut self.place {
            place.set_fate(fate);
        }
    }

    /// What goes straight into the lane, with its place there.
    pub(super) fn handed_over(self, event: &Arc<Event>, data: &EventData) -> Option<(Place, ReadyDelivery)> {
        let place = self.place?;
        let ready = ReadyDelivery {
            id: self.id,
            endpoint: self.endpoint,
            epoch: place.epoch(),
            event: Arc::clone(event),
            data: self.data.unwrap_or_else(|| data.clone()),
            form: self.form,
            attempts: 0,
            spent: Spent { tries: 0, rejections: 0, since: self.at },
            trigger: self.trigger,
            last_error: None,
            ordered: false,
        };
        Some((place, ready))
    }
}

/// What becomes of a publish whose key another of the same group has as well.
pub(crate) fn twin(publish: &Publish, first: &Publish, result: Option<&Published>) -> Published {
    let fingerprint = |publish: &Publish| publish.key_use.as_ref().map(|key_use| key_use.fingerprint);
    match result {
        Some(Published::Accepted { event, sequence, .. }) if fingerprint(publish) == fingerprint(first) => {
            Published::Repeated { event: *event, sequence: *sequence }
        }
        _ => Published::KeyReused,
    }
}
