//! How often messages were handed out in vain, where that is limited: a restart goes on counting, so that what kills
//! its consumers does not begin anew with it.

use std::collections::BTreeMap;

use bytes::Bytes;
use evergate_journal::{Record, Table};
use evergate_model::{QueueId, Seq};

use super::rows::{parse_key, row, stored_row};
use super::{Out, Queue};
use crate::lane::{Lane, Place};

/// A row of [`Table::Failure`].
#[derive(Debug)]
pub struct FailureRow {
    /// The queue, by the id of the lane.
    pub queue: QueueId,
    /// The message's place.
    pub seq: Seq,
    count: u32,
}

impl FailureRow {
    /// Reads a row. `None`: it is not of this release's form.
    pub fn decode(key: &str, value: &[u8]) -> Option<Self> {
        let (queue, seq) = parse_key(key)?;
        let count = std::str::from_utf8(value).ok()?.parse().ok()?;
        Some(Self { queue, seq, count })
    }

    /// The record that deletes it.
    pub fn delete(&self) -> Record {
        stored_row(Table::Failure, self.queue, self.seq, None)
    }
}

impl Queue {
    /// Takes over a row that a restart found.
    pub fn recover_failures(&mut self, row: &FailureRow) {
        let (_, lane) = Lane::split(row.queue);
        self.rare.make().failures.insert(Place { lane, seq: row.seq }, row.count);
    }

    /// A delivery of a stored message failed.
    pub(super) fn note_failure(&mut self, place: Place, count: u32, out: &mut Out<'_>) {
        if self.settings.redelivery.deliveries_max.is_some() {
            self.rare.make().failures.insert(place, count);
            let value = Bytes::from(count.to_string());
            out.records.push(row(Table::Failure, self.id, place, Some(value)));
        }
    }

    /// How often the message was handed out in vain before it was read back.
    pub(super) fn failures_of(&self, place: Place) -> u32 {
        self.rare.get().failures.get(&place).copied().unwrap_or_default()
    }

    /// The messages of these places are gone.
    pub(super) fn forget_failures(&mut self, first: Place, last: Seq, out: &mut Out<'_>) {
        let gone: Vec<Place> =
            self.rare.get().failures.range(first..=Place { seq: last, ..first }).map(|(place, _)| *place).collect();
        for place in gone {
            self.rare.make().failures.remove(&place);
            out.records.push(row(Table::Failure, self.id, place, None));
        }
    }

    /// The records that delete every row, as the queue goes.
    pub fn delete_failures(&self) -> impl Iterator<Item = Record> {
        self.rare.get().failures.keys().map(|place| row(Table::Failure, self.id, *place, None))
    }
}

/// Counts by place.
pub type Failures = BTreeMap<Place, u32>;
