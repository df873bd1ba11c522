//! Replays: jobs that send many past deliveries of one endpoint again.

mod filter;
mod progress;
mod resend;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::HeldBy;
use crate::ids::{DeliveryId, EndpointId, EventId, ProjectId, ReplayId, TenantId};

pub use filter::ReplayFilter;
pub use progress::{Ends, NextStep, PartSent, Progress};
pub use resend::{before_resend, resent_for};

/// How many deliveries one replay sends at most, and unless it says less.
pub const MAX_SENT: u32 = 100_000;
/// How many events a replay of what is missing looks at; beyond, it is to be narrowed.
pub const MAX_LOOKED_AT: u32 = 500_000;
/// The rates that a replay may have, in deliveries a second.
pub const RATES: RangeInclusive<u32> = 1..=1_000;
/// The rate of a replay that names none.
pub const DEFAULT_RATE: u32 = 50;
/// How long ended replays are kept.
pub const KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

crate::words!(
    /// What a replay sends.
    ReplayMode {
        /// Deliveries that failed.
        Failed = "failed" = 0,
        /// Events that the endpoint would get now and never got.
        Missing = "missing" = 1,
        /// Every delivery, whatever became of it.
        All = "all" = 2,
    }
);

crate::words!(
    /// How a replay stands.
    ReplayState {
        /// It sends, or waits for what it sent to end.
        Running = "running" = 0,
        /// It sends nothing until it is resumed.
        Paused = "paused" = 1,
        /// Everything was sent and has ended.
        Completed = "completed" = 2,
        /// It was withdrawn; what was sent goes its way.
        Canceled = "canceled" = 3,
        /// It could not go on; `detail` says why.
        Failed = "failed" = 4,
    }
);

impl ReplayState {
    /// Whether nothing more comes of it.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Canceled | Self::Failed)
    }
}

/// A replay as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// The project.
    pub project: ProjectId,
    /// The tenant of the endpoint.
    pub tenant: TenantId,
    /// To where it sends.
    pub endpoint: EndpointId,
    /// What it sends.
    pub mode: ReplayMode,
    /// What it is about.
    pub filter: ReplayFilter,
    /// How many deliveries it sends in a second.
    pub rate_per_second: u32,
    /// How many it sends at most.
    pub max: u32,
    /// Why somebody wanted it.
    pub reason: String,
    /// How it stands.
    pub state: ReplayState,
    /// Why it paused or failed by itself.
    pub detail: Option<String>,
    /// How many there were to be sent when it began.
    pub matched: u32,
    /// How many were sent.
    pub sent: u32,
    /// How many were passed over: they had been sent or purged meanwhile.
    pub skipped: u32,
    /// How many of those sent were delivered.
    pub delivered: u32,
    /// How many of those sent failed.
    pub failed: u32,
    /// How many of those sent wait, and for what.
    pub waiting: Waiting,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What waits of what a replay has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// For its turn, or its call is under way.
    pub queued: u32,
    /// For its next try, after one that failed.
    pub retrying: u32,
    /// For the endpoint, because something holds all of its deliveries.
    pub held: u32,
    /// What that is.
    pub held_by: Option<HeldBy>,
}

impl Waiting {
    /// How many that are.
    pub fn total(&self) -> u32 {
        self.queued + self.retrying + self.held
    }
}

/// Where all deliveries of a replay are. They always add up to what matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub matched: u32,
    /// Sent by the replay: delivered, failed, waiting, or withdrawn since.
    pub sent: u32,
    /// Delivered.
    pub delivered: u32,
    /// Failed again.
    pub failed: u32,
    /// Sent, and on their way.
    pub waiting: u32,
    /// Passed over: they had been sent, delivered or purged meanwhile.
    pub skipped: u32,
    /// Withdrawn: canceled, with the replay or by themselves.
    pub withdrawn: u32,
    /// Still to be sent.
    pub remaining: u32,
}

impl Replay {
    /// Where all of its deliveries are.
    pub fn tally(&self) -> Tally {
        let Self { delivered, failed, skipped, .. } = *self;
        let waiting = self.waiting.total();
        // The numbers are read one after the other while it goes on.
        let sent = self.sent.max(delivered + failed + waiting);
        let matched = self.matched.max(sent + skipped);
        let left = matched - sent - skipped;
        let (remaining, unsent) = if self.state.is_ended() { (0, left) } else { (left, 0) };
        let withdrawn = sent - delivered - failed - waiting + unsent;
        Tally { matched, sent, delivered, failed, waiting, skipped, withdrawn, remaining }
    }
}

/// The id of a delivery that is made after the commit of its event: by a replay,
/// for an endpoint that never got the event, or in a later part of an event for
/// many endpoints.
///
/// It is the same whoever makes it, so that there are never two for the pair,
/// and it follows the event's within a millisecond, where a store looks for the
/// deliveries of an event.
pub fn later_delivery(event: EventId, endpoint: EndpointId) -> DeliveryId {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::new().chain_update(event.as_bytes()).chain_update(endpoint.as_bytes()).finalize();
    let millis = (event.0.as_u128() >> 80) as u64 + 1;
    let mut random = [0; 10];
    random.copy_from_slice(&digest[..10]);
    DeliveryId(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy as Seeded;
    use crate::ids::{Id as _, IdSource};

    /// A replay that has just been made.
    pub(super) fn replay() -> Replay {
        let (source, now) = (IdSource::new(), Timestamp::from_secs(1_000));
        Replay {
            id: ReplayId::next(&source, now, &Seeded::new(1)),
            project: ProjectId::next(&source, now, &Seeded::new(2)),
            tenant: TenantId::next(&source, now, &Seeded::new(3)),
            endpoint: EndpointId::next(&source, now, &Seeded::new(4)),
            mode: ReplayMode::All,
            filter: ReplayFilter::default(),
            rate_per_second: 1,
            max: 1,
            reason: String::new(),
            state: ReplayState::Running,
            detail: None,
            matched: 0,
            sent: 0,
            skipped: 0,
            delivered: 0,
            failed: 0,
            waiting: Waiting::default(),
            created_at: now,
            updated_at: now,
        }
    }

    proptest::proptest! {
        /// Whatever is read while a replay goes on, its numbers add up.
        #[test]
        fn the_numbers_of_a_replay_add_up(numbers: [u16; 8], state in 0_i64..5) {
            let [matched, sent, skipped, delivered, failed, queued, retrying, held] = numbers.map(u32::from);
            let replay = Replay {
                state: ReplayState::from_code(state).expect("a state"),
                matched,
                sent,
                skipped,
                delivered,
                failed,
                waiting: Waiting { queued, retrying, held, held_by: None },
                ..replay()
            };
            let tally = replay.tally();
            let all = tally.delivered + tally.failed + tally.waiting + tally.skipped + tally.withdrawn + tally.remaining;
            proptest::prop_assert_eq!(tally.matched, all);
            // Numbers of one moment are shown as they are.
            if sent >= delivered + failed + queued + retrying + held && matched >= sent + skipped {
                proptest::prop_assert_eq!((tally.matched, tally.sent), (matched, sent));
            }
            proptest::prop_assert!(tally.remaining == 0 || !replay.state.is_ended());
        }
    }

    #[test]
    fn the_delivery_of_a_missed_event_is_always_the_same_and_follows_the_event() {
        let (source, now) = (IdSource::new(), Timestamp::from_secs(1_000));
        let event = EventId::next(&source, now, &Seeded::new(1));
        let endpoint = EndpointId::next(&source, now, &Seeded::new(2));
        let other = EndpointId::next(&source, now, &Seeded::new(3));
        let delivery = later_delivery(event, endpoint);
        assert_eq!(delivery, later_delivery(event, endpoint));
        assert_ne!(delivery, later_delivery(event, other));
        assert!(delivery.0 > event.0 && delivery.0.as_u128() < event.0.as_u128() + (1_000 << 80));
        assert_eq!(delivery.0.get_version_num(), 7);
    }
}
