//! The HTTP API: where product services publish, and where everybody reads
//! what became of it.
//!
//! This is the first stop of an event: [`routes`] shows every URL on one
//! page, `events/publish` parses once and hands over to
//! [`delivery_log::events::Events::publish`], and the answer goes out after
//! the commit. The dispatcher is never met here: the store is the contract.

mod admin;
mod api;
mod api_keys;
mod audit;
mod audit_log;
mod auth;
mod browser;
mod catalogue;
mod client_address;
mod connections;
mod deliveries;
mod docs;
mod endpoints;
mod erasures;
mod event_types;
mod events;
mod gathered;
mod health;
mod incoming;
mod key_uses;
mod limits;
mod memory;
mod meta;
mod metrics;
mod ndjson;
mod oauth;
mod once;
mod openapi;
mod operational_endpoints;
mod outgoing;
mod page;
mod patch;
mod portal_sessions;
mod preconditions;
mod problem;
mod project;
mod quarantine;
mod query;
mod replays;
mod request_context;
mod retry_policies;
pub mod routes;
mod server;
mod tenants;

pub use api::{Readiness, Settings};
pub use limits::RequestRates;
pub use openapi::document as openapi_document;
pub use server::{Servers, StartError, start};
