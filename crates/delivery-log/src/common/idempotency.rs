//! Answers kept for repeated requests.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::Row as _;

use model::audit::Entry;
use model::delivery::Delivery;
use model::ids::{EventId, ProjectId};
use uuid::Uuid;

use super::rows::{broken, status_option};
use super::{Connection, Row, Shared, Store, audit, lock_key};
use crate::Edited;
use crate::Result;
use crate::idempotency::{FirstAnswer, KeptAnswer, KeyUse, Once, Performed};

/// What came of a request that is done once.
pub(crate) enum Outcome<T> {
    /// It was done, and its answer is kept.
    Done(T),
    /// It was done to a delivery that stands so now, and its answer is kept.
    DoneTo(Box<Delivery>, T),
    /// It was refused. Refusals are not remembered.
    Refused(T),
}

impl<T: PartialEq> Outcome<T> {
    /// Done if the result is this one, or refused.
    pub(crate) fn done_if(done: T, result: T) -> Self {
        if result == done { Self::Done(result) } else { Self::Refused(result) }
    }
}

impl<T> Outcome<Option<T>> {
    /// Done to what was found, or refused because there is nothing.
    pub(crate) fn of_found(found: Option<T>) -> Self {
        if found.is_some() { Self::Done(found) } else { Self::Refused(found) }
    }
}

impl<T> Outcome<T> {
    /// The same with something beside it.
    pub(crate) fn with<U>(self, more: U) -> Outcome<(T, U)> {
        match self {
            Self::Done(result) => Outcome::Done((result, more)),
            Self::DoneTo(delivery, result) => Outcome::DoneTo(delivery, (result, more)),
            Self::Refused(result) => Outcome::Refused((result, more)),
        }
    }
}

impl Outcome<Edited> {
    /// Done, or refused because it is outdated.
    pub(crate) fn of(edited: Edited) -> Self {
        Self::done_if(Edited::Done, edited)
    }
}

impl Store {
    /// Runs `work` in a transaction of its own, unless the request was done
    /// before; its answer is kept in the same transaction, and so is what the audit
    /// log says of it.
    pub(crate) async fn perform<T, F>(
        &self,
        project: ProjectId,
        once: Option<Once>,
        entry: Option<Entry>,
        work: F,
    ) -> Result<Performed<T>>
    where
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, sqlx::Result<Outcome<T>>> + Send + 'static,
        T: Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        self.edit(move |connection| {
            async move {
                let once = once.as_ref();
                if let Some(before) = find(connection, &shared, project, once).await? {
                    return Ok(before);
                }
                let (done_to, result) = match work(&mut *connection).await? {
                    Outcome::Done(result) => (None, result),
                    Outcome::DoneTo(delivery, result) => (Some(delivery), result),
                    Outcome::Refused(result) => return Ok(Performed::First(result)),
                };
                keep(connection, &shared, project, once, done_to.as_deref()).await?;
                if let Some(entry) = entry {
                    audit::append(connection, &shared, project, entry).await?;
                }
                Ok(Performed::First(result))
            }
            .boxed()
        })
        .await
    }
}

impl Store {
    /// Runs `work` in a transaction of its own, with what the audit log says of it.
    pub(crate) async fn perform_always<T, F>(&self, project: ProjectId, entry: Entry, work: F) -> Result<T>
    where
        F: for<'c> FnOnce(&'c mut Connection) -> BoxFuture<'c, sqlx::Result<Outcome<T>>> + Send + 'static,
        T: Send + 'static,
    {
        self.perform(project, None, Some(entry), work).await?.first()
    }
}

/// What a request was answered when it came first.
pub(crate) async fn first_answer(
    connection: &mut Connection,
    shared: &Shared,
    project: ProjectId,
    key_use: &KeyUse,
) -> sqlx::Result<FirstAnswer> {
    let row = sqlx::query(
        "SELECT fingerprint, status, location, sealed_body, event, sequence FROM idempotency_keys \
         WHERE project = $1 AND key = $2 AND expires_at > $3",
    )
    .bind(project.0)
    .bind(key_use.key.as_str())
    .bind(shared.env.now().as_micros())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(FirstAnswer::None) };
    if row.try_get::<&[u8], _>(0)? != key_use.fingerprint.as_slice() {
        return Ok(FirstAnswer::OtherRequest);
    }
    let (event, sequence): (Option<Uuid>, Option<i64>) = (row.try_get("event")?, row.try_get("sequence")?);
    if let (Some(event), Some(sequence)) = (event, sequence) {
        return Ok(FirstAnswer::Event { event: EventId(event), sequence: sequence as u64 });
    }
    match kept_answer(&row, shared, project, key_use)? {
        Performed::<()>::Repeated(answer) => Ok(FirstAnswer::Kept(answer)),
        _ => Ok(FirstAnswer::OtherRequest),
    }
}

/// What binds a sealed answer to its row.
fn row_name(project: ProjectId, key: &str) -> Vec<u8> {
    [b"idempotency_keys".as_slice(), project.as_bytes(), key.as_bytes()].concat()
}

/// Looks whether the request was done before. `None` means: it is the first.
async fn find<T>(
    connection: &mut Connection,
    shared: &Shared,
    project: ProjectId,
    once: Option<&Once>,
) -> sqlx::Result<Option<Performed<T>>> {
    let Some(Once { key_use, .. }) = once else { return Ok(None) };
    lock_key(connection, project, key_use.key.as_str()).await?;
    let row = sqlx::query(
        "SELECT fingerprint, status, location, sealed_body FROM idempotency_keys \
         WHERE project = $1 AND key = $2 AND expires_at > $3",
    )
    .bind(project.0)
    .bind(key_use.key.as_str())
    .bind(shared.env.now().as_micros())
    .fetch_optional(&mut *connection)
    .await?;
    row.map(|row| kept_answer(&row, shared, project, key_use)).transpose()
}

/// The answer in a row, if it belongs to this request.
fn kept_answer<T>(
    row: &Row,
    shared: &Shared,
    project: ProjectId,
    key_use: &KeyUse,
) -> sqlx::Result<Performed<T>> {
    let status = status_option(row, "status")?;
    let (Some(status), true) = (status, row.try_get::<&[u8], _>(0)? == key_use.fingerprint.as_slice()) else {
        return Ok(Performed::KeyReused);
    };
    let body = shared
        .vault
        .unseal(row.try_get(3)?, &row_name(project, key_use.key.as_str()))
        .map_err(|error| broken("sealed_body", error))?;
    Ok(Performed::Repeated(KeptAnswer {
        status,
        location: row.try_get(2)?,
        body: String::from_utf8(body.to_vec()).map_err(|error| broken("sealed_body", error))?,
    }))
}

/// Keeps the answer, in the transaction that does the work.
async fn keep(
    connection: &mut Connection,
    shared: &Shared,
    project: ProjectId,
    once: Option<&Once>,
    done_to: Option<&Delivery>,
) -> sqlx::Result<()> {
    let Some(Once { key_use, answer, show }) = once else { return Ok(()) };
    let row = row_name(project, key_use.key.as_str());
    let shown = show.zip(done_to).map(|(show, delivery)| show(delivery));
    let body = shown.as_ref().unwrap_or(&answer.body);
    let sealed = shared.vault.seal(body.as_bytes(), &row, shared.env.entropy.as_ref());
    sqlx::query(
        "INSERT INTO idempotency_keys (project, key, fingerprint, status, location, sealed_body, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (project, key) DO UPDATE SET \
         fingerprint = excluded.fingerprint, event = NULL, sequence = NULL, status = excluded.status, \
         location = excluded.location, sealed_body = excluded.sealed_body, expires_at = excluded.expires_at",
    )
    .bind(project.0)
    .bind(key_use.key.as_str())
    .bind(key_use.fingerprint.as_slice())
    .bind(i64::from(answer.status))
    .bind(answer.location.as_deref())
    .bind(sealed)
    .bind(key_use.expires_at.as_micros())
    .execute(connection)
    .await
    .map(|_| ())
}
