//! The thread that reads messages back, on a connection of its own.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use async_trait::async_trait;
use bytes::Bytes;
use evergate_journal::codec::decode_message;
use evergate_journal::index::{PackId, Run};
use evergate_journal::load::Loading;
use evergate_journal::{JournalError, JournalReader, Loaded};
use evergate_model::{Message, QueueId, Seq};
use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _};
use tokio::sync::oneshot;

use crate::SharedIndex;
use crate::pack::{read_messages, read_places};

struct Request {
    runs: Vec<Run>,
    first: Seq,
    last: Seq,
    loading: Loading,
    reply: oneshot::Sender<Result<Loaded, JournalError>>,
}

/// Hands loads to the thread.
#[derive(Debug)]
pub struct Reader {
    index: SharedIndex,
    worker: Mutex<Option<Worker>>,
}

#[derive(Debug)]
struct Worker {
    requests: mpsc::Sender<Request>,
    thread: thread::JoinHandle<()>,
}

impl Reader {
    /// Starts the thread.
    pub fn start(path: &Path, index: SharedIndex) -> Result<Self, JournalError> {
        let connection = crate::schema::open_reader(path)?;
        let (requests, queue) = mpsc::channel::<Request>();
        let thread = thread::Builder::new()
            .name("journal-reader".into())
            .spawn(move || {
                while let Ok(request) = queue.recv() {
                    let result = load(&connection, &request.runs, request.first, request.last, request.loading);
                    // Whoever asked may have gone away: then nobody wants the answer.
                    let _ = request.reply.send(result);
                }
            })
            .map_err(|error| JournalError::Open(format!("no thread for the reader: {error}")))?;
        Ok(Self { index, worker: Mutex::new(Some(Worker { requests, thread })) })
    }

    /// Ends the thread once it has answered; later loads fail.
    pub fn stop(&self) {
        if let Some(worker) = self.worker.lock().take() {
            drop(worker.requests);
            // A panic in it was reported by its own hook.
            let _ = worker.thread.join();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop();
    }
}

#[async_trait]
impl JournalReader for Reader {
    async fn load(
        &self,
        queue: QueueId,
        first: Seq,
        last: Seq,
        messages_max: usize,
        bytes_max: u64,
    ) -> Result<Loaded, JournalError> {
        let mut loading = Loading::new(last, messages_max, bytes_max);
        let runs = runs_for(&self.index, queue, first, last, &mut loading);
        if runs.is_empty() {
            return Ok(loading.finish());
        }
        let closed = || JournalError::Read("the journal is closed".into());
        let (reply, answer) = oneshot::channel();
        let request = Request { runs, first, last, loading, reply };
        let requests = self.worker.lock().as_ref().map(|worker| worker.requests.clone()).ok_or_else(closed)?;
        requests.send(request).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

/// The runs to read: as many as hold one message more than wanted, so that a full load is known to be full.
fn runs_for(index: &SharedIndex, queue: QueueId, first: Seq, last: Seq, loading: &mut Loading) -> Vec<Run> {
    let wanted = (loading.messages_left() as u64).saturating_add(1);
    let mut runs = Vec::new();
    let mut places = 0_u64;
    for run in index.lock().runs(queue, first, last) {
        runs.push(run);
        places += run.last.min(last).0 - run.first.max(first).0 + 1;
        if places >= wanted {
            break;
        }
    }
    runs
}

fn load(
    connection: &Connection,
    runs: &[Run],
    first: Seq,
    last: Seq,
    mut loading: Loading,
) -> Result<Loaded, JournalError> {
    let mut runs = runs.iter().peekable();
    while let Some(run) = runs.next() {
        // All neighbouring runs in the same row are served by reading it once.
        let mut spans = vec![(run.first.max(first), run.last.min(last))];
        while let Some(next) = runs.next_if(|next| next.pack == run.pack) {
            spans.push((next.first.max(first), next.last.min(last)));
        }
        for (seq, bytes) in read_pack(connection, run.pack, run.queue, &spans)? {
            let message = decode(&bytes).map_err(|error| damaged(run.pack, error))?;
            if !loading.take(seq, Arc::new(message)) {
                return Ok(loading.finish());
            }
        }
    }
    Ok(loading.finish())
}

fn damaged(pack: PackId, error: impl std::fmt::Display) -> JournalError {
    JournalError::Damaged(format!("row {} of its messages: {error}", pack.0))
}

fn failed(pack: PackId, error: &rusqlite::Error) -> JournalError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => damaged(pack, error),
        _ => JournalError::Read(format!("row {} of its messages: {error}", pack.0)),
    }
}

/// The messages of `queue` within `spans` in a row, by place. None if the row was settled meanwhile.
fn read_pack(
    connection: &Connection,
    pack: PackId,
    queue: QueueId,
    spans: &[(Seq, Seq)],
) -> Result<Vec<(Seq, Bytes)>, JournalError> {
    let mut statement = connection
        .prepare_cached("SELECT places, messages FROM pack WHERE id = ?")
        .map_err(|error| failed(pack, &error))?;
    let row = statement
        .query_row([pack.0.cast_signed()], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()
        .map_err(|error| failed(pack, &error))?;
    let Some((places, messages)) = row else { return Ok(Vec::new()) };
    let places = read_places(places.into()).map_err(|error| damaged(pack, error))?;
    let messages = read_messages(messages.into()).map_err(|error| damaged(pack, error))?;
    let is_wanted = |seq: Seq| spans.iter().any(|(first, last)| (*first..=*last).contains(&seq));
    let mut found = Vec::new();
    for place in places.iter().filter(|place| place.queue == queue && is_wanted(place.seq)) {
        let bytes = messages.get(place.message).ok_or_else(|| damaged(pack, "a message is missing"))?;
        found.push((place.seq, bytes.clone()));
    }
    found.sort_unstable_by_key(|(seq, _)| *seq);
    Ok(found)
}

/// A message on bytes of its own: as a slice of the row it would keep the whole row in memory.
fn decode(bytes: &Bytes) -> Result<Message, evergate_journal::codec::DecodeError> {
    const ALONE_BYTES: usize = 16 * 1024;
    if bytes.len() > ALONE_BYTES { decode_message(bytes) } else { decode_message(&Bytes::copy_from_slice(bytes)) }
}
