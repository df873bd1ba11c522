//! The master key: from the settings, or from the file beside the database.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use model::entropy::Entropy;
use model::vault::MasterKey;
use secrecy::ExposeSecret as _;

use crate::settings::Settings;

/// The file beside the database.
const FILE: &str = "master.key";

/// The key of the deployment. Without one, and without a database, makes one.
pub(crate) fn load(settings: &Settings, database: &Path, entropy: &dyn Entropy) -> anyhow::Result<MasterKey> {
    let given = settings.master_key.expose_secret();
    if !given.is_empty() {
        return MasterKey::parse(given).context("master_key");
    }
    let path = database.with_file_name(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => MasterKey::parse(&text).with_context(|| format!("the key in {}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => make(&path, database, entropy),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn make(path: &PathBuf, database: &Path, entropy: &dyn Entropy) -> anyhow::Result<MasterKey> {
    anyhow::ensure!(
        !database.exists(),
        "{} is gone; put it back, or set POSTHORN_MASTER_KEY to the key that {} was made with",
        path.display(),
        database.display(),
    );
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        // What customers are told is theirs alone, also on this machine.
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let key = MasterKey::generate(entropy);
    // Nobody but the owner may ever read it, not even for an instant.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        writeln!(file, "{}", key.reveal().as_str())?;
        file.sync_all()
    });
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(key)
}
