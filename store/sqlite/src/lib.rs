//! The embedded journal: SQLite in WAL mode, each commit synced to the disk.
//!
//! The messages of a commit are packed into rows. A row is deleted when its last message is settled;
//! until then the settled places of it are rows of their own. An index in memory knows where each live
//! place is, so the file needs no index of messages. SQLite blocks, so it has three threads: one writes,
//! one reads, one moves the log to the file.

mod checkpointer;
mod lock;
mod pack;
mod plan;
mod reader;
mod recovery;
mod schema;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use evergate_journal::index::Index;
use evergate_journal::{Batch, Journal, JournalError, JournalReader, Recovered};
use parking_lot::Mutex;

use crate::checkpointer::{Checkpointer, Mover};
use crate::lock::DirectoryLock;
use crate::plan::Planner;
use crate::reader::Reader;
use crate::writer::Writer;

/// The file's name in its directory.
pub const FILE_NAME: &str = "journal.sqlite3";

/// What can be tuned. The defaults are what was measured best.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// About how many bytes of messages go into one row.
    pub pack_bytes: usize,
    /// Pages in the write-ahead log at which it is to begin anew.
    pub checkpoint_pages: u32,
    /// The file's page size; only of use when the file is new.
    pub page_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { pack_bytes: 16 * 1024, checkpoint_pages: 16_000, page_bytes: 8192 }
    }
}

impl Options {
    /// What the log keeps of the disk when it begins anew. It begins so at half of that, about.
    fn log_bytes_max(&self) -> i64 {
        2 * i64::from(self.checkpoint_pages) * i64::from(self.page_bytes)
    }
}

/// Where each live place is. The writer changes it, readers look up.
type SharedIndex = Arc<Mutex<Index>>;

/// A journal in a directory that nobody else uses meanwhile.
#[derive(Debug)]
pub struct SqliteJournal {
    index: SharedIndex,
    planner: Planner,
    writer: Writer,
    reader: Arc<Reader>,
    /// Why no commit is taken. Set while one is under way, so that one given up half-way counts as failed.
    refuses: Option<String>,
    /// See [`Mover`].
    _file: Arc<File>,
    _lock: DirectoryLock,
}

impl SqliteJournal {
    /// Opens the journal in `directory`, creating both if they are not there.
    pub fn open(directory: &Path, options: Options) -> Result<Self, JournalError> {
        let lock = DirectoryLock::take(directory)?;
        let path: PathBuf = directory.join(FILE_NAME);
        let connection = schema::open_writer(&path, options)?;
        let file = Arc::new(File::open(&path).map_err(|error| schema::open_error(&path, &error))?);
        let mover = Mover::new(schema::open_checkpointer(&path)?, file.clone());
        let index = SharedIndex::default();
        Ok(Self {
            planner: Planner::new(options.pack_bytes),
            writer: Writer::start(connection, Checkpointer::start(mover, options.checkpoint_pages)?, options)?,
            reader: Arc::new(Reader::start(&path, index.clone())?),
            index,
            refuses: Some("it was not recovered first".into()),
            _file: file,
            _lock: lock,
        })
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn recover(&mut self) -> Result<Recovered, JournalError> {
        let found = self.writer.recover().await?;
        self.planner.start_after(found.last_pack, found.pack_live);
        *self.index.lock() = found.index;
        self.refuses = None;
        Ok(found.recovered)
    }

    async fn commit(&mut self, batch: &Batch) -> Result<(), JournalError> {
        if let Some(reason) = &self.refuses {
            return Err(JournalError::Commit(reason.clone()));
        }
        let plan = self.planner.plan(batch, &mut self.index.lock());
        if plan.is_empty() {
            return Ok(());
        }
        self.refuses = Some("an earlier commit was given up before its outcome was known".into());
        match self.writer.commit(plan).await {
            Ok(()) => {
                self.refuses = None;
                Ok(())
            }
            Err(error) => {
                self.refuses = Some(format!("an earlier commit failed: {error}"));
                Err(error)
            }
        }
    }

    fn reader(&self) -> Arc<dyn JournalReader> {
        self.reader.clone()
    }

    async fn idle(&mut self) -> Result<(), JournalError> {
        self.writer.idle().await
    }

    async fn close(self: Box<Self>) -> Result<(), JournalError> {
        let Self { writer, reader, _file: file, _lock: lock, .. } = *self;
        reader.stop();
        let result = writer.close().await;
        drop(file);
        drop(lock);
        result
    }
}
