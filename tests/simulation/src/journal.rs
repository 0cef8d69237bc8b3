//! The journal's task: takes batches from the sequencer, commits them when the schedule says so.

use std::collections::{BTreeMap, BTreeSet};

use evergate_core::{Position, StreamId};
use evergate_journal::memory::MemoryJournal;
use evergate_journal::{Batch, Table};
use evergate_model::{MessageId, QueueId, Seq, TransactionId};

use crate::key::Key;

/// A journal that survives the node, and what the node's writer is at.
#[derive(Debug, Default)]
pub struct SimJournal {
    pub store: MemoryJournal,
    /// Being written.
    pub committing: Option<(Batch, Vec<(StreamId, Position)>)>,
    /// Messages that must be committed to all these queues at once.
    groups: BTreeMap<MessageId, BTreeSet<QueueId>>,
    /// What was ever committed.
    pub stored: BTreeSet<Key>,
    /// Transactions whose outcome is stored.
    pub committed: BTreeSet<TransactionId>,
    /// The messages that must be committed with a transaction, and where.
    parts: BTreeMap<TransactionId, Vec<(MessageId, QueueId)>>,
    in_transaction: BTreeMap<MessageId, TransactionId>,
    pledges: Vec<Pledge>,
}

/// Places that are settled with a transaction and not before.
#[derive(Debug)]
pub struct Pledge {
    pub transaction: TransactionId,
    pub shard: usize,
    pub queue: QueueId,
    pub first: Seq,
    pub last: Seq,
    /// Accepted: they are gone when it is committed.
    pub accepted: bool,
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
        self.parts.clear();
        self.pledges.clear();
    }

    /// A transaction was sent to the shards: these messages, durable, to these queues.
    pub fn expect_transaction(&mut self, id: TransactionId, messages: impl IntoIterator<Item = (MessageId, QueueId)>) {
        self.parts.entry(id).or_default().extend(messages);
    }

    /// A message is held by a transaction.
    pub fn held_by(&mut self, message: MessageId, id: TransactionId) {
        self.in_transaction.insert(message, id);
    }

    pub fn pledged(&mut self, pledge: Pledge) {
        self.pledges.push(pledge);
    }

    pub fn rolled_back(&mut self, id: TransactionId, shard: usize) {
        self.pledges.retain(|pledge| (pledge.transaction, pledge.shard) != (id, shard));
    }

    /// What a restart finds.
    pub fn restarted(&mut self) {
        let rows = self.store.recover_now().state.into_iter().filter(|(table, ..)| *table == Table::Transaction);
        self.committed = rows.filter_map(|(_, key, _)| key.parse().ok().map(TransactionId)).collect();
    }

    /// Checks that every transaction that the batch touches is whole in it, and applies it.
    pub fn apply(&mut self, batch: &Batch, is_gone: impl Fn(QueueId) -> bool) -> Result<bool, String> {
        self.check_groups(batch, &is_gone)?;
        let rows = batch.state.iter().filter(|change| change.table == Table::Transaction && change.value.is_some());
        let rows: BTreeSet<TransactionId> = rows.filter_map(|row| row.key.parse().ok().map(TransactionId)).collect();
        for stored in &batch.messages {
            if let Some(id) = self.in_transaction.get(&stored.message.meta.id)
                && !rows.contains(id)
            {
                return Err(format!("a batch holds a message of {id:?} without its outcome"));
            }
        }
        for id in &rows {
            for (message, queue) in self.parts.remove(id).unwrap_or_default() {
                let mut holds = batch.messages.iter().filter(|stored| stored.message.meta.id == message);
                let is_there = holds.any(|stored| stored.targets.iter().any(|(target, _)| plain(*target) == queue));
                if !is_there && !is_gone(queue) {
                    return Err(format!("a batch holds {id:?} without its message {message:?} to {queue:?}"));
                }
            }
        }
        for (queue, first, last) in &batch.settled {
            // Of this lane: numbers between those of a range stand in others.
            let is_stored = |seq| self.store.load_now(*queue, seq, seq, 1, 0).is_ok_and(|it| !it.messages.is_empty());
            let overlaps = |pledge: &&Pledge| {
                let both = pledge.first.0.max(first.0)..=pledge.last.0.min(last.0);
                pledge.queue == plain(*queue) && both.map(Seq).any(is_stored)
            };
            if let Some(pledge) = self.pledges.iter().find(|it| !rows.contains(&it.transaction) && overlaps(it)) {
                return Err(format!(
                    "{first:?} of {queue:?} is settled without its transaction {:?}",
                    pledge.transaction
                ));
            }
        }
        if self.store.apply(batch).is_err() {
            // Whether it is stored all the same, nobody was told.
            let is_there = |(queue, seq): &(QueueId, Seq)| {
                self.store.load_now(*queue, *seq, *seq, 1, 0).is_ok_and(|it| !it.messages.is_empty())
            };
            let there = batch.messages.iter().filter(|stored| stored.targets.iter().any(is_there));
            let there: Vec<Key> = there.filter_map(|stored| Key::of(&stored.message)).collect();
            self.stored.extend(there);
            return Ok(false);
        }
        self.stored.extend(batch.messages.iter().filter_map(|stored| Key::of(&stored.message)));
        let (done, open) = std::mem::take(&mut self.pledges).into_iter().partition(|it| rows.contains(&it.transaction));
        self.pledges = open;
        for Pledge { transaction, queue, first, last, accepted, .. } in done {
            let stays = |seq: &u64| (0..10).any(|priority| self.is_live(queue, priority, Seq(*seq)));
            if accepted && let Some(seq) = (first.0..=last.0).find(stays) {
                return Err(format!("{transaction:?} is committed, but {seq} of {queue:?} is not settled with it"));
            }
        }
        self.committed.extend(rows);
        Ok(true)
    }

    /// Whether that place is committed and not settled.
    pub fn is_live(&self, queue: QueueId, priority: u8, seq: Seq) -> bool {
        // A lane of another priority than the usual one has an id of its own.
        let lane = if priority == 4 { 0 } else { u64::from(priority.min(9) + 1) << 56 };
        let queue = QueueId(queue.0 | lane);
        self.store.load_now(queue, seq, seq, 1, u64::MAX).is_ok_and(|loaded| !loaded.messages.is_empty())
    }

    /// Checks that every group that the batch begins is whole in it. `is_gone`: queues deleted meanwhile.
    fn check_groups(&mut self, batch: &Batch, is_gone: impl Fn(QueueId) -> bool) -> Result<(), String> {
        for stored in &batch.messages {
            let id = stored.message.meta.id;
            let Some(expected) = self.groups.remove(&id) else { continue };
            let found: BTreeSet<QueueId> = stored.targets.iter().map(|(queue, _)| plain(*queue)).collect();
            let missing: Vec<_> = expected.difference(&found).filter(|queue| !is_gone(**queue)).collect();
            if !missing.is_empty() {
                return Err(format!("a batch holds {id:?} for {found:?} but not for {missing:?}"));
            }
        }
        Ok(())
    }
}

/// The queue, whatever the lane.
pub fn plain(stored: QueueId) -> QueueId {
    QueueId(stored.0 & ((1 << 56) - 1))
}
