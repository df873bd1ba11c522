//! Whether the path still leads to the files that are written.
//!
//! A file that was removed or replaced goes on to be written as long as it is
//! open, and nobody finds again what is in it. So it is looked after each
//! commit, before anybody is told of it.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What tells a file from all others of the machine.
type Inode = (u64, u64);

/// The files of a database: itself, and its write-ahead log.
#[derive(Debug)]
pub(super) struct Identity {
    files: Vec<(PathBuf, Inode)>,
}

fn inode_of(file: &Metadata) -> Inode {
    (file.dev(), file.ino())
}

fn inode(path: &Path) -> Option<Inode> {
    std::fs::metadata(path).ok().as_ref().map(inode_of)
}

impl Identity {
    /// The files as they are now, when the database is open. `locked` is the
    /// file that this process holds; where the path leads to another one by
    /// now, there are none.
    pub(super) fn of(database: &Path, locked: &File) -> Option<Self> {
        let held = inode_of(&locked.metadata().ok()?);
        (inode(database) == Some(held)).then(|| Self::as_it_is(database))
    }

    fn as_it_is(database: &Path) -> Self {
        // The log is beside the file, which may be behind a link.
        let real = database.canonicalize().unwrap_or_else(|_| database.to_owned());
        let log = PathBuf::from(format!("{}-wal", real.display()));
        let known = [database.to_owned(), real, log].into_iter();
        Self { files: known.filter_map(|path| inode(&path).map(|inode| (path, inode))).collect() }
    }

    /// Which of the files is there no longer, or is another one.
    pub(super) fn lost(&self) -> Option<&Path> {
        let lost = self.files.iter().find(|(path, known)| inode(path) != Some(*known));
        lost.map(|(path, _)| path.as_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_replaced_is_another_one_and_one_by_another_name_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        std::fs::write(&path, "1").expect("is written");
        let locked = File::open(&path).expect("is there");
        let identity = Identity::of(&path, &locked).expect("is the same");
        assert_eq!(identity.lost(), None);
        std::fs::write(&path, "22").expect("is written");
        assert_eq!(identity.lost(), None);
        let linked = folder.path().join("b.db");
        std::fs::hard_link(&path, &linked).expect("is linked");
        assert_eq!(inode(&linked), inode(&path));
        std::fs::remove_file(&path).expect("is removed");
        assert_eq!(identity.lost(), Some(path.as_path()));
        std::fs::write(&path, "22").expect("is written");
        assert_eq!(identity.lost(), Some(path.as_path()));
        assert!(Identity::of(&path, &locked).is_none());
    }
}
