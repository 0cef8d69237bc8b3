//! Rows of keyed state that belong to one message in one queue.

use bytes::Bytes;
use evergate_journal::{Record, StateChange, Table};
use evergate_model::{QueueId, Seq};

use super::{Out, Queue};
use crate::lane::Place;

impl Queue {
    /// The messages from `first` to `last` of its lane are gone, and their rows with them.
    pub(super) fn forget_rows(&mut self, first: Place, last: Seq, out: &mut Out<'_>) {
        self.release_bodies(first, last, out);
        self.forget_failures(first, last, out);
    }
}

/// The row of the message at `place` of the queue; no value deletes it.
pub fn row(table: Table, queue: QueueId, place: Place, value: Option<Bytes>) -> Record {
    stored_row(table, place.lane.stored_as(queue), place.seq, value)
}

/// The same by the id under which the journal knows the lane.
pub fn stored_row(table: Table, stored_as: QueueId, seq: Seq, value: Option<Bytes>) -> Record {
    Record::State(StateChange { table, key: format!("{} {}", stored_as.0, seq.0).into(), value })
}

/// Reads a row's key. `None`: it is not of this release's form.
pub fn parse_key(key: &str) -> Option<(QueueId, Seq)> {
    let (queue, seq) = key.split_once(' ')?;
    Some((QueueId(queue.parse().ok()?), Seq(seq.parse().ok()?)))
}
