//! Large bodies go in steps: a store that gives back gigabytes in one commit would keep everybody waiting.

use std::collections::VecDeque;

use evergate_journal::Record;
use evergate_model::{QueueId, Seq};

use crate::directory::delete_queue_row;
use crate::effect::Position;

/// Pieces that go with one commit.
const PIECES_A_STEP: u64 = 8;

/// Queues of bodies that are deleted, and how far each is.
#[derive(Debug, Default)]
pub struct Emptying {
    /// The first of them is at work. Places from the first to the second, without it, are left.
    queues: VecDeque<(QueueId, u64, u64)>,
    /// The last step is in the journal up to here.
    step: Position,
}

impl Emptying {
    /// The queue's places below `next` are to go.
    pub fn add(&mut self, queue: QueueId, next: Seq) {
        self.queues.push_back((queue, 1, next.0));
    }

    /// What goes now, if the last step is committed. `log_at`: where its last record will stand.
    pub fn step(&mut self, durable: Position, log_at: impl FnOnce(usize) -> Position) -> Vec<Record> {
        if durable < self.step {
            return Vec::new();
        }
        let Some((queue, first, next)) = self.queues.front_mut() else { return Vec::new() };
        let queue = *queue;
        let last = first.saturating_add(PIECES_A_STEP).min(*next);
        let mut records = Vec::new();
        if *first < last {
            records.push(Record::Settle { queue, first: Seq(*first), last: Seq(last - 1) });
        }
        *first = last;
        if last >= *next {
            records.extend([Record::Purge { queue }, delete_queue_row(queue)]);
            self.queues.pop_front();
        }
        self.step = log_at(records.len());
        records
    }
}
