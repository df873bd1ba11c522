//! From a publish to its event and deliveries, in memory: what both backends
//! decide in the same way, before and after they write.

mod decide;
mod effects;
mod fan_out;
mod matching;
mod place;

pub(crate) use decide::{Contents, NewDelivery, new_event, twin};
pub(crate) use effects::{Effects, ToWake};
pub(crate) use fan_out::{FanOut, LateTarget};
pub use matching::{Matched, NoTarget, match_endpoints};
pub(crate) use matching::{current, downgraded, would_get};
