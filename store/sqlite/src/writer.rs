//! The thread that writes.

use std::sync::mpsc;
use std::thread;

use evergate_journal::JournalError;
use rusqlite::{CachedStatement, Connection, Transaction, params};
use tokio::sync::oneshot;

use crate::Options;
use crate::checkpointer::{Checkpointer, Progress};
use crate::plan::Plan;
use crate::recovery::{Found, recover};

/// Pages written since the last checkpoint that make one worthwhile. Often is dear where commits are many and small.
const CHECKPOINT_PAGES: u64 = 1_000;
/// While something large is stored, a commit of others that meets a checkpoint at the disk is to wait for half a
/// megabyte of it, not for ten.
const CHECKPOINT_PAGES_AMONG_LARGE: u64 = 64;
/// A row of so many bytes is large.
const LARGE_BYTES: usize = 64 << 10;
/// The log may grow to so many times its usual length while the checkpointer cannot catch up.
const LONGEST: u64 = 8;

type Reply<T> = oneshot::Sender<Result<T, JournalError>>;

enum Request {
    Recover(Reply<Box<Found>>),
    Commit(Box<Plan>, Reply<()>),
    Idle(Reply<()>),
    Close(Reply<()>),
}

/// Hands work to the thread. Dropped, it waits until the thread has let go of the file.
#[derive(Debug)]
pub struct Writer {
    requests: Option<mpsc::SyncSender<Request>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub fn start(connection: Connection, checkpointer: Checkpointer, options: Options) -> Result<Self, JournalError> {
        // One request at a time: each is answered before the next is made.
        let (requests, queue) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("journal-writer".into())
            .spawn(move || run(connection, &queue, checkpointer, options))
            .map_err(|error| JournalError::Open(format!("no thread for the writer: {error}")))?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Reads what a restart needs.
    pub async fn recover(&self) -> Result<Found, JournalError> {
        Ok(*self.ask(Request::Recover).await?)
    }

    /// Writes a plan, whole or not at all.
    pub async fn commit(&self, plan: Plan) -> Result<(), JournalError> {
        self.ask(|reply| Request::Commit(Box::new(plan), reply)).await
    }

    /// Has the log moved to the file, if it has grown.
    pub async fn idle(&self) -> Result<(), JournalError> {
        self.ask(Request::Idle).await
    }

    /// Ends the thread.
    pub async fn close(self) -> Result<(), JournalError> {
        self.ask(Request::Close).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, JournalError> {
        let gone = || JournalError::Commit("the thread that writes has ended".into());
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        requests.try_send(request(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported by its own hook.
            let _ = thread.join();
        }
    }
}

fn run(mut connection: Connection, requests: &mpsc::Receiver<Request>, checkpointer: Checkpointer, options: Options) {
    let mut log = Log { checkpointer, options, new_pages: 0, pages: 0 };
    // Whoever asked may have gone away: then nobody wants the answer.
    while let Ok(request) = requests.recv() {
        match request {
            Request::Recover(reply) => drop(reply.send(recover(&connection).map(Box::new))),
            Request::Commit(plan, reply) => {
                drop(reply.send(write(&mut connection, &plan).map_err(failed)));
                log.grown(&plan);
                if log.is_to_begin_anew()
                    && let Err(error) = log.begin_anew(&connection)
                {
                    tracing::warn!(%error, "the journal's log could not be moved to its file; trying again later");
                }
            }
            Request::Idle(reply) => {
                log.nudge(CHECKPOINT_PAGES);
                drop(reply.send(Ok(())));
            }
            Request::Close(reply) => {
                drop(log);
                let moved = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
                let result = moved.map_err(failed);
                let closed = connection.close().map_err(|(_, error)| failed(error));
                drop(reply.send(result.and(closed)));
                return;
            }
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` hands it over
fn failed(error: rusqlite::Error) -> JournalError {
    JournalError::Commit(error.to_string())
}

/// How long the write-ahead log is, about.
struct Log {
    checkpointer: Checkpointer,
    options: Options,
    /// Pages since the checkpointer was nudged.
    new_pages: u64,
    /// Pages since it began anew.
    pages: u64,
}

impl Log {
    fn grown(&mut self, plan: &Plan) {
        let pages = pages(plan, self.options.page_bytes.into());
        self.pages += pages;
        self.new_pages += pages;
        let has_large = plan.packs.iter().any(|pack| pack.messages.len() >= LARGE_BYTES);
        self.nudge(if has_large { CHECKPOINT_PAGES_AMONG_LARGE } else { CHECKPOINT_PAGES });
    }

    fn nudge(&mut self, least: u64) {
        if self.new_pages >= least {
            self.new_pages = 0;
            self.checkpointer.nudge();
        }
    }

    fn is_to_begin_anew(&self) -> bool {
        self.checkpointer.is_near() || self.pages > u64::from(self.options.checkpoint_pages) * LONGEST
    }

    /// Moves the rest. The next commit then begins the log anew.
    fn begin_anew(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.pages = 0;
        Progress::make(connection).map(drop)
    }
}

/// About how many pages of log a plan makes.
fn pages(plan: &Plan, page_bytes: u64) -> u64 {
    let bytes: usize = plan.packs.iter().map(|pack| pack.messages.len() + pack.places.len()).sum();
    4 + bytes as u64 / page_bytes.max(1)
}

fn write(connection: &mut Connection, plan: &Plan) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    write_messages(&transaction, plan)?;
    write_state(&transaction, plan)?;
    transaction.commit()
}

fn prepare<'a>(transaction: &'a Transaction<'_>, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
    transaction.prepare_cached(sql)
}

fn write_messages(transaction: &Transaction<'_>, plan: &Plan) -> rusqlite::Result<()> {
    let mut insert = prepare(transaction, "INSERT INTO pack (id, places, messages) VALUES (?, ?, ?)")?;
    for pack in &plan.packs {
        insert.execute(params![pack.id.0.cast_signed(), pack.places, pack.messages])?;
    }
    let mut delete_pack = prepare(transaction, "DELETE FROM pack WHERE id BETWEEN ? AND ?")?;
    let mut delete_settled = prepare(transaction, "DELETE FROM settled WHERE pack BETWEEN ? AND ?")?;
    for (first, last) in &plan.dead {
        delete_pack.execute([first.0.cast_signed(), last.0.cast_signed()])?;
        delete_settled.execute([first.0.cast_signed(), last.0.cast_signed()])?;
    }
    let mut settle = prepare(transaction, "INSERT INTO settled (pack, queue, first, last) VALUES (?, ?, ?, ?)")?;
    for run in &plan.settled {
        let row = [run.pack.0, run.queue.0, run.first.0, run.last.0];
        settle.execute(row.map(u64::cast_signed))?;
    }
    Ok(())
}

fn write_state(transaction: &Transaction<'_>, plan: &Plan) -> rusqlite::Result<()> {
    let mut keep = prepare(transaction, "INSERT OR REPLACE INTO queue (id, next_seq) VALUES (?, ?)")?;
    for (queue, next) in &plan.next_seqs {
        keep.execute([queue.0.cast_signed(), next.0.cast_signed()])?;
    }
    let mut forget = prepare(transaction, "DELETE FROM queue WHERE id = ?")?;
    for queue in &plan.forgotten {
        forget.execute([queue.0.cast_signed()])?;
    }
    let mut purge = prepare(transaction, "DELETE FROM mark WHERE queue = ?")?;
    for queue in &plan.purged {
        purge.execute([queue.0.cast_signed()])?;
    }
    let mut set = prepare(transaction, "INSERT OR IGNORE INTO mark (queue, number) VALUES (?, ?)")?;
    let mut clear = prepare(transaction, "DELETE FROM mark WHERE queue = ? AND number = ?")?;
    for (queue, number, is_set) in &plan.marks {
        let statement = if *is_set { &mut set } else { &mut clear };
        statement.execute(params![queue.0.cast_signed(), number])?;
    }
    let mut put = prepare(transaction, "INSERT OR REPLACE INTO state (kind, key, value) VALUES (?, ?, ?)")?;
    let mut delete = prepare(transaction, "DELETE FROM state WHERE kind = ? AND key = ?")?;
    for change in &plan.state {
        let table = change.table as i16;
        match &change.value {
            Some(value) => put.execute(params![table, &*change.key, &value[..]])?,
            None => delete.execute(params![table, &*change.key])?,
        };
    }
    Ok(())
}
