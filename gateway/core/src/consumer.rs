//! One consumer of a queue: its credit and what it holds.

use std::collections::BTreeSet;

use evergate_model::{ConsumerId, Seq};

use crate::{Position, SessionId};

/// A session's consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerKey {
    pub session: SessionId,
    pub consumer: ConsumerId,
}

#[derive(Debug)]
pub struct Consumer {
    pub key: ConsumerKey,
    /// It is told that it is attached once this is committed.
    pub attached: Position,
    /// Deliveries are settled as they go out.
    pub settled: bool,
    /// Deliveries allowed in all, and made.
    pub limit: u64,
    pub delivered: u64,
    /// Bytes allowed in all (what the driver has written, plus its window), and handed out.
    pub limit_bytes: u64,
    pub delivered_bytes: u64,
    /// Unsettled deliveries.
    pub held: BTreeSet<Seq>,
}

impl Consumer {
    pub fn new(key: ConsumerKey, attached: Position, settled: bool, window_bytes: u64) -> Self {
        Self {
            key,
            attached,
            settled,
            limit: 0,
            delivered: 0,
            limit_bytes: window_bytes,
            delivered_bytes: 0,
            held: BTreeSet::new(),
        }
    }

    /// Whether it may be sent another message. A message may overshoot the byte limit: none is larger
    /// than an empty window for ever.
    pub fn has_room(&self) -> bool {
        self.delivered < self.limit && self.delivered_bytes < self.limit_bytes
    }

    pub fn took(&mut self, size_bytes: u64) {
        self.delivered += 1;
        self.delivered_bytes += size_bytes;
    }
}
