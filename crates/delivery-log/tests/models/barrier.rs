//! A publish, its commit, and a standby that may be away: who is told 202 is
//! told so of an event that the standby has.
//!
//! `postgres/barrier.rs` and `postgres/group.rs` are the rules as they run.

use stateright::{Checker, Model, Property};

/// So often a long commit is made sure of, before the standby is taken for
/// slow.
const TRIES: u8 = 3;
/// How often the wait of a commit is broken off by the end of its connection.
const ENDS: u8 = 2;

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// What can be read, and what PostgreSQL says is committed.
    WhatIsThere,
    /// What a later commit of one's own has made sure of.
    WhatIsSure,
}

#[derive(Debug, Clone)]
struct Publishing {
    rule: Rule,
    /// How often somebody cancels a commit that waits.
    cancels: u8,
}

/// A place in the log. The event is at 1; 0 is before it.
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
    /// Its own commit, at this place, waits for the standby; so many were long.
    MakesSure(Place, u8),
    /// It was told 202.
    Told,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    callers: [Caller; 2],
    /// The end of the primary's log.
    written: Place,
    /// The log up to here is on the standby.
    replicated: Place,
    /// Whether the event can be read on the primary.
    visible: bool,
    cancels: u8,
    ends: u8,
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
}

impl Publishing {
    /// What a caller does when it has seen that the event is there.
    fn found(&self, state: &mut State, long: u8) -> Caller {
        if self.rule == Rule::WhatIsThere || long > TRIES {
            return Caller::Told;
        }
        state.written += 1;
        Caller::MakesSure(state.written, long)
    }
}

impl Model for Publishing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let callers = [Caller::Away; 2];
        vec![State { callers, written: 0, replicated: 0, visible: false, cancels: self.cancels, ends: ENDS }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.replicated < state.written {
            actions.push(Action::Replicate);
        }
        for (number, caller) in state.callers.iter().enumerate() {
            match caller {
                Caller::Told => {}
                Caller::Away | Caller::Looks => actions.push(Action::Go(number)),
                Caller::Commits | Caller::MakesSure(..) => {
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
                    Caller::Away if state.written == 0 && number == 0 => {
                        state.written = EVENT;
                        Caller::Commits
                    }
                    Caller::Away | Caller::Looks if state.visible => self.found(&mut state, 0),
                    Caller::Looks => Caller::Away,
                    Caller::Commits if state.replicated >= EVENT => {
                        state.visible = true;
                        Caller::Told
                    }
                    Caller::MakesSure(place, _) if state.replicated >= place => Caller::Told,
                    _ => return None,
                }
            }
            Action::Cancel(number) => {
                state.cancels -= 1;
                state.callers[number] = match state.callers[number] {
                    Caller::Commits => {
                        state.visible = true;
                        self.found(&mut state, 1)
                    }
                    Caller::MakesSure(_, long) => self.found(&mut state, long + 1),
                    _ => return None,
                };
            }
            Action::End(number) => {
                state.ends -= 1;
                state.visible |= state.callers[number] == Caller::Commits;
                state.callers[number] = Caller::Looks;
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            // If the primary is lost at this moment, the standby is what is left.
            Property::always("what was told is on the standby", |_, state: &State| {
                !state.callers.contains(&Caller::Told) || state.replicated >= EVENT
            }),
            Property::sometimes("both are told", |_, state: &State| state.callers == [Caller::Told; 2]),
        ]
    }
}

fn check(rule: Rule, cancels: u8) -> impl Checker<Publishing> {
    Publishing { rule, cancels }.checker().spawn_bfs().join()
}

#[test]
fn an_event_that_can_be_read_may_be_on_one_machine() {
    assert!(check(Rule::WhatIsThere, 0).discovery("what was told is on the standby").is_some());
}

#[test]
fn a_commit_of_ones_own_makes_sure_of_what_was_read() {
    check(Rule::WhatIsSure, TRIES).assert_properties();
}

/// Who cancels that often means it.
#[test]
fn more_cancels_in_a_row_than_tries_are_the_limit() {
    assert!(check(Rule::WhatIsSure, TRIES + 1).discovery("what was told is on the standby").is_some());
}
