//! Queues that unanswered messages went to, by name: what follows does not go to a successor of the same name before
//! those are answered, since they may have to go there, too.

use std::hash::BuildHasher;

use evergate_model::{IdMap, NameHash, QueueId};

/// What stands for a name. Two names may share one: the second then waits until the first is answered, as if it were
/// the same. In return a name is hashed once, and never compared: with thousands of queues it is out of the
/// processor's cache when its message is answered.
#[derive(Clone, Copy, Debug)]
pub struct NameKey(u64);

#[derive(Debug, Default)]
pub struct InFlight {
    hash: NameHash,
    /// The queue, and how many messages.
    queues: IdMap<u64, (QueueId, u32)>,
}

impl InFlight {
    pub fn key(&self, name: &str) -> NameKey {
        NameKey(self.hash.hash_one(name))
    }

    /// The queue that messages to this name are on their way to.
    pub fn queue(&self, key: NameKey) -> Option<QueueId> {
        self.queues.get(&key.0).map(|(queue, _)| *queue)
    }

    /// A message is on its way.
    pub fn sent(&mut self, key: NameKey, queue: QueueId) {
        self.queues.entry(key.0).or_insert((queue, 0)).1 += 1;
    }

    /// One is answered.
    pub fn landed(&mut self, key: NameKey) {
        if let Some((_, count)) = self.queues.get_mut(&key.0) {
            *count -= 1;
            if *count == 0 {
                self.queues.remove(&key.0);
            }
        }
    }
}
