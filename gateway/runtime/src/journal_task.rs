//! The task that owns the journal: take everything that waits, commit it, say how far it is durable, repeat.
//! No timer: while one commit runs, the next batch grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use evergate_core::{DirectoryCommand, ShardCommand, ShardId, StreamId};
use evergate_journal::{Journal, JournalError};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::connections::add;
use crate::gateway::Gateway;

/// How long the journal may take for one thing before the gateway says that it is not ready: what is confirmed waits
/// for the journal. A commit takes milliseconds; under the heaviest load that was measured, less than a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How often a journal is asked whether it is still there while nothing is to be committed.
const ASK_EACH: Duration = Duration::from_secs(5);

/// The journal's counters since the node started.
#[derive(Debug, Default)]
pub struct JournalFigures {
    /// Commits.
    pub commits: AtomicU64,
    /// Messages committed.
    pub messages: AtomicU64,
    /// Time spent in commits, in microseconds.
    pub commit_micros: AtomicU64,
    /// The longest commit, in microseconds.
    pub commit_micros_max: AtomicU64,
    /// Records in the commit under way.
    pub(crate) committing: AtomicUsize,
    /// Since when the journal has been at what it does now.
    busy_since: Mutex<Option<Instant>>,
    closing: AtomicBool,
}

impl JournalFigures {
    /// How long it has not answered, if that is longer than it should be.
    pub fn stalled_for(&self) -> Option<Duration> {
        let since = *self.busy_since.lock();
        since.map(|since| since.elapsed()).filter(|elapsed| *elapsed >= PATIENCE)
    }

    /// The outcome of something that it is asked for, and how long that took.
    async fn timed<T>(&self, asked: impl Future<Output = T>) -> (T, Duration) {
        let started = Instant::now();
        *self.busy_since.lock() = Some(started);
        let outcome = asked.await;
        *self.busy_since.lock() = None;
        (outcome, started.elapsed())
    }
}

/// Runs until `finish`, or until the journal fails.
pub async fn run(gateway: Arc<Gateway>, mut journal: Box<dyn Journal>) {
    if let Err(error) = serve(&gateway, &mut *journal).await {
        // Terminal: nothing that waits for a commit is ever confirmed.
        gateway.fail(&error.to_string());
        return;
    }
    if let Err(error) = journal.close().await {
        tracing::error!(%error, "the journal did not close cleanly; what was confirmed is stored");
    }
}

async fn serve(gateway: &Gateway, journal: &mut dyn Journal) -> Result<(), JournalError> {
    let figures = &gateway.journal;
    loop {
        let taken = {
            let mut sequencer = gateway.sequencer.lock();
            let waiting = sequencer.waiting();
            let taken = sequencer.take();
            figures.committing.store(waiting - sequencer.waiting(), Ordering::Relaxed);
            taken
        };
        let Some((batch, reached)) = taken else {
            if figures.closing.load(Ordering::Acquire) {
                return Ok(());
            }
            figures.timed(journal.idle()).await.0?;
            tokio::select! {
                () = gateway.logged.notified() => {}
                error = journal.ended() => return Err(error),
                () = sleep(ASK_EACH) => figures.timed(journal.ask()).await.0?,
            }
            continue;
        };
        if !batch.is_empty() {
            let (committed, elapsed) = figures.timed(journal.commit(&batch)).await;
            committed?;
            count(figures, batch.messages.len(), elapsed);
        }
        for (stream, position) in reached {
            if stream == StreamId::DIRECTORY {
                gateway.directory.push(DirectoryCommand::Durable(position));
            } else {
                gateway.control(ShardId(stream.0 - 1), ShardCommand::Durable(position));
            }
        }
        figures.committing.store(0, Ordering::Relaxed);
        // Freed here, after the confirms are on their way.
        drop(batch);
    }
}

fn count(figures: &JournalFigures, messages: usize, elapsed: Duration) {
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    add(&figures.commits, 1);
    add(&figures.messages, messages as u64);
    add(&figures.commit_micros, micros);
    figures.commit_micros_max.fetch_max(micros, Ordering::Relaxed);
}

/// Lets the writer commit what is there and close the journal.
pub async fn finish(gateway: &Gateway, mut writer: JoinHandle<()>, deadline: Instant) {
    // Directory and shards still turn the last commands into records: wait until they are quiet.
    while gateway.journal_pending() > 0 && Instant::now() < deadline && gateway.failure().is_none() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    gateway.journal.closing.store(true, Ordering::Release);
    gateway.logged.notify_one();
    if timeout_at(deadline, &mut writer).await.is_err() {
        tracing::warn!("the journal is still busy: leaving it; what was confirmed is stored");
        writer.abort();
    }
}
