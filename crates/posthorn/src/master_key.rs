//! The master key: from the settings, from a command, or from the file beside an
//! embedded database.

use std::fs::{File, Metadata, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use model::entropy::Entropy;
use model::vault::MasterKey;
use secrecy::ExposeSecret as _;

use crate::settings::Settings;

/// The file beside the database.
const FILE: &str = "master.key";
/// The file with the key that takes its place when the store is wrapped with it.
const NEXT: &str = "master.key.new";
/// For how long a command may take to give a key.
const PATIENCE: Duration = Duration::from_secs(30);

/// The key in the settings, which must be there: a file of this machine would
/// be no key for the others that share the database.
pub(crate) async fn given(settings: &Settings) -> anyhow::Result<MasterKey> {
    optional(settings).await?.context(
        "POSTHORN_MASTER_KEY is not set; all processes on one PostgreSQL database share a key: \
         make one with `openssl rand -base64 32` and keep a copy",
    )
}

async fn optional(settings: &Settings) -> anyhow::Result<Option<MasterKey>> {
    let (key, command) = (settings.master_key.expose_secret(), &settings.master_key_command);
    match (key.is_empty(), command.is_empty()) {
        (true, true) => Ok(None),
        (false, true) => MasterKey::parse(key).context("master_key").map(Some),
        (true, false) => from_command(command).await.context("master_key_command").map(Some),
        (false, false) => anyhow::bail!("master_key and master_key_command are both set; one is enough"),
    }
}

/// What a command prints, such as one that asks a key management service.
async fn from_command(command: &str) -> anyhow::Result<MasterKey> {
    let asked = tokio::process::Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    let output = answered.with_context(|| format!("no key after {} s", PATIENCE.as_secs()))??;
    anyhow::ensure!(output.status.success(), "the command failed ({})", output.status);
    let text = zeroize::Zeroizing::new(output.stdout);
    let text = std::str::from_utf8(&text).context("the command did not print text")?;
    Ok(MasterKey::parse(text)?)
}

/// The keys of an embedded database: its own, and the one that may have taken its
/// place when a change was interrupted. Without a key and without a database, makes
/// one.
pub(crate) async fn beside(
    settings: &Settings,
    database: &Path,
    entropy: &dyn Entropy,
) -> anyhow::Result<(MasterKey, Option<MasterKey>)> {
    if let Some(key) = optional(settings).await? {
        return Ok((key, None));
    }
    let path = database.with_file_name(FILE);
    let next = read(&database.with_file_name(NEXT))?;
    let own = match read(&path)? {
        Some(key) => key,
        None if database.exists() => match read(&path)? {
            // Another process has made both this very moment.
            Some(key) => key,
            None => anyhow::bail!(
                "{} is gone; put it back, or set POSTHORN_MASTER_KEY to the key that {} was made with",
                path.display(),
                database.display(),
            ),
        },
        None => {
            make(&path, &MasterKey::generate(entropy))?;
            read(&path)?.with_context(|| format!("{} is gone again", path.display()))?
        }
    };
    Ok((own, next))
}

/// Whether the key of an embedded database is in the file beside it.
pub(crate) fn is_in_file(settings: &Settings) -> bool {
    settings.master_key.expose_secret().is_empty() && settings.master_key_command.is_empty()
}

/// The change of a key that stands in the file beside an embedded database. Only one
/// command changes it at a time: a key that the store was wrapped with is never lost.
pub(crate) struct Change {
    path: PathBuf,
    next: PathBuf,
    _lock: File,
}

impl Change {
    /// Begins one, unless another command is at it.
    pub(crate) fn begin(database: &Path) -> anyhow::Result<Self> {
        let (path, next) = (database.with_file_name(FILE), database.with_file_name(NEXT));
        let lock = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let inode = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let is_ours = lock.try_lock().is_ok() && inode(lock.metadata()?) == inode(path.metadata()?);
        anyhow::ensure!(is_ours, "another command is just changing the master key");
        Ok(Self { path, next, _lock: lock })
    }

    /// Writes a new key beside the old one, which it is to follow.
    pub(crate) fn write_next(&self, entropy: &dyn Entropy) -> anyhow::Result<MasterKey> {
        // One is there if a change was interrupted before the store was wrapped with it.
        match std::fs::remove_file(&self.next) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", self.next.display()));
            }
            _ => {}
        }
        let key = MasterKey::generate(entropy);
        make(&self.next, &key)?;
        anyhow::ensure!(holds(&self.next, &key)?, "{} was written by somebody else", self.next.display());
        Ok(key)
    }

    /// The new key, with which the store is wrapped now, takes the place of the old one.
    pub(crate) fn end(self, key: &MasterKey) -> anyhow::Result<PathBuf> {
        match adopt_next(&self.path, &self.next) {
            // Who opened the store this very moment has done it.
            Err(_) if holds(&self.path, key)? => {}
            other => other?,
        }
        Ok(self.path)
    }
}

fn holds(path: &Path, key: &MasterKey) -> anyhow::Result<bool> {
    Ok(read(path)?.is_some_and(|found| found.reveal() == key.reveal()))
}

/// Ends a change that was cut off after the store was wrapped with the next key.
pub(crate) fn end_change(database: &Path) -> anyhow::Result<()> {
    adopt_next(&database.with_file_name(FILE), &database.with_file_name(NEXT))
}

fn adopt_next(path: &Path, next: &Path) -> anyhow::Result<()> {
    std::fs::rename(next, path)
        .with_context(|| format!("cannot rename {} to {}", next.display(), path.display()))?;
    sync_folder(path).with_context(|| format!("cannot write {}", path.display()))
}

/// What a folder holds has reached the disk when this returns.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
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
fn make(path: &Path, key: &MasterKey) -> anyhow::Result<()> {
    write(path, key).with_context(|| format!("cannot write {}", path.display()))
}

fn write(path: &Path, key: &MasterKey) -> anyhow::Result<()> {
    let folder = folder_of(path);
    // What customers are told is theirs alone, also on this machine.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Nobody but the owner may ever read it, not even for an instant.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(0o600)).tempfile_in(folder)?;
    writeln!(file, "{}", key.reveal().as_str())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(sync_folder(path)?),
    }
}
