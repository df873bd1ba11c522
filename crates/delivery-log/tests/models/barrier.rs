//! A publish, its commit, a standby that may be away, and the loss of the
//! primary: who is told 202 is told so of an event that survives.
//!
//! `postgres/barrier.rs` and `postgres/group.rs` are the rules as they run.

use stateright::{Checker, Model, Property};

/// So many commits of one's own are made at most to see a quick one. After that,
/// the standby is taken for a slow one.
const TRIES: u8 = 3;
/// How often the wait of a commit is broken off by the end of its connection.
const ENDS: u8 = 2;
/// How often the primary is lost.
const LOSSES: u8 = 1;

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// What can be read, and what PostgreSQL says is committed.
    Readable,
    /// What a later commit of one's own has made sure of, on whichever server.
    SureSomewhere,
    /// The same, on the connection on which it was read.
    Sure,
}

#[derive(Debug, Clone)]
struct Publishing {
    rule: Rule,
    /// How often somebody cancels a commit that waits.
    cancels: u8,
}

/// A place in the log of the primary. The event is at 1, if it is there; 0 is
/// before it.
type Place = u8;
const EVENT: Place = 1;

/// Somebody who wants to answer for the event: the one who writes it, or one
/// who comes later with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Caller {
    /// Has asked nothing yet, or has been refused.
    Away,
    /// Its commit of the event waits for the standby.
    Commits,
    /// It has a new connection, and looks whether the event is there.
    Looks,
    /// It has read the event on this server, and made so many commits of its own.
    Found { server: u8, commits: u8 },
    /// A commit of its own, at this place, waits for the standby.
    MakesSure { server: u8, commits: u8, place: Place },
    /// It was told 202.
    Told,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    callers: [Caller; 2],
    /// How many primaries were lost before this one.
    server: u8,
    /// Whether the event stands in the log of the primary.
    has_event: bool,
    /// The end of the primary's log.
    written: Place,
    /// The log up to here is on the standby.
    replicated: Place,
    /// Whether the event can be read on the primary.
    visible: bool,
    cancels: u8,
    ends: u8,
}

impl State {
    /// Whether the event is there when the primary is lost at this moment.
    fn survives(&self) -> bool {
        self.has_event && self.replicated >= EVENT
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    /// The standby, which may be away for any time, gets the next of the log.
    Replicate,
    /// A caller's connection serves it.
    Go(usize),
    /// Its wait is cancelled: PostgreSQL says that it has committed.
    Cancel(usize),
    /// Its connection ends, or the server crashes and comes back.
    End(usize),
    /// The primary is lost, and the standby promoted.
    Lose,
}

impl Publishing {
    /// What a caller does that has read the event, or whose commit was long.
    fn go_on(&self, state: &mut State, read_on: u8, commits: u8) -> Caller {
        if self.rule == Rule::Readable || commits == TRIES {
            return Caller::Told;
        }
        if self.rule == Rule::Sure && read_on != state.server {
            return Caller::Away;
        }
        state.written += 1;
        Caller::MakesSure { server: read_on, commits: commits + 1, place: state.written }
    }
}

impl Model for Publishing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            callers: [Caller::Away; 2],
            server: 0,
            has_event: false,
            written: 0,
            replicated: 0,
            visible: false,
            cancels: self.cancels,
            ends: ENDS,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.replicated < state.written {
            actions.push(Action::Replicate);
        }
        if state.server < LOSSES {
            actions.push(Action::Lose);
        }
        for (number, caller) in state.callers.iter().enumerate() {
            match caller {
                Caller::Told => {}
                Caller::Away | Caller::Looks | Caller::Found { .. } => actions.push(Action::Go(number)),
                Caller::Commits | Caller::MakesSure { .. } => {
                    actions.push(Action::Go(number));
                    if state.cancels > 0 {
                        actions.push(Action::Cancel(number));
                    }
                    if state.ends > 0 {
                        actions.push(Action::End(number));
                    }
                }
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Replicate => state.replicated += 1,
            Action::Go(number) => {
                state.callers[number] = match state.callers[number] {
                    // The second one comes when the event was written once.
                    Caller::Away if state.written == 0 && state.server == 0 && number == 0 => {
                        state.written = EVENT;
                        state.has_event = true;
                        Caller::Commits
                    }
                    Caller::Away | Caller::Looks if state.visible => {
                        Caller::Found { server: state.server, commits: 0 }
                    }
                    Caller::Looks => Caller::Away,
                    Caller::Found { server, commits } => self.go_on(&mut state, server, commits),
                    Caller::Commits if state.replicated >= EVENT => {
                        state.visible = true;
                        Caller::Told
                    }
                    Caller::MakesSure { place, .. } if state.replicated >= place => Caller::Told,
                    _ => return None,
                }
            }
            Action::Cancel(number) => {
                state.cancels -= 1;
                state.callers[number] = match state.callers[number] {
                    Caller::Commits => {
                        state.visible = true;
                        Caller::Found { server: state.server, commits: 0 }
                    }
                    Caller::MakesSure { server, commits, .. } => Caller::Found { server, commits },
                    _ => return None,
                };
            }
            Action::End(number) => {
                state.ends -= 1;
                state.visible |= state.callers[number] == Caller::Commits;
                state.callers[number] = Caller::Looks;
            }
            Action::Lose => {
                state.has_event = state.survives();
                state.written = state.replicated;
                state.visible = state.has_event;
                state.server += 1;
                for caller in &mut state.callers {
                    match caller {
                        Caller::Commits | Caller::MakesSure { .. } => *caller = Caller::Looks,
                        _ => {}
                    }
                }
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what was told survives", |_, state: &State| {
                !state.callers.contains(&Caller::Told) || state.survives()
            }),
            Property::sometimes("both are told", |_, state: &State| state.callers == [Caller::Told; 2]),
            Property::sometimes("one is told after a loss", |_, state: &State| {
                state.server > 0 && state.callers.contains(&Caller::Told)
            }),
        ]
    }
}

fn check(rule: Rule, cancels: u8) -> impl Checker<Publishing> {
    Publishing { rule, cancels }.checker().spawn_bfs().join()
}

#[track_caller]
fn assert_fails(rule: Rule, cancels: u8) {
    assert!(check(rule, cancels).discovery("what was told survives").is_some());
}

#[test]
fn an_event_that_can_be_read_may_be_on_one_machine() {
    assert_fails(Rule::Readable, 0);
}

#[test]
fn a_commit_on_another_server_makes_sure_of_nothing() {
    assert_fails(Rule::SureSomewhere, 0);
}

#[test]
fn a_commit_of_ones_own_makes_sure_of_what_was_read_before_it() {
    check(Rule::Sure, TRIES - 1).assert_properties();
}

/// Who cancels that often means it.
#[test]
fn as_many_cancels_in_a_row_as_tries_are_the_limit() {
    assert_fails(Rule::Sure, TRIES);
}
