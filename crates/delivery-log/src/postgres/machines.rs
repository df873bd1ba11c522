//! Whether a second machine has what is committed, where that is asked for.
//!
//! PostgreSQL waits for the standbys that `synchronous_standby_names` tells it
//! to wait for: for none if it is empty, and if one is named and away, until it
//! comes. Neither is what was promised, so both are noticed, and told.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use sqlx::{PgConnection, PgPool, Row as _};

use super::link::within;
use super::open::OpenError;
use crate::durability::{Durability, SecondMachine};
use crate::{Result, StoreError};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);
/// What `synchronous_standby_names` is when nothing is waited for.
const NO_NAMES: &str = "PostgreSQL waits for no standby: synchronous_standby_names is empty";

/// What is known of the second machine; nothing, where none is asked for.
#[derive(Debug)]
pub(super) struct Machines(Option<Mutex<SecondMachine>>);

impl Machines {
    /// Looks for the first time.
    ///
    /// # Errors
    ///
    /// Fails if the database's user may not see whether a standby is there.
    pub(super) async fn new(
        connection: &mut PgConnection,
        durability: Durability,
    ) -> std::result::Result<Self, OpenError> {
        if durability == Durability::OneMachine {
            return Ok(Self(None));
        }
        // Without it the view has rows, and nothing in them.
        let may_see = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')";
        if !sqlx::query_scalar(may_see).fetch_one(&mut *connection).await? {
            return Err(OpenError::MayNotSeeStandbys);
        }
        let found = look(connection).await?;
        if let Some(lacks) = &found.lacks {
            tracing::error!("nothing is acknowledged: {lacks}");
        }
        Ok(Self(Some(Mutex::new(found))))
    }

    /// Looks again and again, until the store is gone.
    pub(super) fn look_after(self: &Arc<Self>, database: PgPool) {
        if self.0.is_some() {
            tokio::spawn(keep_looking(Arc::downgrade(self), database));
        }
    }

    /// How it was when it was looked last.
    pub(super) fn second(&self) -> Option<SecondMachine> {
        self.0.as_ref().map(|known| known.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Whether anything may be acknowledged.
    pub(super) fn check(&self) -> Result<()> {
        match self.second().and_then(|second| second.lacks) {
            Some(lacks) => Err(StoreError::unavailable(lacks.to_string())),
            None => Ok(()),
        }
    }

    /// Whether what this connection has just committed may be acknowledged: not if
    /// PostgreSQL waits for nobody any more, which ends all waits at once.
    pub(super) async fn confirm(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        if self.0.is_none() {
            return Ok(());
        }
        let waits = "SELECT current_setting('synchronous_standby_names') <> ''";
        if sqlx::query_scalar(waits).fetch_one(connection).await? {
            return Ok(());
        }
        self.heard(SecondMachine { standbys: 0, lacks: Some(NO_NAMES.into()) });
        Err(sqlx::Error::Protocol(NO_NAMES.to_owned()))
    }

    /// Whether a second machine is asked for.
    pub(super) fn are_asked_for(&self) -> bool {
        self.0.is_some()
    }

    fn heard(&self, now: SecondMachine) {
        let Some(known) = &self.0 else { return };
        let before =
            std::mem::replace(&mut *known.lock().unwrap_or_else(PoisonError::into_inner), now.clone());
        match (before.lacks, now.lacks) {
            (None, Some(lacks)) => tracing::error!("nothing is acknowledged any more: {lacks}"),
            (Some(_), None) => tracing::warn!("a second machine is available again; events are acknowledged"),
            _ => {}
        }
    }
}

async fn keep_looking(machines: Weak<Machines>, database: PgPool) {
    loop {
        tokio::time::sleep(LOOK).await;
        let looked = async { look(&mut *database.acquire().await?).await };
        let looked = within(looked).await;
        let Some(machines) = machines.upgrade() else { return };
        match looked {
            Ok(found) => machines.heard(found),
            // Whoever cannot ask cannot commit either: that is told elsewhere.
            Err(error) => tracing::debug!(%error, "it could not be asked whether a standby is there"),
        }
    }
}

async fn look(connection: &mut PgConnection) -> sqlx::Result<SecondMachine> {
    let row = sqlx::query(
        "SELECT current_setting('synchronous_standby_names'), count(*) FROM pg_stat_replication \
         WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum')",
    )
    .fetch_one(connection)
    .await?;
    let standbys: i64 = row.try_get(1)?;
    let lacks = if row.try_get::<&str, _>(0)?.is_empty() {
        Some(NO_NAMES)
    } else if standbys == 0 {
        Some("no synchronous standby of PostgreSQL is there")
    } else {
        None
    };
    Ok(SecondMachine { standbys: standbys as u32, lacks: lacks.map(Arc::from) })
}
