//! One gateway a directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use evergate_journal::JournalError;

const FILE_NAME: &str = "journal.lock";

/// Held as long as the journal is open. The operating system lets it go when the process ends, however it ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Creates the directory if need be, and takes it.
    pub fn take(directory: &Path) -> Result<Self, JournalError> {
        let refuse = |what: &str, error: &dyn std::fmt::Display| {
            JournalError::Open(format!(
                "{what} {}: {error}; let this user write there, or name another directory in [journal] url",
                directory.display()
            ))
        };
        std::fs::create_dir_all(directory).map_err(|error| refuse("cannot create the directory", &error))?;
        let path = directory.join(FILE_NAME);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = opened.map_err(|error| refuse("cannot write to the directory", &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Without the number the text is still true.
                let _ = file.read_to_string(&mut owner);
                let owner = owner.trim();
                let owner = if owner.is_empty() { String::new() } else { format!(" (process {owner})") };
                return Err(JournalError::Open(format!(
                    "another gateway{owner} uses the directory {}; stop it or choose another directory",
                    directory.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(refuse("cannot lock the directory", &error)),
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        written.map_err(|error| refuse("cannot write to the directory", &error))?;
        Ok(Self { _file: file })
    }
}
