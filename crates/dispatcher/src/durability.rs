//! Operators are told when events cannot be kept on two machines, where that
//! is asked for, and when they can again.

use std::sync::{Arc, Mutex, PoisonError};

use model::clock::Timestamp;
use model::operations::Operation;
use serde_json::json;

use crate::context::Context;
use crate::operations;

/// Since when, and why, nothing is acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Degraded(Mutex<Option<(Timestamp, Arc<str>)>>);

/// Looks whether that has changed, and tells it beside everything else: while
/// nothing is acknowledged, neither is what operators are told, so it comes as
/// soon as it can be kept.
pub(crate) fn look(context: &Arc<Context>) {
    let Some(second) = context.store.second_machine() else { return };
    let now = context.surroundings.now();
    let mut degraded = context.degraded.0.lock().unwrap_or_else(PoisonError::into_inner);
    match (degraded.as_ref(), second.lacks) {
        (None, Some(lacks)) => *degraded = Some((now, lacks)),
        (Some((since, why)), None) => {
            let told = (*since, Arc::clone(why), now);
            *degraded = None;
            context.tasks.spawn(tell(Arc::clone(context), told));
        }
        _ => {}
    }
}

async fn tell(context: Arc<Context>, (since, why, until): (Timestamp, Arc<str>, Timestamp)) {
    // Each process notices it by itself, at about the same time.
    let about = since.as_secs() / 60;
    for project in context.store.configuration().all_projects() {
        for (what, data) in [
            (Operation::DurabilityDegraded, json!({ "since": since, "why": &*why })),
            (Operation::DurabilityRestored, json!({ "since": since, "until": until, "why": &*why })),
        ] {
            let key = format!("{}:{about}", what.event_type());
            operations::publish(&context, project.id, what, "durability", &data, Some(&key)).await;
        }
    }
}
