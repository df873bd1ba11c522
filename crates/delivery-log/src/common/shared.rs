//! The door to what both backends say in the same words.
//!
//! The files beside this one are compiled once for each backend, which takes
//! them in with one `#[path]`. What they know of the backend is this list.

// The types of its driver: the database, a connection and a row.
use super::{Connection, Db, Row};
// What rows know an event by: its number or its id.
use super::EventKey;
// The store, and what its parts share.
use super::{Shared, Store};
// What it tells of an error.
use super::store_error;
// What keeps others from a key or a delivery while it is worked on.
use super::{lock_delivery, lock_key};
// How a number stands in a column.
use super::columns;
// Lanes, moves of deliveries from state to state, migrations, retention, and the
// statements that each has in its own way.
use super::{erasing, lanes, moves, open, retention, statements};

pub(super) mod access;
pub(super) mod audit;
pub(super) mod catalogue;
pub(super) mod configuration;
pub(super) mod deliveries;
pub(super) mod endpoints;
pub(super) mod erasures;
pub(super) mod events;
pub(super) mod fan_out;
pub(super) mod filter;
pub(super) mod idempotency;
pub(super) mod lane_rows;
pub(super) mod policies;
pub(super) mod portal;
pub(super) mod quarantine;
pub(super) mod replays;
pub(super) mod rows;
pub(super) mod sealed;
pub(super) mod tenants;
