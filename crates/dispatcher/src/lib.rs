//! The dispatcher: the only part of Posthorn that sends webhooks.
//!
//! On the way of one event these are the stops four to six: [`lanes`] says
//! which delivery may go now, [`start`] starts it, [`delivery`] makes one attempt
//! of it, [`transport`] carries it over HTTP, past its guard of addresses. What
//! came of it goes to [`delivery_log::deliveries::Deliveries::finish`].
//!
//! What is guaranteed: a delivery that is in the store is sent until the
//! receiver acknowledges it or its schedule ends. It may be sent more than
//! once, never by two owners of its lane at the same time. An endpoint that
//! answers late, never or with garbage holds its own few slots and nobody
//! else's.

mod clock_jumps;
mod context;
mod delivery;
mod dispatcher;
mod hand_off;
mod jobs;
mod lanes;
mod lease;
mod metrics;
mod notices;
mod settings;
mod start;
mod supply;
mod transport;
mod until_taken;

pub use dispatcher::{Dispatcher, StartError};
pub use notices::mail::{MailError, MailSettings};
pub use settings::Settings;
pub use transport::NoTls;
