//! What is the same whatever the store is: addresses, requests, documents, the
//! command line.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end where it is")]

#[path = "../common/mod.rs"]
mod common;

mod address_guard;
mod answers;
mod documents;
mod first_steps;
mod quickstart;
mod realistic_schemas;
mod requests;
