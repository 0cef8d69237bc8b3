//! Taking queues out of use that nobody needs. Between a shard's word and what the directory makes of it publishes
//! wait: they find the queue in use again, or gone, and nothing in between.

use std::time::Duration;

use evergate_model::{QueueId, Time};

use super::{Shard, ShardCommand};
use crate::effect::{Logged, ShardEffect};

impl ShardCommand {
    /// Whether it goes to the shard in one line with the publishes of sessions, so that none overtakes another:
    /// what was routed to a queue before it is retired is in it by then.
    pub fn is_in_line(&self) -> bool {
        matches!(
            self,
            Self::Publish { .. }
                | Self::Transaction { .. }
                | Self::Fence { .. }
                | Self::Retire { .. }
                | Self::Reopen { .. }
        )
    }
}

impl Shard {
    /// Takes the queue out of use, if it is empty, and tells the directory.
    pub(super) fn retire(
        &mut self,
        now: Time,
        id: QueueId,
        attempt: u64,
        idle_for: Duration,
        even_in_use: bool,
        effects: &mut Vec<ShardEffect>,
    ) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let result = queue.idle_enough(now, idle_for, even_in_use);
        if result.is_ok() {
            self.retired.insert(id);
        }
        effects.push(ShardEffect::Retired { queue: id, attempt, result });
    }

    /// The queue is in use again, or gone: what waited goes on.
    pub(super) fn reopen(&mut self, now: Time, id: QueueId, log: &mut Vec<Logged>, effects: &mut Vec<ShardEffect>) {
        if self.retired.remove(&id) && self.retired.is_empty() {
            for command in std::mem::take(&mut self.held) {
                self.apply(now, command, log, effects);
            }
        }
    }

    /// Gives the command back unless it must wait. All publishes wait, so that they stay in order.
    pub(super) fn hold(&mut self, command: ShardCommand) -> Option<ShardCommand> {
        let publishes = matches!(
            command,
            ShardCommand::Publish { .. } | ShardCommand::Transaction { .. } | ShardCommand::Fence { .. }
        );
        if publishes && !self.retired.is_empty() {
            self.held.push_back(command);
            return None;
        }
        Some(command)
    }

    /// Memory is short everywhere, or no longer.
    pub(super) fn press(&mut self, pressed: bool, effects: &mut Vec<ShardEffect>) {
        self.pressed = pressed;
        for (id, queue) in &mut self.queues {
            queue.press(pressed);
            effects.extend(queue.fullness_changed().map(|full| ShardEffect::Full(*id, full)));
        }
    }
}
