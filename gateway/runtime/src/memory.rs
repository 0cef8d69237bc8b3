//! Memory for messages, and what happens when it grows short: queues keep little of it, so that those who
//! fill it wait, and the others do not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evergate_core::{ShardCommand, ShardId};
use evergate_model::MemoryPermit;

use crate::gateway::Gateway;

/// How often it is looked whether memory is still short.
const LOOK: Duration = Duration::from_millis(50);

impl Gateway {
    /// Memory for a message. Above half of the budget queues are told to keep less.
    pub(crate) fn take_memory(self: &Arc<Self>, bytes: u64) -> MemoryPermit {
        let permit = self.memory.take(bytes);
        let short = self.memory.used_bytes() > self.memory.max_bytes() / 2;
        if short && !self.pressed.swap(true, Ordering::Relaxed) {
            self.press(true);
            tokio::spawn(relieve(self.clone()));
        }
        permit
    }

    fn press(&self, pressed: bool) {
        for shard in 0..self.config.shards {
            self.control(ShardId(shard), ShardCommand::Pressure(pressed));
        }
    }
}

/// Waits until memory is no longer short, and says so.
async fn relieve(gateway: Arc<Gateway>) {
    while gateway.memory.used_bytes() > gateway.memory.max_bytes() / 8 * 3 {
        tokio::time::sleep(LOOK).await;
    }
    gateway.press(false);
    gateway.pressed.store(false, Ordering::Relaxed);
}
