//! How often what is confidential is read with API keys and portal sessions: counted
//! here, and written to the audit log once an hour.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web;
use delivery_log::View;
use model::audit::{Action, Actor, Entry};
use model::clock::Timestamp;
use model::ids::{ProjectId, TenantId};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::auth::Caller;
use crate::gathered::{self, When};

/// For how long reads are counted before they are written.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// How often it is looked whether an hour is over.
const EVERY: Duration = Duration::from_secs(60);

/// Whose reads of what are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Counted {
    project: ProjectId,
    /// The tenant that the reader is bound to.
    tenant: Option<TenantId>,
    actor: Actor,
    action: Action,
}

/// Reads that are not written yet; one number for each key or session and kind.
#[derive(Debug, Default)]
pub(crate) struct Reads(Mutex<HashMap<Counted, (Timestamp, u64)>>);

impl Reads {
    fn open(&self) -> MutexGuard<'_, HashMap<Counted, (Timestamp, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is read now.
    pub(crate) fn count(&self, caller: &Caller, action: Action, now: Timestamp) {
        let View { project, tenant } = caller.view();
        self.count_one(Counted { project, tenant, actor: caller.actor(), action }, now);
    }

    fn count_one(&self, counted: Counted, now: Timestamp) {
        self.open().entry(counted).or_insert((now, 0)).1 += 1;
    }

    /// Takes out what began to be counted before a time.
    fn begun_before(&self, time: Timestamp) -> Vec<(Counted, (Timestamp, u64))> {
        self.open().extract_if(|_, (since, _)| *since < time).collect()
    }

    /// Puts back what could not be written.
    fn put_back(&self, counted: Counted, (since, reads): (Timestamp, u64)) {
        let mut open = self.open();
        let kept = open.entry(counted).or_insert((since, 0));
        kept.0 = kept.0.min(since);
        kept.1 += reads;
    }
}

/// Writes what began to be counted before a time.
async fn write(api: &Api, before: Timestamp) {
    for (counted, (since, reads)) in api.reads.begun_before(before) {
        let entry = Entry::by(counted.actor, counted.action, "many")
            .after(&json!({ "reads": reads, "since": since, "until": api.now() }));
        let entry = api.store.configuration().entry_about(entry, counted.tenant);
        if let Err(error) = api.store.record(counted.project, entry).await {
            tracing::warn!(%error, "reads were not written to the audit log and will be again");
            api.reads.put_back(counted, (since, reads));
        }
    }
}

/// Writes what was counted for an hour, until `stop`, and the rest in the end.
pub(crate) async fn keep_written(api: web::Data<Api>, stop: CancellationToken) {
    let api = &api;
    let write = |when| async move {
        let now = api.now();
        let before = if when == When::Now { now.minus(HOUR) } else { now.plus(HOUR) };
        write(api, before).await;
        api.reads.open().is_empty()
    };
    gathered::keep_written(EVERY, stop, write).await;
}

#[cfg(test)]
mod tests {
    use model::ids::KeyId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn reads_are_counted_for_each_reader_from_the_first_on_until_an_hour_is_over() {
        let (reads, at) = (Reads::default(), Timestamp::from_secs);
        let by = |key: u128| Counted {
            project: ProjectId(Uuid::nil()),
            tenant: None,
            actor: Actor::Key(KeyId(Uuid::from_u128(key))),
            action: Action::PayloadRead,
        };
        let count = |key, secs| reads.count_one(by(key), at(secs));
        [10, 20, 30].into_iter().for_each(|secs| count(1, secs));
        count(2, 100);
        let counted = by(1);
        assert_eq!(reads.begun_before(at(10)), []);
        assert_eq!(reads.begun_before(at(50)), [(counted, (at(10), 3))]);
        // What could not be written is written with what came after it.
        count(1, 60);
        reads.put_back(counted, (at(10), 3));
        assert_eq!(reads.begun_before(at(50)), [(counted, (at(10), 4))]);
        assert_eq!(reads.begun_before(at(101)).len(), 1);
    }
}
