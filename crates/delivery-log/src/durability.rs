//! On how many machines what is acknowledged is kept.

use std::sync::Arc;

/// On how many machines an event is before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On that of the database, and on as many others as the database is set
    /// to wait for.
    #[default]
    OneMachine,
    /// On that of the database and at least one other; while there is no
    /// other, nothing is acknowledged.
    TwoMachines,
}

/// Whether what is asked for can be kept now, where two machines are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondMachine {
    /// How many standbys a commit may wait for.
    pub standbys: u32,
    /// Why nothing is acknowledged, if so.
    pub lacks: Option<Arc<str>>,
}
