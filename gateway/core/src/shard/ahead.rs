//! Reading ahead: what the next commands will ask for of their queues. See [`evergate_model::ahead`].

use evergate_model::QueueId;
use evergate_model::ahead::{AHEAD, CACHED, read};

use super::{Shard, ShardCommand};
use crate::queue::Queue;

/// How much of a queue a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// The queue alone.
    Queue,
    /// What a consumer holds, too.
    Held,
    /// All that it takes to hand out what stands first.
    Dispatch,
}

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
    pub(super) fn look_at(&self, next: impl Iterator<Item = Option<(QueueId, Reach)>>) {
        if self.queues.len() <= CACHED {
            return;
        }
        let mut found: [Option<(&Queue, Reach)>; AHEAD] = [None; AHEAD];
        for (place, next) in found.iter_mut().zip(next) {
            *place = next.and_then(|(id, reach)| Some((&**self.queues.get(&id)?, reach)));
        }
        // What one step finds says where the next one reads.
        let reached = |least| found.iter().flatten().filter(move |(_, reach)| *reach >= least).map(|(queue, _)| *queue);
        read(reached(Reach::Queue).map(Queue::sample));
        read(reached(Reach::Held).map(Queue::sample_ends));
        read(reached(Reach::Dispatch).map(Queue::sample_class));
        read(reached(Reach::Held).map(Queue::sample_first_message));
    }
}

/// The queue, or the first of several, of what comes with every message.
fn queue_of(command: &ShardCommand) -> Option<(QueueId, Reach)> {
    match command {
        // What waits for its commit is handed out then.
        ShardCommand::Publish { targets, message, .. } if message.meta.durable => {
            Some((targets.first()?.queue, Reach::Queue))
        }
        ShardCommand::Publish { targets, .. } => Some((targets.first()?.queue, Reach::Dispatch)),
        ShardCommand::Settle { queue, .. } => Some((*queue, Reach::Held)),
        ShardCommand::Credit { queue, .. } | ShardCommand::Window { queue, .. } => Some((*queue, Reach::Dispatch)),
        _ => None,
    }
}
