//! Operators are told when events cannot be kept on two machines, where that
//! is asked for, and when they can again.

use std::sync::Arc;

use model::clock::Timestamp;
use model::operations::Operation;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Job;
use crate::context::Context;
use crate::notices::operations;

/// Looks whether that has changed.
#[derive(Default)]
pub(super) struct Durability {
    /// Since when, and why, nothing is acknowledged.
    degraded: Option<(Timestamp, Arc<str>)>,
}

impl Job for Durability {
    /// Tells it beside everything else: while nothing is acknowledged, neither is
    /// what operators are told, so it comes as soon as it can be kept.
    async fn step(&mut self, context: &Arc<Context>, _: &CancellationToken) -> delivery_log::Result<()> {
        let Some(second) = context.store.second_machine() else { return Ok(()) };
        let now = context.env.now();
        match (self.degraded.take(), second.lacks) {
            (None, Some(lacks)) => self.degraded = Some((now, lacks)),
            (Some((since, why)), None) => {
                context.tasks.spawn(tell(Arc::clone(context), (since, why, now)));
            }
            (as_before, _) => self.degraded = as_before,
        }
        Ok(())
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
