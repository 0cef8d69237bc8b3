//! A journal in memory that can be told to fail. For the simulator and for tests; nothing survives the process.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use evergate_model::{Message, QueueId, Seq};

use crate::codec;
use crate::index::live_ranges;
use crate::load::Loading;
use crate::{Batch, Journal, JournalError, JournalReader, Loaded, Recovered, RecoveredQueue, Table};

/// How the next commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// Nothing was written.
    Lost,
    /// It was written, but the caller only sees an error: the outcome is unknown to it.
    Unknown,
}

/// A journal in memory. Clones share the same storage, as several openings of one disk would.
///
/// The synchronous methods need no runtime: a simulator calls them directly.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    committed: Committed,
    commits: u64,
    next_fault: Option<CommitFault>,
    loads_to_fail: u32,
    /// A commit failed: no further one is taken until the next [`MemoryJournal::recover_now`].
    is_failed: bool,
    is_stalled: bool,
    stalled: Vec<Waker>,
}

#[derive(Debug, Default)]
struct Committed {
    queues: BTreeMap<QueueId, Queue>,
    state: BTreeMap<(Table, Arc<str>), Bytes>,
}

#[derive(Debug, Default)]
struct Queue {
    live: BTreeMap<Seq, Arc<Message>>,
    marks: BTreeSet<u32>,
    next_seq: u64,
}

impl MemoryJournal {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Commits the batch now. Stalls do not apply here: a simulator stalls by not calling.
    pub fn apply(&self, batch: &Batch) -> Result<(), JournalError> {
        let mut inner = self.lock();
        if inner.is_failed {
            return Err(JournalError::Commit("an earlier commit failed".into()));
        }
        let fault = inner.next_fault.take();
        if fault != Some(CommitFault::Lost) {
            inner.committed.apply(batch);
            inner.commits += 1;
        }
        if let Some(fault) = fault {
            inner.is_failed = true;
            return Err(JournalError::Commit(format!("asked to fail ({fault:?})")));
        }
        Ok(())
    }

    /// What a restart finds. Also what a restart does: commits are taken again after a failed one, and
    /// whatever was not committed is gone.
    pub fn recover_now(&self) -> Recovered {
        let mut inner = self.lock();
        inner.is_failed = false;
        inner.next_fault = None;
        inner.committed.recovered()
    }

    /// As [`JournalReader::load`].
    pub fn load_now(
        &self,
        queue: QueueId,
        first: Seq,
        last: Seq,
        messages_max: usize,
        bytes_max: u64,
    ) -> Result<Loaded, JournalError> {
        let mut inner = self.lock();
        if inner.loads_to_fail > 0 {
            inner.loads_to_fail -= 1;
            return Err(JournalError::Read("asked to fail".into()));
        }
        let mut loading = Loading::new(last, messages_max, bytes_max);
        if let Some(queue) = inner.committed.queues.get(&queue)
            && first <= last
        {
            for (seq, message) in queue.live.range(first..=last) {
                if !loading.take(*seq, as_stored(message)) {
                    break;
                }
            }
        }
        Ok(loading.finish())
    }

    /// The next commit fails.
    pub fn fail_next_commit(&self, fault: CommitFault) {
        self.lock().next_fault = Some(fault);
    }

    /// The next `count` loads fail.
    pub fn fail_next_loads(&self, count: u32) {
        self.lock().loads_to_fail = count;
    }

    /// Commits of the async trait wait until [`Self::resume`].
    pub fn stall(&self) {
        self.lock().is_stalled = true;
    }

    /// Ends a stall.
    pub fn resume(&self) {
        let mut inner = self.lock();
        inner.is_stalled = false;
        let waiting = std::mem::take(&mut inner.stalled);
        drop(inner);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// How many commits were written.
    pub fn commit_count(&self) -> u64 {
        self.lock().commits
    }

    /// Live places of all queues.
    pub fn live_count(&self) -> usize {
        self.lock().committed.queues.values().map(|queue| queue.live.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is complete before the lock is let go, so a panic elsewhere harms nothing.
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn stall_ended(&self) {
        poll_fn(|context| {
            let mut inner = self.lock();
            if !inner.is_stalled {
                return Poll::Ready(());
            }
            inner.stalled.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Committed {
    fn apply(&mut self, batch: &Batch) {
        for id in &batch.purged {
            if let Some(queue) = self.queues.get_mut(id) {
                queue.live.clear();
                queue.marks.clear();
            }
        }
        for stored in &batch.messages {
            for (id, seq) in &stored.targets {
                let queue = self.queues.entry(*id).or_default();
                queue.next_seq = queue.next_seq.max(seq.0.saturating_add(1));
                queue.live.insert(*seq, as_stored(&stored.message));
            }
        }
        for (id, first, last) in &batch.settled {
            if let Some(queue) = self.queues.get_mut(id)
                && first <= last
            {
                let mut rest = queue.live.split_off(first);
                if let Some(after) = last.0.checked_add(1) {
                    queue.live.append(&mut rest.split_off(&Seq(after)));
                }
            }
        }
        for (id, number, set) in &batch.marks {
            if *set {
                self.queues.entry(*id).or_default().marks.insert(*number);
            } else if let Some(queue) = self.queues.get_mut(id) {
                queue.marks.remove(number);
            }
        }
        for change in &batch.state {
            let key = (change.table, change.key.clone());
            let Some(value) = &change.value else {
                self.state.remove(&key);
                change.deleted_queue().into_iter().for_each(|id| self.forget(id));
                continue;
            };
            self.state.insert(key, value.clone());
        }
    }

    fn forget(&mut self, id: QueueId) {
        if self.queues.get(&id).is_some_and(|queue| queue.live.is_empty() && queue.marks.is_empty()) {
            self.queues.remove(&id);
        }
    }

    fn recovered(&self) -> Recovered {
        let queue = |(id, queue): (&QueueId, &Queue)| {
            let sizes: Vec<_> = queue.live.iter().map(|(seq, message)| (seq.0, message.size_bytes())).collect();
            RecoveredQueue {
                id: *id,
                next_seq: Seq(queue.next_seq),
                live: live_ranges(&sizes),
                marks: queue.marks.iter().copied().collect(),
            }
        };
        Recovered {
            queues: self.queues.iter().map(queue).collect(),
            state: self.state.iter().map(|((table, key), value)| (*table, key.clone(), value.clone())).collect(),
        }
    }
}

/// A message as other stores give it back: one that has a large body names it, and does not keep it alive.
fn as_stored(message: &Arc<Message>) -> Arc<Message> {
    if message.meta.large().is_none() {
        return message.clone();
    }
    codec::decode_message(&codec::encode_message(message).into()).map_or_else(|_| message.clone(), Arc::new)
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn recover(&mut self) -> Result<Recovered, JournalError> {
        Ok(self.recover_now())
    }

    async fn commit(&mut self, batch: &Batch) -> Result<(), JournalError> {
        self.stall_ended().await;
        self.apply(batch)
    }

    fn reader(&self) -> Arc<dyn JournalReader> {
        Arc::new(self.clone())
    }

    async fn close(self: Box<Self>) -> Result<(), JournalError> {
        Ok(())
    }
}

#[async_trait]
impl JournalReader for MemoryJournal {
    async fn load(
        &self,
        queue: QueueId,
        first: Seq,
        last: Seq,
        messages_max: usize,
        bytes_max: u64,
    ) -> Result<Loaded, JournalError> {
        self.load_now(queue, first, last, messages_max, bytes_max)
    }
}
