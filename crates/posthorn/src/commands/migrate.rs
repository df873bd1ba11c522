//! `posthorn migrate`

use delivery_log::sqlite::Ownership;

use super::print;
use crate::settings::Settings;
use crate::{store, system};

/// Brings the database up to date.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let store = store::open(settings, String::new(), &system::surroundings(), Ownership::Beside).await?;
    store.check_ready().await?;
    store.close().await;
    print(&format!("the database {} is up to date", settings.database()?.display()))
}
