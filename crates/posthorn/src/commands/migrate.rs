//! `posthorn migrate`

use super::print;
use crate::settings::Settings;
use crate::{store, system};

/// Brings the database up to date.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    store::migrate(settings, &system::surroundings()).await?;
    print(&format!("the database {} is up to date", settings.database()?))
}
