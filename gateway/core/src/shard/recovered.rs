//! What a restart found of a shard's queues.

use std::sync::Arc;

use evergate_journal::RecoveredQueue;
use evergate_model::{LargeBody, QueueId, QueueSettings, Seq, Time};

use super::Shard;
use crate::effect::ShardEffect;
use crate::queue::{DedupRow, FailureRow, Queue};

impl Shard {
    /// Takes over a queue that a restart found. Before any command.
    pub fn recover(&mut self, id: QueueId, name: Arc<str>, settings: &Arc<QueueSettings>, found: &[&RecoveredQueue]) {
        let mut queue = Queue::new(id, name, true, settings, &self.queue_config);
        for lane in found {
            queue.recover(lane);
        }
        let timeout = queue.timeout_changed().and_then(|(_, after)| after);
        self.timeouts.extend(timeout.map(|at| (at, id)));
        self.queues.insert(id, Box::new(queue));
    }

    /// Takes over a row of identities that a restart found.
    pub(crate) fn recover_identities(&mut self, row: DedupRow) {
        if let Some(queue) = self.queues.get_mut(&row.queue) {
            queue.recover_identities(row);
        }
    }

    /// Takes over which message of a queue has a body that is not in memory, as a restart found it.
    pub(crate) fn recover_body(&mut self, id: QueueId, stored_as: QueueId, seq: Seq, body: Arc<LargeBody>) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.recover_body(stored_as, seq, body);
        }
    }

    /// Takes over how often a message failed before the restart.
    pub(crate) fn recover_failures(&mut self, id: QueueId, row: &FailureRow) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.recover_failures(row);
        }
    }

    /// Says which of the queues that a restart found are full. Once all of it is taken over.
    pub(crate) fn open(&mut self, now: Time, effects: &mut Vec<ShardEffect>) {
        for (id, queue) in &mut self.queues {
            queue.open(now);
            effects.extend(queue.fullness_changed().map(|full| ShardEffect::Full(*id, full)));
            effects.extend(queue.notice(now).map(ShardEffect::Notice));
            if let Some((before, after)) = queue.timeout_changed() {
                before.into_iter().for_each(|at| {
                    self.timeouts.remove(&(at, *id));
                });
                self.timeouts.extend(after.map(|at| (at, *id)));
            }
        }
    }
}
