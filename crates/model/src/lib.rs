//! The rules of Posthorn, without I/O and without async.
//!
//! Everything in this crate is a value or a function of its arguments: the
//! clock and the randomness are passed in, so that every rule can be tested
//! without waiting and without luck. The store, the dispatcher and the API
//! share these types and add the doing.

pub mod access;
pub mod address;
pub mod attempt;
pub mod audit;
pub mod breaker;
pub mod calls;
pub mod catalogue;
pub mod causes;
pub mod clock;
pub mod coding;
pub mod delivery;
pub mod downgrade;
pub mod endpoint;
pub mod entropy;
pub mod erasure;
pub mod event;
pub mod event_type;
pub mod failure;
pub mod filter;
pub mod headers;
pub mod health;
pub mod ids;
pub mod json;
pub mod names;
pub mod operations;
pub mod payload;
pub mod portal;
pub mod project;
pub mod quarantine;
pub mod rate;
pub mod replay;
pub mod retry;
pub mod scenario;
pub mod schema;
pub mod secret;
pub mod signature;
pub mod vault;
pub mod words;
