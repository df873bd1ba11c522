//! Both sides of Posthorn, for those who try or measure it: a client of its
//! API, and a receiver of webhooks.

mod api;
pub mod receiver;

pub use api::Client;
