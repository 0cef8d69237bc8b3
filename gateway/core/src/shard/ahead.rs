//! Reading ahead: what the next commands will ask for of their queues. See [`evergate_model::ahead`].

use evergate_model::QueueId;
use evergate_model::ahead::{AHEAD, CACHED, read};

use super::{Shard, ShardCommand};
use crate::queue::Queue;

impl Shard {
    /// Reads what the next [`AHEAD`] commands will ask for. Changes nothing.
    pub fn look_ahead<'a>(&mut self, next: impl Iterator<Item = &'a ShardCommand> + Clone) {
        if self.queues.len() <= CACHED {
            return;
        }
        self.look_at(next.clone().map(queue_of));
        for command in next.take(AHEAD) {
            if let ShardCommand::Publish { targets, .. } = command
                && let Some(queue) = targets.first().and_then(|target| self.queues.get_mut(&target.queue))
            {
                queue.touch_free_slot();
            }
        }
    }

    /// Reads what changes of the first [`AHEAD`] of these queues will ask for.
    pub(super) fn look_at(&self, next: impl Iterator<Item = Option<QueueId>>) {
        if self.queues.len() <= CACHED {
            return;
        }
        let mut found: [Option<&Queue>; AHEAD] = [None; AHEAD];
        for (place, id) in found.iter_mut().zip(next) {
            *place = id.and_then(|id| self.queues.get(&id));
        }
        // What one step finds says where the next one reads.
        let queues = || found.iter().copied().flatten();
        read(queues().map(Queue::sample));
        read(queues().map(Queue::sample_beside));
        read(queues().map(Queue::sample_first_message));
    }
}

/// The queue, or the first of several, of what comes with every message.
fn queue_of(command: &ShardCommand) -> Option<QueueId> {
    match command {
        ShardCommand::Publish { targets, .. } => targets.first().map(|target| target.queue),
        ShardCommand::Settle { queue, .. }
        | ShardCommand::Credit { queue, .. }
        | ShardCommand::Window { queue, .. } => Some(*queue),
        _ => None,
    }
}
