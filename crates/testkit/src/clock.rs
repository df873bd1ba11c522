//! The time of day as a program sees it, moved by a test: libfaketime.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::program::Start;

/// A clock that runs like the machine's, and that a test can set forward.
///
/// Only the time of day is moved. What a program measures without a calendar,
/// such as its time-outs, goes on at its own pace.
#[derive(Debug)]
pub struct Clock {
    ahead: Duration,
    file: NamedTempFile,
    library: PathBuf,
}

impl Clock {
    /// A clock that is not ahead yet.
    pub fn new() -> Self {
        let clock = Self { ahead: Duration::ZERO, file: NamedTempFile::new().unwrap(), library: library() };
        clock.write();
        clock
    }

    /// A program that goes by this clock.
    pub fn of(&self, start: Start) -> Start {
        start
            .with("LD_PRELOAD", self.library.display().to_string())
            .with("FAKETIME_TIMESTAMP_FILE", self.file.path().display().to_string())
            .with("FAKETIME_NO_CACHE", "1")
            .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .with("DONT_FAKE_MONOTONIC", "1")
    }

    /// Sets the clock forward to `ahead` of the machine's.
    pub fn set_ahead(&mut self, ahead: Duration) {
        self.ahead = ahead;
        self.write();
    }

    fn write(&self) {
        // At once, so that no reader finds half of it.
        let next = self.file.path().with_extension("next");
        std::fs::write(&next, format!("+{}", self.ahead.as_secs())).unwrap();
        std::fs::rename(next, self.file.path()).unwrap();
    }
}

/// Where libfaketime is.
pub(crate) fn library() -> PathBuf {
    let places = std::fs::read_dir("/usr/lib").unwrap().flatten();
    places
        .map(|place| place.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
        .expect("libfaketime is installed; scripts/test does so")
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
