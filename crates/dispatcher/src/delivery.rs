//! One attempt of a delivery, and its way into the log.
//!
//! The fifth stop of an event, after the lanes and before the transport. When it is
//! made, [`start`](crate::start) says.

mod attempt;
mod record;
mod request;

pub(crate) use attempt::attempt;
pub(crate) use record::{failed_for_good, record, tell_of_failure};
