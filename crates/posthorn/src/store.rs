//! Opening the store that the settings name.

use std::sync::Arc;

use delivery_log::sqlite::{Options, Ownership, SqliteStore};
use delivery_log::{SharedStore, Surroundings};

use crate::master_key;
use crate::settings::Settings;

/// Opens the store, as its server or beside one.
pub(crate) async fn open(
    settings: &Settings,
    public_url: String,
    surroundings: &Surroundings,
    ownership: Ownership,
) -> anyhow::Result<SharedStore> {
    let path = settings.database()?;
    let master_key = master_key::load(settings, &path, surroundings.entropy.as_ref())?;
    let options = Options { path, master_key, public_url, ownership };
    Ok(Arc::new(SqliteStore::open(options, surroundings.clone()).await?))
}
