//! Lanes: a queue has one for each priority that was ever used in it. All lanes of a queue draw their places
//! from one counter, so a place is found without knowing its lane.

use evergate_model::{QueueId, Seq};

/// How many lanes a queue may have.
pub const LANES: usize = 10;

/// JMS's usual priority, and that of protocols without one.
const USUAL_PRIORITY: u8 = 4;

/// Bits of a journal's queue id that hold the priority, plus one; zero: the usual one. Ids of queues count
/// starts and queues below them.
const SHIFT: u32 = 56;
const MASK: u64 = 0xf << SHIFT;

/// Messages of one priority. Lanes in order of service: lane 0 has priority 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane(pub u8);

impl Lane {
    /// Where messages of the usual priority stand.
    pub const USUAL: Self = Self(9 - USUAL_PRIORITY);

    /// The lane of a priority.
    pub fn of_priority(priority: u8) -> Self {
        Self(9 - priority.min(9))
    }

    /// The priority of its messages.
    pub fn priority(self) -> u8 {
        9 - self.0
    }

    /// The id under which the journal knows this lane of a queue.
    pub fn stored_as(self, queue: QueueId) -> QueueId {
        if self == Self::USUAL {
            return queue;
        }
        QueueId(queue.0 | u64::from(self.priority() + 1) << SHIFT)
    }

    /// The queue and the lane that the journal knows under this id.
    pub fn split(stored: QueueId) -> (QueueId, Self) {
        let queue = QueueId(stored.0 & !MASK);
        match ((stored.0 & MASK) >> SHIFT) as u8 {
            0 => (queue, Self::USUAL),
            priority => (queue, Self::of_priority(priority - 1)),
        }
    }
}

/// Where a message stands: lanes of higher priority come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub lane: Lane,
    pub seq: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_knows_each_lane_by_an_id_of_its_own() {
        let queue = QueueId(5 << 32 | 7);
        for priority in 0..10 {
            let lane = Lane::of_priority(priority);
            assert_eq!(Lane::split(lane.stored_as(queue)), (queue, lane));
            assert_eq!(lane.stored_as(queue) == queue, priority == USUAL_PRIORITY);
        }
    }
}
