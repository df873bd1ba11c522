//! The master key: from the settings, or from the file beside an embedded database.

use std::fs::Permissions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use model::entropy::Entropy;
use model::vault::MasterKey;
use secrecy::ExposeSecret as _;

use crate::settings::Settings;

/// The file beside the database.
const FILE: &str = "master.key";

/// The key in the settings, which must be there: a file of this machine would
/// be no key for the others that share the database.
pub(crate) fn given(settings: &Settings) -> anyhow::Result<MasterKey> {
    optional(settings)?.context(
        "POSTHORN_MASTER_KEY is not set; all processes on one PostgreSQL database share a key: \
         make one with `openssl rand -base64 32` and keep a copy",
    )
}

fn optional(settings: &Settings) -> anyhow::Result<Option<MasterKey>> {
    let given = settings.master_key.expose_secret();
    if given.is_empty() {
        return Ok(None);
    }
    MasterKey::parse(given).context("master_key").map(Some)
}

/// The key of an embedded database. Without one, and without a database, makes one.
pub(crate) fn beside(
    settings: &Settings,
    database: &Path,
    entropy: &dyn Entropy,
) -> anyhow::Result<MasterKey> {
    if let Some(key) = optional(settings)? {
        return Ok(key);
    }
    let path = database.with_file_name(FILE);
    match read(&path)? {
        Some(key) => Ok(key),
        None if database.exists() => match read(&path)? {
            // Another process has made both this very moment.
            Some(key) => Ok(key),
            None => anyhow::bail!(
                "{} is gone; put it back, or set POSTHORN_MASTER_KEY to the key that {} was made with",
                path.display(),
                database.display(),
            ),
        },
        None => {
            make(&path, entropy).with_context(|| format!("cannot write {}", path.display()))?;
            read(&path)?.with_context(|| format!("{} is gone again", path.display()))
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Option<MasterKey>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            MasterKey::parse(&text).map(Some).with_context(|| format!("the key in {}", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Makes the file, whole or not at all. If another process made it first, that
/// one stays.
fn make(path: &Path, entropy: &dyn Entropy) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What customers are told is theirs alone, also on this machine.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Nobody but the owner may ever read it, not even for an instant.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o600)).tempfile_in(folder)?;
    writeln!(file, "{}", MasterKey::generate(entropy).reveal().as_str())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}
