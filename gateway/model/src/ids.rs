//! Newtypes for ids and units, so that no two bare integers stand side by side.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::Message;

/// A map by ids that the gateway gave.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// The hash of an [`IdMap`]. No peer chooses what it hashes, so it may be a fast one, and the same in every run. Sixteen
/// ids that follow each other stand together: what was made together is often met together, and then one line of
/// memory serves several.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, id: u64) {
        // 2^64 divided by the golden ratio. Of the product the low half depends on the low bits, the high one on the others.
        let product = u128::from(self.0 ^ (id >> 4)) * 0x9e37_79b9_7f4a_7c15;
        let mixed = (product >> 64) as u64 ^ product as u64;
        // The map takes the place from the low bits, and tells neighbours apart by the high ones.
        self.0 = (mixed & !15 | id & 15) ^ (id << 57);
    }

    fn write_u32(&mut self, id: u32) {
        self.write_u64(id.into());
    }

    fn write_u16(&mut self, id: u16) {
        self.write_u64(id.into());
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }
}

/// A map by names that clients chose. The hash has a seed of this process, so that they cannot choose names of which
/// many have the same.
pub type NameMap<V> = HashMap<Arc<str>, V, NameHash>;

/// The hash of a [`NameMap`].
pub type NameHash = foldhash::fast::RandomState;

/// Milliseconds since 1970, handed in by whoever drives the code. It never goes backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The time `after` this one, at the end of the range if it would overflow.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long from `earlier` to here; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A message's id: unique across restarts, because the high 24 bits count the node's starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);

/// A queue's id. Never used twice, also across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// A message's place in one queue, counted from 1. Rising, with gaps, never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// A session's own number for one of its consumers. Never used twice within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u32);

/// A session's own number for a request that it wants answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A transaction's id. Never used twice, also across restarts: its outcome can be asked for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u64);

/// One message handed to one consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The consumer it is for.
    pub consumer: ConsumerId,
    /// Its place in the consumer's queue; `Settle` names it.
    pub seq: Seq,
    /// The message, shared with every other queue that holds it.
    pub message: Arc<Message>,
    /// How often it was handed out before, as far as this node's memory goes.
    pub failed_count: u32,
    /// It was, or after a restart may have been, handed out before.
    pub redelivered: bool,
    /// It comes from the retained store, not from a publish after the subscription.
    pub retained: bool,
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    /// Where the map looks first, of 4096 places.
    fn place(id: u64) -> usize {
        BuildHasherDefault::<IdHasher>::default().hash_one(QueueId(id)) as usize % 4096
    }

    #[test]
    fn ids_that_follow_each_other_stand_together() {
        for id in (0..100_000).filter(|id| id % 16 != 15) {
            assert_eq!(place(id + 1), place(id) + 1, "{id}");
        }
    }

    #[test]
    fn ids_at_any_distance_are_spread() {
        for shift in 0..=50 {
            let mut groups = [0; 4096 / 16];
            (0..1024_u64).for_each(|number| groups[place(number << shift) / 16] += 1);
            assert!(groups.iter().all(|count| *count <= 16), "2^{shift}: {groups:?}");
        }
    }
}
