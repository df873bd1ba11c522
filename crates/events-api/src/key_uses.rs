//! When and from where keys were used last, without a write for each request:
//! uses gather here and are written every half minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::web;
use model::access::{ApiKey, LastUse};
use model::clock::Timestamp;
use model::ids::KeyId;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::gathered;

/// How often uses are written.
const EVERY: Duration = Duration::from_secs(30);

/// The last uses that are not written yet; one for each key at most.
#[derive(Debug, Default)]
pub(crate) struct KeyUses(Mutex<HashMap<KeyId, LastUse>>);

impl KeyUses {
    fn open(&self) -> MutexGuard<'_, HashMap<KeyId, LastUse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key is used now.
    pub(crate) fn note(&self, key: KeyId, at: Timestamp, from: IpAddr) {
        self.open().insert(key, LastUse { at, from });
    }

    /// The last use of a key, written or not.
    pub(crate) fn last(&self, key: &ApiKey) -> Option<LastUse> {
        let unwritten = self.open().get(&key.id).copied();
        // Another process may have written a later one.
        unwritten.into_iter().chain(key.last_use).max_by_key(|one| one.at)
    }
}

/// Writes what has gathered.
pub(crate) async fn write(api: &Api) {
    let uses: Vec<(KeyId, LastUse)> = api.key_uses.open().drain().collect();
    if uses.is_empty() {
        return;
    }
    if let Err(error) = api.store.note_key_uses(&uses).await {
        tracing::warn!(%error, keys = uses.len(), "the last uses of keys were not written and will be again");
        let mut unwritten = api.key_uses.open();
        for (key, one) in uses {
            unwritten.entry(key).or_insert(one);
        }
    }
}

/// Writes every now and then until `stop`, and once more in the end.
pub(crate) async fn keep_written(api: web::Data<Api>, stop: CancellationToken) {
    let write = |_| async {
        write(&api).await;
        api.key_uses.open().is_empty()
    };
    gathered::keep_written(EVERY, stop, write).await;
}

#[cfg(test)]
mod tests {
    use model::access::Scopes;
    use model::ids::ProjectId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_last_use_is_the_latest_that_is_known() {
        let id = KeyId(Uuid::from_u128(1));
        let one = |at: i64, last: u8| LastUse {
            at: Timestamp::from_secs(at),
            from: IpAddr::from([127, 0, 0, last]),
        };
        let key = |last_use| ApiKey {
            id,
            project: ProjectId(Uuid::nil()),
            name: String::new(),
            scopes: Scopes::default(),
            tenant: None,
            expires_at: None,
            allowed_networks: Vec::new(),
            rate_limit: None,
            created_by: None,
            last_use,
            created_at: Timestamp::from_secs(0),
            updated_at: Timestamp::from_secs(0),
        };
        let uses = KeyUses::default();
        assert_eq!(uses.last(&key(None)), None);
        assert_eq!(uses.last(&key(Some(one(5, 1)))), Some(one(5, 1)));
        uses.note(id, one(7, 2).at, one(7, 2).from);
        assert_eq!(uses.last(&key(Some(one(5, 1)))), Some(one(7, 2)));
        assert_eq!(uses.last(&key(Some(one(9, 3)))), Some(one(9, 3)), "written by another process");
    }
}
