//! How often messages were handed out in vain, where that is limited, and until when they are not handed out again: a
//! restart goes on counting and waiting, so that what kills its consumers does not begin anew with it.

use std::collections::BTreeMap;

use bytes::Bytes;
use evergate_journal::{Record, Table};
use evergate_model::{QueueId, Seq, Time};

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
    failed: Failed,
}

/// What is remembered of a message whose delivery failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failed {
    /// How often.
    pub count: u32,
    /// Nobody gets it before.
    pub until: Option<Time>,
}

impl FailureRow {
    /// Reads a row. `None`: it is not of this release's form.
    pub fn decode(key: &str, value: &[u8]) -> Option<Self> {
        let (queue, seq) = parse_key(key)?;
        let text = std::str::from_utf8(value).ok()?;
        let (count, until) = match text.split_once(' ') {
            Some((count, until)) => (count, Some(Time(until.parse().ok()?))),
            None => (text, None),
        };
        Some(Self { queue, seq, failed: Failed { count: count.parse().ok()?, until } })
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
        self.rare.make().failures.insert(Place { lane, seq: row.seq }, row.failed);
    }

    /// A delivery of a stored message failed.
    pub(super) fn note_failure(&mut self, place: Place, failed: Failed, out: &mut Out<'_>) {
        if self.settings.redelivery.deliveries_max.is_some() || failed.until.is_some() {
            self.rare.make().failures.insert(place, failed);
            let Failed { count, until } = failed;
            let value = Bytes::from(until.map_or(count.to_string(), |until| format!("{count} {}", until.0)));
            out.records.push(row(Table::Failure, self.id, place, Some(value)));
        }
    }

    /// What is remembered of a message that is read back.
    pub(super) fn failures_of(&self, place: Place) -> Failed {
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

/// By place.
pub type Failures = BTreeMap<Place, Failed>;
