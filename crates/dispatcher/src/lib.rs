//! The dispatcher: the only part of Posthorn that sends webhooks.
//!
//! On the way of one event these are the stops four to six: [`lanes`] says
//! which delivery may go now, `deliver` makes one attempt of it, `transport`
//! carries it over HTTP, past the [`address_guard`]. What came of it goes to
//! [`delivery_log::deliveries::Deliveries::finish`].
//!
//! What is guaranteed: a delivery that is in the store is sent until the
//! receiver acknowledges it or its schedule ends. It may be sent more than
//! once, never by two owners of its lane at the same time. An endpoint that
//! answers late, never or with garbage holds its own few slots and nobody
//! else's.

mod address_guard;
mod clock_jumps;
mod context;
mod deliver;
mod durability;
mod fan_outs;
mod findings;
mod heartbeat;
mod housekeeping;
mod lanes;
mod limits;
mod mail;
mod metrics;
mod operations;
mod replays;
mod rest;
mod retirement;
mod run;
mod settings;
mod transport;

pub use mail::{MailError, MailSettings};
pub use run::Dispatcher;
pub use settings::Settings;
pub use transport::NoTls;
