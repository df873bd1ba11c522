//! One lane, its owner, a rival, and a database that fails over to servers
//! with other clocks: no two of them send at once.
//!
//! `postgres/processes.rs` and `postgres/timeline.rs` are the rules as they
//! run, `dispatcher/lease.rs` is how long an owner trusts its lease.

use stateright::{Checker, Model, Property};

/// After so many seconds without a heartbeat others give a process up.
const LEASE: i8 = 6;
/// So much earlier it stops to send.
const MARGIN: i8 = 1;
/// How long is looked at.
const END: i8 = 14;
/// How often the database fails over.
const FAILOVERS: u8 = 2;
/// Long before all that is looked at, by any clock.
const LONG_AGO: i8 = -60;

/// What a heartbeat is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The clock of the server alone.
    ClockAlone,
    /// And the time at which its timeline was seen first.
    ClockAndTimeline,
}

/// By how much the clocks of the servers are ahead of the first one's.
#[derive(Debug, Clone)]
struct Failovers {
    rule: Rule,
    clocks: &'static [i8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Process,
    Rival,
}

/// What the process asked of the database and has not heard of yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Beat {
    None,
    /// It was asked at this time.
    Asked(i8),
    /// It was answered so.
    Answered {
        asked: i8,
        alive: bool,
    },
}

/// Times of the database are by the clock of the server that wrote them;
/// those of the process by its own, which is that of the first server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    now: i8,
    /// By how much the server's clock is ahead now.
    ahead: i8,
    failovers: u8,
    beat_at: i8,
    /// When the timeline of now was seen first; none if nobody has looked.
    seen_at: Option<i8>,
    owner: Owner,
    beat: Beat,
    /// The process sends until then.
    trusts_until: i8,
}

impl State {
    fn clock(&self) -> i8 {
        self.now + self.ahead
    }

    /// Whether the database has a fresh heartbeat of the process.
    fn is_alive(&self, rule: Rule) -> bool {
        let since = match rule {
            Rule::ClockAlone => self.beat_at,
            Rule::ClockAndTimeline => self.beat_at.max(self.seen_at.unwrap_or(LONG_AGO)),
        };
        since >= self.clock() - LEASE
    }

    /// Keeps when the timeline was seen first.
    fn note_timeline(&mut self, rule: Rule) {
        if rule == Rule::ClockAndTimeline && self.seen_at.is_none() {
            self.seen_at = Some(self.clock());
            self.beat_at = self.beat_at.min(self.clock());
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    ASecondPasses,
    Ask,
    /// The database does what was asked.
    Serve,
    Hear,
    /// The question or its answer is lost.
    Lose,
    /// The rival looks whether the process is dead, and takes its lane.
    TakeOver,
    FailOver {
        ahead: i8,
    },
}

impl Model for Failovers {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
            ahead: 0,
            failovers: 0,
            beat_at: 0,
            seen_at: Some(LONG_AGO),
            owner: Owner::Process,
            beat: Beat::None,
            trusts_until: LEASE - MARGIN,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.now < END {
            actions.push(Action::ASecondPasses);
        }
        match state.beat {
            Beat::None => actions.push(Action::Ask),
            Beat::Asked(_) => actions.extend([Action::Serve, Action::Lose]),
            Beat::Answered { .. } => actions.extend([Action::Hear, Action::Lose]),
        }
        if state.owner == Owner::Process {
            actions.push(Action::TakeOver);
        }
        if state.failovers < FAILOVERS {
            actions.extend(self.clocks.iter().map(|ahead| Action::FailOver { ahead: *ahead }));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::ASecondPasses => state.now += 1,
            Action::Ask => state.beat = Beat::Asked(state.now),
            Action::Serve => {
                let Beat::Asked(asked) = state.beat else { return None };
                state.note_timeline(self.rule);
                let alive = state.owner == Owner::Process && state.is_alive(self.rule);
                if alive {
                    state.beat_at = state.clock();
                }
                state.beat = Beat::Answered { asked, alive };
            }
            Action::Hear => {
                let Beat::Answered { asked, alive } = state.beat else { return None };
                state.trusts_until = if alive { asked + LEASE - MARGIN } else { state.now };
                state.beat = Beat::None;
            }
            Action::Lose => state.beat = Beat::None,
            Action::TakeOver => {
                state.note_timeline(self.rule);
                if !state.is_alive(self.rule) {
                    state.owner = Owner::Rival;
                }
            }
            Action::FailOver { ahead } => {
                state.failovers += 1;
                state.ahead = ahead;
                state.seen_at = None;
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one sends", |_, state: &State| {
                state.owner == Owner::Process || state.now >= state.trusts_until
            }),
            // A rule that never gives anybody up would keep the other one, too.
            Property::sometimes("the dead are replaced after the failovers", |_, state: &State| {
                state.owner == Owner::Rival && state.failovers == FAILOVERS
            }),
        ]
    }
}

fn check(rule: Rule, clocks: &'static [i8]) -> impl Checker<Failovers> {
    Failovers { rule, clocks }.checker().threads(2).spawn_bfs().join()
}

#[test]
fn with_one_clock_the_rule_of_before_is_enough() {
    check(Rule::ClockAlone, &[0]).assert_properties();
}

#[test]
fn with_the_clock_alone_two_send_after_a_failover() {
    for clocks in [&[3], &[10]] {
        let checker = check(Rule::ClockAlone, clocks);
        assert!(checker.discovery("one sends").is_some(), "{clocks:?}");
    }
}

#[test]
fn with_the_timeline_one_sends_whatever_the_clocks_say() {
    check(Rule::ClockAndTimeline, &[-10, 3, 10]).assert_properties();
}
