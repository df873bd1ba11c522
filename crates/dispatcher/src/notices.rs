//! What people are told: operators by events, the contacts of tenants by mail.

pub(crate) mod findings;
pub(crate) mod mail;
pub(crate) mod operations;
