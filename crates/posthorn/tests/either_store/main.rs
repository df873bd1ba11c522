//! What the program does for its users, on the store that `POSTHORN_TEST_STORE`
//! names: `scripts/test` runs every `either_store*` on both.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod api_description;
mod audit;
mod bad_endpoints;
mod bad_input;
mod batches;
mod catalogue;
mod connections;
mod engine;
mod erasures;
mod interoperability;
mod keys;
mod limits;
mod main_job;
mod oauth;
mod portal;
mod replays;
mod secrets;
mod trust;
