//! The protocols that processes and database servers keep among themselves, as
//! models whose every state is looked at. The rules of before are kept as
//! models that must fail, so that it is seen that a model can.

#[path = "models/barrier.rs"]
mod barrier;
#[path = "models/lease.rs"]
mod lease;
