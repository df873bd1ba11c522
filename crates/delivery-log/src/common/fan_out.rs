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

use sqlx::Row as _;

use model::calls::Ordering;
use model::clock::Timestamp;
use model::event::Event;
use model::ids::EndpointId;
use uuid::Uuid;

use super::matching::{NewDelivery, Target};
use super::{Connection, EventKey, Row, Shared, rows, statements};
use crate::queue::PART;

/// An endpoint that gets an event in a later part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LateTarget {
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
    wanted.sort_by_key(|target| target.live.endpoint.calls.ordering != Ordering::PerKey);
    let in_order = wanted.partition_point(|target| target.live.endpoint.calls.ordering == Ordering::PerKey);
    let late = wanted.split_off(in_order.clamp(PART, wanted.len()));
    late.into_iter()
        .map(|target| LateTarget { endpoint: target.live.endpoint.id, version: target.version })
        .collect()
}

/// An event of which a part is written.
#[derive(Clone)]
pub(super) struct FanOut {
    pub(super) event: Arc<Event>,
    /// What rows know the event by.
    pub(super) key: EventKey,
    targets: Arc<[LateTarget]>,
    /// To how many of them it is given.
    pub(super) written: usize,
}

impl FanOut {
    /// With nothing written but the first part; `None` if that is all.
    pub(super) fn new(event: &Arc<Event>, key: EventKey, late: Vec<LateTarget>) -> Option<Self> {
        (!late.is_empty()).then(|| Self { event: Arc::clone(event), key, targets: late.into(), written: 0 })
    }

    /// How many are given the event when the next part is written.
    pub(super) fn written_then(&self) -> usize {
        (self.written + PART).min(self.targets.len())
    }

    /// Whether the next part is the last one.
    pub(super) fn ends(&self) -> bool {
        self.written_then() == self.targets.len()
    }

    fn part(&self) -> &[LateTarget] {
        &self.targets[self.written..self.written_then()]
    }

    /// Whether an endpoint of the next part is not known here.
    #[allow(dead_code, reason = "one backend knows all endpoints when it writes")]
    pub(super) fn has_unknown_target(&self, shared: &Shared) -> bool {
        self.part().iter().any(|late| shared.configuration.endpoint(late.endpoint).is_none())
    }

    /// The deliveries of the next part. An endpoint that was deleted meanwhile
    /// has none.
    pub(super) fn next_part(&self, shared: &Shared) -> Vec<NewDelivery> {
        let now = shared.surroundings.now();
        let late = |late: &LateTarget| {
            let live = shared.configuration.endpoint(late.endpoint)?;
            Some(NewDelivery::late(self.event.id, now, &Target { live, version: late.version }, shared))
        };
        self.part().iter().filter_map(late).collect()
    }

    /// What is left to do after the next part.
    pub(super) fn moved_on(self) -> Option<Self> {
        (!self.ends()).then(|| Self { written: self.written_then(), ..self })
    }
}

/// Bytes of a target as it is stored: an id, and a version, or 0.
const STORED: usize = 20;

/// The targets as they are stored.
pub(super) fn to_stored(targets: &[LateTarget]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(targets.len() * STORED);
    for target in targets {
        stored.extend_from_slice(target.endpoint.0.as_bytes());
        stored.extend_from_slice(&target.version.unwrap_or(0).to_be_bytes());
    }
    stored
}

fn from_stored(stored: &[u8]) -> Option<Vec<LateTarget>> {
    let (targets, rest) = stored.as_chunks::<STORED>();
    let target = |stored: &[u8; STORED]| {
        let (id, version) = stored.split_first_chunk::<16>()?;
        let version = u32::from_be_bytes(version.try_into().ok()?);
        Some(LateTarget {
            endpoint: EndpointId(Uuid::from_bytes(*id)),
            version: (version != 0).then_some(version),
        })
    };
    if rest.is_empty() { targets.iter().map(target).collect() } else { None }
}

/// What was not gone on with since a time, oldest first.
pub(super) async fn unmoved(
    connection: &mut Connection,
    since: Timestamp,
    limit: u32,
) -> sqlx::Result<Vec<FanOut>> {
    let query = sqlx::query(statements::UNMOVED_FAN_OUTS).bind(since.as_micros()).bind(i64::from(limit));
    query.fetch_all(connection).await?.iter().map(fan_out).collect()
}

fn fan_out(row: &Row) -> sqlx::Result<FanOut> {
    let targets = from_stored(row.try_get("targets")?);
    Ok(FanOut {
        event: Arc::new(rows::event(row)?),
        key: row.try_get("key")?,
        targets: targets.ok_or_else(|| rows::broken("targets", "a part of a target"))?.into(),
        written: rows::count(row, "written")? as usize,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_back_and_a_part_of_one_is_not() {
        let target = |n, version| LateTarget { endpoint: EndpointId(Uuid::from_u128(n)), version };
        let targets = vec![target(1, None), target(u128::MAX, Some(7))];
        let stored = to_stored(&targets);
        assert_eq!(from_stored(&stored), Some(targets));
        assert_eq!(from_stored(&stored[1..]), None);
    }
}
