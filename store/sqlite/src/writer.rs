//! The thread that writes.

use std::sync::mpsc;
use std::thread;

use evergate_journal::JournalError;
use rusqlite::{CachedStatement, Connection, Transaction, params};
use tokio::sync::oneshot;

use crate::plan::Plan;
use crate::recovery::{Found, recover};

/// Pages written since the last checkpoint that make one worthwhile when nothing else is to do.
const IDLE_CHECKPOINT_PAGES: u64 = 1_000;

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
    pub fn start(connection: Connection, page_bytes: u32) -> Result<Self, JournalError> {
        // One request at a time: each is answered before the next is made.
        let (requests, queue) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("journal-writer".into())
            .spawn(move || run(connection, &queue, u64::from(page_bytes)))
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

    /// Moves the log to the file, if it has grown.
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

fn run(mut connection: Connection, requests: &mpsc::Receiver<Request>, page_bytes: u64) {
    let mut pages_logged = 0;
    // Whoever asked may have gone away: then nobody wants the answer.
    while let Ok(request) = requests.recv() {
        match request {
            Request::Recover(reply) => drop(reply.send(recover(&connection).map(Box::new))),
            Request::Commit(plan, reply) => {
                pages_logged += pages(&plan, page_bytes);
                drop(
                    reply.send(write(&mut connection, &plan).map_err(|error| JournalError::Commit(error.to_string()))),
                );
            }
            Request::Idle(reply) => {
                let mut result = Ok(());
                if pages_logged >= IDLE_CHECKPOINT_PAGES {
                    pages_logged = 0;
                    result = checkpoint(&connection, "PASSIVE");
                }
                drop(reply.send(result));
            }
            Request::Close(reply) => {
                let result = checkpoint(&connection, "TRUNCATE");
                let closed = connection.close().map_err(|(_, error)| JournalError::Commit(error.to_string()));
                drop(reply.send(result.and(closed)));
                return;
            }
        }
    }
}

fn checkpoint(connection: &Connection, mode: &str) -> Result<(), JournalError> {
    let done = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()));
    done.map_err(|error| JournalError::Commit(error.to_string()))
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
