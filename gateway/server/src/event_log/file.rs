//! The file of events: one JSON object a line, bounded by keeping one file before it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file and its bound.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    bytes_max: u64,
    file: File,
    bytes: u64,
    /// Told once: a line for each event that cannot be written would be no help.
    failed: bool,
}

impl EventFile {
    /// Opens or creates it, with the directories above. When it has grown beyond `bytes_max` it becomes
    /// `<path>.1`, in the place of the one before, and a new one begins.
    pub fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory)?;
        }
        let file = append_to(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), bytes_max, file, bytes, failed: false })
    }

    /// Adds a line. A disk that is full does not stop the gateway: it is told once.
    pub fn append(&mut self, line: &str) {
        match self.try_append(line) {
            Ok(()) => self.failed = false,
            Err(error) if !self.failed => {
                self.failed = true;
                eprintln!("evergate: the event file {} cannot be written: {error}", self.path.display());
            }
            Err(_) => {}
        }
    }

    fn try_append(&mut self, line: &str) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 >= self.bytes_max {
            let mut before = self.path.clone().into_os_string();
            before.push(".1");
            std::fs::rename(&self.path, before)?;
            self.file = append_to(&self.path)?;
            self.bytes = 0;
        }
        // In one write, so that no half lines of two processes mix.
        let line = format!("{line}\n");
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_bounded_and_keeps_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deeper/events.jsonl");
        let mut file = EventFile::open(&path, 9).unwrap();
        for line in ["aaaa", "bbbb", "cccc"] {
            file.append(line);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "cccc\n");
        let before = directory.path().join("deeper/events.jsonl.1");
        assert_eq!(std::fs::read_to_string(&before).unwrap(), "bbbb\n");
        drop(file);
        let mut again = EventFile::open(&path, 9).unwrap();
        again.append("dddd");
        assert_eq!(std::fs::read_to_string(&before).unwrap(), "cccc\n");
    }

    #[test]
    fn a_line_longer_than_the_bound_is_still_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        EventFile::open(&path, 4).unwrap().append("longer than that");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "longer than that\n");
    }
}
