//! Events for more endpoints than one transaction gives them to.
//!
//! With the event goes the first part of its deliveries, and a mark that says
//! for whom the others are: from then on they are owed, and the publisher has
//! its answer. Each further part is a transaction of its own, so that others
//! wait for one part and never for all of them. It moves the mark on, and writes
//! only if the mark stands where it expects it, so that each part is written
//! once, whoever does it. An endpoint that got the event meanwhile by a replay
//! does not get it twice. A mark that nobody moves any more was left behind by a
//! process that ended or failed; any other goes on from there.

use std::sync::Arc;

use model::calls::Ordering;
use model::event::Event;
use model::ids::EndpointId;
use uuid::Uuid;

use super::decide::NewDelivery;
use super::matching::Target;
use crate::queue::PART;
use crate::shared::Shared;

/// An endpoint that gets an event in a later part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LateTarget {
    endpoint: EndpointId,
    /// The version that it gets, if that is older than the event's.
    version: Option<u32>,
}

/// Splits off those for which there is no room in the first part. Those that get
/// events in order are in the first one, however many they are: what comes
/// after it in their order may be written by another process meanwhile.
pub(super) fn split_off_late(wanted: &mut Vec<Target>) -> Vec<LateTarget> {
    if wanted.len() <= PART {
        return Vec::new();
    }
    let is_late = |target: &Target| target.live.endpoint.calls.ordering != Ordering::PerKey;
    wanted.sort_by_key(is_late);
    let in_order = wanted.partition_point(|target| !is_late(target));
    let late = wanted.split_off(in_order.max(PART));
    late.into_iter()
        .map(|target| LateTarget { endpoint: target.live.endpoint.id, version: target.version })
        .collect()
}

/// An event of which a part is written. `K` is what rows know it by.
pub(crate) struct FanOut<K> {
    pub(crate) event: Arc<Event>,
    pub(crate) key: K,
    targets: Arc<[LateTarget]>,
    /// To how many of them it is given.
    pub(crate) written: usize,
}

impl<K> FanOut<K> {
    /// With so many of the targets done; `None` if that is all.
    pub(crate) fn new(
        event: &Arc<Event>,
        key: K,
        targets: Arc<[LateTarget]>,
        written: usize,
    ) -> Option<Self> {
        (written < targets.len()).then(|| Self { event: Arc::clone(event), key, targets, written })
    }

    /// How many are given the event when the next part is written.
    pub(crate) fn written_then(&self) -> usize {
        (self.written + PART).min(self.targets.len())
    }

    /// Whether the next part is the last one.
    pub(crate) fn ends(&self) -> bool {
        self.written_then() == self.targets.len()
    }

    fn part(&self) -> &[LateTarget] {
        &self.targets[self.written..self.written_then()]
    }

    /// The deliveries of the next part. An endpoint that was deleted meanwhile
    /// has none.
    pub(crate) fn next_part<E>(&self, shared: &Shared<E>) -> Vec<NewDelivery> {
        let now = shared.env.now();
        let late = |late: &LateTarget| {
            let live = shared.configuration.endpoint(late.endpoint)?;
            Some(NewDelivery::late(self.event.id, now, &Target { live, version: late.version }, shared))
        };
        self.part().iter().filter_map(late).collect()
    }

    /// What is left to do after the next part.
    pub(crate) fn moved_on(self) -> Option<Self> {
        (!self.ends()).then(|| Self { written: self.written_then(), ..self })
    }
}

/// Bytes of a target as it is stored: an id, and a version, or 0.
const STORED: usize = 20;

impl LateTarget {
    /// The targets as they are stored.
    pub(crate) fn to_stored(targets: &[Self]) -> Vec<u8> {
        let mut stored = Vec::with_capacity(targets.len() * STORED);
        for target in targets {
            stored.extend_from_slice(target.endpoint.0.as_bytes());
            stored.extend_from_slice(&target.version.unwrap_or(0).to_be_bytes());
        }
        stored
    }

    /// What a store kept; `None` if that ends within a target.
    pub(crate) fn from_stored(stored: &[u8]) -> Option<Vec<Self>> {
        let (targets, rest) = stored.as_chunks::<STORED>();
        let target = |stored: &[u8; STORED]| {
            let (id, version) = stored.split_first_chunk::<16>()?;
            let version = u32::from_be_bytes(version.try_into().ok()?);
            let endpoint = EndpointId(Uuid::from_bytes(*id));
            Some(Self { endpoint, version: (version != 0).then_some(version) })
        };
        if rest.is_empty() { targets.iter().map(target).collect() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_back_and_a_part_of_one_is_not() {
        let target = |n, version| LateTarget { endpoint: EndpointId(Uuid::from_u128(n)), version };
        let targets = vec![target(1, None), target(u128::MAX, Some(7))];
        let stored = LateTarget::to_stored(&targets);
        assert_eq!(LateTarget::from_stored(&stored), Some(targets));
        assert_eq!(LateTarget::from_stored(&stored[1..]), None);
    }
}
