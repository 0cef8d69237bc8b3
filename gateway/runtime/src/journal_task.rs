//! The task that owns the journal: take everything that waits, commit it, say how far it is durable, repeat.
//! No timer: while one commit runs, the next batch grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use evergate_core::{DirectoryCommand, ShardCommand, ShardId, StreamId};
use evergate_journal::Journal;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::connections::add;
use crate::gateway::Gateway;

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
    closing: AtomicBool,
}

/// Runs until `finish`, or until the journal fails.
pub async fn run(gateway: Arc<Gateway>, mut journal: Box<dyn Journal>) {
    loop {
        let taken = gateway.sequencer.lock().take();
        let Some((batch, reached)) = taken else {
            if gateway.journal.closing.load(Ordering::Acquire) {
                break;
            }
            if let Err(error) = journal.idle().await {
                gateway.fail(&error.to_string());
                return;
            }
            gateway.logged.notified().await;
            continue;
        };
        let started = Instant::now();
        if !batch.is_empty() {
            if let Err(error) = journal.commit(&batch).await {
                // Terminal: nothing that waits for this commit is ever confirmed.
                gateway.fail(&error.to_string());
                return;
            }
            count(&gateway.journal, batch.messages.len(), started.elapsed());
        }
        for (stream, position) in reached {
            if stream == StreamId::DIRECTORY {
                gateway.directory.push(DirectoryCommand::Durable(position));
            } else {
                gateway.control(ShardId(stream.0 - 1), ShardCommand::Durable(position));
            }
        }
        // Freed here, after the confirms are on their way.
        drop(batch);
    }
    if let Err(error) = journal.close().await {
        tracing::error!(%error, "the journal did not close cleanly; what was confirmed is stored");
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
