//! The thread that moves what was committed from the write-ahead log to the file, beside the one that writes: a commit
//! must not wait for megabytes of earlier ones. Only the last bit, so that the log can begin anew, is the writer's.

use std::error::Error;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use evergate_journal::JournalError;
use rusqlite::Connection;

/// So few pages left in the log are a matter of milliseconds.
const FEW_PAGES: i64 = 256;
/// How often it tries to catch up with a writer that goes on.
const ROUNDS: usize = 4;

/// What a checkpoint left, in pages of the log.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// All pages in the log.
    pub logged: i64,
    /// Of those, pages that are in the file, too.
    pub moved: i64,
}

impl Progress {
    /// Moves what can be moved without keeping a writer waiting.
    pub fn make(connection: &Connection) -> rusqlite::Result<Self> {
        connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok(Self { logged: row.get(1)?, moved: row.get(2)? }))
    }
}

/// The thread's own connection.
#[derive(Debug)]
pub struct Mover {
    connection: Connection,
    /// The same file. To close it takes SQLite's locks off the file: whoever starts the thread keeps it open until all
    /// connections are closed.
    file: Arc<File>,
    /// Pages of the log that are in the file and synced.
    synced: i64,
}

impl Mover {
    pub fn new(connection: Connection, file: Arc<File>) -> Self {
        Self { connection, file, synced: 0 }
    }

    /// Moves what can be moved, and syncs the file. SQLite does so only when the writer has added nothing meanwhile:
    /// while it goes on, megabytes would wait for that moment, and then the next commit for them.
    fn step(&mut self) -> Result<Progress, Box<dyn Error>> {
        let progress = Progress::make(&self.connection)?;
        if progress.moved != self.synced {
            self.file.sync_data()?;
        }
        self.synced = progress.moved;
        Ok(progress)
    }
}

/// Hands work to the thread. Dropped, it waits until the thread has ended.
#[derive(Debug)]
pub struct Checkpointer {
    nudge: Option<SyncSender<()>>,
    is_near: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread. At `pages_max` in the log it is time to begin it anew.
    pub fn start(mover: Mover, pages_max: u32) -> Result<Self, JournalError> {
        let (nudge, nudges) = sync_channel(1);
        let is_near = Arc::new(AtomicBool::new(false));
        let told = is_near.clone();
        let thread = thread::Builder::new()
            .name("journal-checkpointer".into())
            .spawn(move || run(mover, &nudges, i64::from(pages_max), &told))
            .map_err(|error| JournalError::Open(format!("no thread for checkpoints: {error}")))?;
        Ok(Self { nudge: Some(nudge), is_near, thread: Some(thread) })
    }

    /// There is something to move.
    pub fn nudge(&self) {
        // One that is told already looks again.
        let _ = self.nudge.as_ref().map(|nudge| nudge.try_send(()));
    }

    /// Whether the log is long and nearly all of it moved: time for the writer to move the rest. Said once.
    pub fn is_near(&self) -> bool {
        self.is_near.load(Ordering::Relaxed) && self.is_near.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        drop(self.nudge.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported by its own hook.
            let _ = thread.join();
        }
    }
}

fn run(mut mover: Mover, nudges: &Receiver<()>, pages_max: i64, is_near: &AtomicBool) {
    while nudges.recv().is_ok() {
        for _ in 0..ROUNDS {
            match mover.step() {
                Ok(progress) if progress.logged < pages_max => break,
                Ok(progress) if progress.logged - progress.moved <= FEW_PAGES => {
                    is_near.store(true, Ordering::Relaxed);
                    break;
                }
                Ok(_) => {}
                Err(error) => {
                    // The log holds everything. If it goes on, the writer meets it, too, and says so.
                    tracing::warn!(%error, "the journal's log could not be moved to its file; trying again later");
                    break;
                }
            }
        }
    }
}
