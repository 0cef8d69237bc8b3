//! The journal's task: takes batches from the sequencer, commits them when the schedule says so.

use std::collections::{BTreeMap, BTreeSet};

use evergate_core::{Position, StreamId};
use evergate_journal::Batch;
use evergate_journal::memory::MemoryJournal;
use evergate_model::{MessageId, QueueId, Seq};

/// A journal that survives the node, and what the node's writer is at.
#[derive(Debug, Default)]
pub struct SimJournal {
    pub store: MemoryJournal,
    /// Being written.
    pub committing: Option<(Batch, Vec<(StreamId, Position)>)>,
    /// Messages that must be committed to all these queues at once.
    groups: BTreeMap<MessageId, BTreeSet<QueueId>>,
}

impl SimJournal {
    /// A message was sent to the shards as a group.
    pub fn expect_whole(&mut self, id: MessageId, queues: impl IntoIterator<Item = QueueId>) {
        self.groups.entry(id).or_default().extend(queues);
    }

    /// The node is gone, and what was not committed with it.
    pub fn crash(&mut self) {
        self.committing = None;
        self.groups.clear();
    }

    /// Whether that place is committed and not settled.
    pub fn is_live(&self, queue: QueueId, seq: Seq) -> bool {
        self.store.load_now(queue, seq, seq, 1, u64::MAX).is_ok_and(|loaded| !loaded.messages.is_empty())
    }

    /// Checks that every group that the batch begins is whole in it. `is_gone`: queues deleted meanwhile.
    pub fn check_groups(&mut self, batch: &Batch, is_gone: impl Fn(QueueId) -> bool) -> Result<(), String> {
        for stored in &batch.messages {
            let id = stored.message.meta.id;
            let Some(expected) = self.groups.remove(&id) else { continue };
            let found: BTreeSet<QueueId> = stored.targets.iter().map(|(queue, _)| *queue).collect();
            let missing: Vec<_> = expected.difference(&found).filter(|queue| !is_gone(**queue)).collect();
            if !missing.is_empty() {
                return Err(format!("a batch holds {id:?} for {found:?} but not for {missing:?}"));
            }
        }
        Ok(())
    }
}
