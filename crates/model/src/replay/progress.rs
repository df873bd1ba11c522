//! How a replay goes on, part by part.
//!
//! Nothing here is stored or sent: a store asks what is next, does it, and
//! writes down how the replay stands then.

use std::time::Duration;

use uuid::Uuid;

use super::{Replay, ReplayMode, ReplayState, Waiting};
use crate::clock::Timestamp;
use crate::delivery::HeldBy;
use crate::endpoint::EndpointStatus;

/// How many deliveries a part sends at most.
const PART: u32 = 250;
/// How often it is looked whether everything has ended that was sent.
const WATCH: Duration = Duration::from_secs(1);
/// Deliveries of a replay are due at moments so far apart: timers for each of
/// many would cost more than they are worth.
const STEP: Duration = Duration::from_millis(20);

/// What has become of the deliveries that a replay sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// Delivered.
    pub delivered: u32,
    /// Failed.
    pub failed: u32,
    /// Waiting for their turn, or their call is under way.
    pub queued: u32,
    /// Waiting for the next try.
    pub retrying: u32,
}

impl Ends {
    /// What waits, and for what, where `held_by` holds everything of the endpoint.
    pub fn waiting(&self, held_by: Option<HeldBy>) -> Waiting {
        let Self { queued, retrying, .. } = *self;
        match held_by {
            Some(_) => Waiting { held: queued + retrying, held_by, ..Waiting::default() },
            None => Waiting { queued, retrying, ..Waiting::default() },
        }
    }
}

/// What is to be done with a replay that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// Nothing: it stands like this from now on, for this reason.
    Halt(ReplayState, &'static str),
    /// Everything was sent: look what has become of it.
    Watch,
    /// Send the next ones, at most so many.
    Send(u32),
}

/// What a part came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PartSent {
    /// How many were sent.
    pub sent: u32,
    /// How many were passed over.
    pub skipped: u32,
    /// Where the next part begins; `None` if there is nothing more.
    pub next: Option<Uuid>,
}

/// How a replay stands after a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Its state.
    pub state: ReplayState,
    /// Why it halted.
    pub detail: Option<&'static str>,
    /// Where the next part begins, if the place has moved.
    pub position: Option<Uuid>,
    /// Whether there is nothing more to send.
    pub all_sent: bool,
    /// How many more were sent.
    pub sent: u32,
    /// How many more were passed over.
    pub skipped: u32,
    /// What has become of those that were sent, if it was looked at.
    pub ends: Ends,
    /// How long until the next step.
    pub wait: Duration,
}

impl Progress {
    /// A step that sent nothing.
    fn idle(state: ReplayState, all_sent: bool) -> Self {
        Self {
            state,
            detail: None,
            position: None,
            all_sent,
            sent: 0,
            skipped: 0,
            ends: Ends::default(),
            wait: Duration::ZERO,
        }
    }

    /// It goes no further.
    pub fn halted(state: ReplayState, detail: &'static str) -> Self {
        Self { detail: Some(detail), ..Self::idle(state, false) }
    }

    /// Nothing can be sent yet; it is looked again in a moment.
    pub fn postponed() -> Self {
        Self { wait: WATCH, ..Self::idle(ReplayState::Running, false) }
    }

    /// Everything was sent, and this has become of it.
    pub fn watched(ends: Ends) -> Self {
        let waits = ends.waiting(None).total() > 0;
        let state = if waits { ReplayState::Running } else { ReplayState::Completed };
        Self { ends, wait: WATCH, ..Self::idle(state, true) }
    }
}

impl Replay {
    /// What is to be done when it is due. `endpoint` is how its endpoint stands;
    /// `None` if that was deleted.
    pub fn next_step(&self, all_sent: bool, endpoint: Option<EndpointStatus>) -> NextStep {
        match endpoint {
            _ if all_sent => NextStep::Watch,
            None => NextStep::Halt(ReplayState::Failed, "the endpoint was deleted"),
            Some(EndpointStatus::Enabled) => NextStep::Send(self.room()),
            Some(EndpointStatus::Paused | EndpointStatus::Disabled) => NextStep::Halt(
                ReplayState::Paused,
                "the endpoint is not enabled; enable it, then resume the replay",
            ),
        }
    }

    /// How many the next part may send: those of a second, and of one transaction.
    fn room(&self) -> u32 {
        self.rate_per_second.min(PART).min(self.max.saturating_sub(self.sent)).max(1)
    }

    /// When a delivery is due of which `before` of the same part, begun at
    /// `start`, are due earlier: by the pace of the replay.
    pub fn due(&self, start: Timestamp, before: u32) -> Timestamp {
        let spaced = Duration::from_secs(1) * before / self.rate_per_second.max(1);
        start.plus(STEP * (spaced.as_millis() / STEP.as_millis()) as u32)
    }

    /// How it stands after a part.
    pub fn after_part(&self, part: PartSent) -> Progress {
        let PartSent { sent, skipped, next } = part;
        let all_sent = next.is_none() || self.sent + sent >= self.max;
        let skipped = match all_sent {
            // What had matched and does so no longer: somebody else has sent it.
            true => self.matched.saturating_sub(self.sent + self.skipped + sent).max(skipped),
            false => skipped,
        };
        let wait = Duration::from_secs_f64(f64::from(sent) / f64::from(self.rate_per_second.max(1)));
        Progress { position: next, sent, skipped, wait, ..Progress::idle(ReplayState::Running, all_sent) }
    }

    /// How it stands now that its deliveries were looked at.
    pub fn with_ends(self, ends: Ends, held_by: Option<HeldBy>) -> Self {
        Self { delivered: ends.delivered, failed: ends.failed, waiting: ends.waiting(held_by), ..self }
    }

    /// Whether it makes up for all that its endpoint missed while it was disabled.
    pub fn makes_up_for_what_was_missed(&self) -> bool {
        self.mode == ReplayMode::Missing && self.filter.is_everything()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::tests::replay;

    fn running(rate_per_second: u32, max: u32, matched: u32, sent: u32) -> Replay {
        Replay { rate_per_second, max, matched, sent, ..replay() }
    }

    #[test]
    fn what_is_next_depends_on_the_endpoint_until_everything_was_sent() {
        let replay = running(50, 1_000, 1_000, 0);
        let paused = NextStep::Halt(
            ReplayState::Paused,
            "the endpoint is not enabled; enable it, then resume the replay",
        );
        let deleted = NextStep::Halt(ReplayState::Failed, "the endpoint was deleted");
        for (endpoint, before, after) in [
            (Some(EndpointStatus::Enabled), NextStep::Send(50), NextStep::Watch),
            (Some(EndpointStatus::Paused), paused, NextStep::Watch),
            (Some(EndpointStatus::Disabled), paused, NextStep::Watch),
            (None, deleted, NextStep::Watch),
        ] {
            assert_eq!(replay.next_step(false, endpoint), before, "{endpoint:?}");
            assert_eq!(replay.next_step(true, endpoint), after, "{endpoint:?}");
        }
    }

    #[test]
    fn a_part_sends_what_is_due_in_a_second_and_fits_into_a_transaction() {
        for (rate, max, sent, room) in
            [(50, 1_000, 0, 50), (1_000, 100_000, 0, 250), (50, 60, 20, 40), (1, 10, 0, 1), (50, 60, 60, 1)]
        {
            let next = running(rate, max, max, sent).next_step(false, Some(EndpointStatus::Enabled));
            assert_eq!(next, NextStep::Send(room), "{rate} a second, {sent} of {max} sent");
        }
    }

    #[test]
    fn deliveries_of_a_part_are_due_at_the_pace_of_the_replay() {
        let start = Timestamp::from_secs(1_000);
        for (rate, before, millis) in [
            (1, 0, 0),
            (1, 2, 2_000),
            (50, 1, 20),
            (50, 49, 980),
            (1_000, 19, 0),
            (1_000, 20, 20),
            (3, 1, 320),
        ] {
            let due = running(rate, 1, 1, 0).due(start, before);
            assert_eq!(due.since(start), Duration::from_millis(millis), "{before} at {rate} a second");
        }
    }

    #[test]
    fn a_part_moves_the_replay_on_until_nothing_is_left_or_its_bound_is_reached() {
        let place = Some(Uuid::from_u128(7));
        // Matched, at most, sent before; the part; all sent, skipped, seconds to wait.
        for (stands, part, all_sent, skipped, wait) in [
            ((100, 1_000, 0), (50, 0, place), false, 0, 1.0),
            ((100, 1_000, 0), (25, 3, place), false, 3, 0.5),
            ((100, 1_000, 50), (50, 0, None), true, 0, 1.0),
            // Five that had matched are gone, or were sent by somebody else.
            ((100, 1_000, 50), (45, 0, None), true, 5, 0.9),
            // More were passed over than had matched.
            ((100, 1_000, 50), (50, 7, None), true, 7, 1.0),
            ((90, 90, 50), (40, 0, place), true, 0, 0.8),
            ((0, 1_000, 0), (0, 0, None), true, 0, 0.0),
        ] {
            let (matched, max, before) = stands;
            let (sent, passed, next) = part;
            let after =
                running(50, max, matched, before).after_part(PartSent { sent, skipped: passed, next });
            let expected = Progress {
                position: next,
                sent,
                skipped,
                wait: Duration::from_secs_f64(wait),
                ..Progress::idle(ReplayState::Running, all_sent)
            };
            assert_eq!(after, expected, "{stands:?} {part:?}");
        }
    }

    #[test]
    fn a_replay_is_complete_when_nothing_of_it_waits() {
        let ended = Ends { delivered: 3, failed: 1, ..Ends::default() };
        for (ends, state) in [
            (Ends { queued: 1, ..ended }, ReplayState::Running),
            (Ends { retrying: 1, ..ended }, ReplayState::Running),
            (ended, ReplayState::Completed),
            (Ends::default(), ReplayState::Completed),
        ] {
            let after = Progress::watched(ends);
            assert_eq!((after.state, after.ends, after.all_sent), (state, ends, true));
        }
    }

    #[test]
    fn a_replay_that_is_postponed_goes_on_in_a_second_and_lets_others_go_first() {
        let after = Progress::postponed();
        assert_eq!((after.state, after.all_sent, after.wait), (ReplayState::Running, false, WATCH));
    }

    #[test]
    fn what_waits_for_a_held_endpoint_waits_for_that_alone() {
        let ends = Ends { delivered: 1, failed: 1, queued: 2, retrying: 3 };
        let free = Waiting { queued: 2, retrying: 3, held: 0, held_by: None };
        let held = Waiting { queued: 0, retrying: 0, held: 5, held_by: Some(HeldBy::Breaker) };
        assert_eq!(ends.waiting(None), free);
        assert_eq!(ends.waiting(Some(HeldBy::Breaker)), held);
        let seen = replay().with_ends(ends, None);
        assert_eq!((seen.delivered, seen.failed, seen.waiting), (1, 1, free));
    }
}
