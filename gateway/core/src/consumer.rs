//! One consumer of a queue: its credit and what it holds.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use evergate_model::few::FewMap;
use evergate_model::{ConsumerId, Seq};

use crate::lane::{Lane, Place};
use crate::queue::class::{ClassId, Turn};
use crate::{Position, SessionId};

/// A session's consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerKey {
    pub session: SessionId,
    pub consumer: ConsumerId,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Consumer {
    pub key: ConsumerKey,
    /// It is told that it is attached once this is committed.
    pub attached: Position,
    /// Deliveries are settled as they go out.
    pub settled: bool,
    /// Deliveries are copies: nothing is taken.
    pub copies: bool,
    /// It wants copies, whatever the queue is.
    pub browses: bool,
    pub priority: i32,
    /// Whom it shares a selector with.
    pub class: ClassId,
    /// When it was served last, and when it came: lower numbers go first.
    pub served: u64,
    pub came: u64,
    /// It stands in its class's list of those that may be sent something.
    pub is_listed: bool,
    /// Deliveries allowed in all, and made.
    pub limit: u64,
    pub delivered: u64,
    /// Bytes allowed in all (what the driver has written, plus its window), and handed out.
    pub limit_bytes: u64,
    pub delivered_bytes: u64,
    /// Unsettled deliveries.
    pub held: FewMap<Seq, Lane>,
    /// Messages of its groups that wait for room.
    pub pinned: BTreeSet<Place>,
    /// How many buckets of message groups are its own.
    pub buckets: u32,
}

impl Consumer {
    /// Of each line of memory that a delivery meets: see `queue::ahead`.
    pub fn sample(&self) -> u64 {
        u64::from(self.is_listed) ^ self.key.session.0 ^ self.delivered ^ self.held.len() as u64
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

    /// Its place among those that want something.
    pub fn turn(&self) -> Turn {
        Turn { rank: (Reverse(self.priority), self.served), key: self.key }
    }
}
