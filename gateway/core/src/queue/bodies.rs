//! Bodies of messages that are too large for memory: which messages of a queue have one, in memory or not.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use evergate_journal::{Record, Table, codec};
use evergate_model::{LargeBody, Message, QueueId, Seq};

use super::rows::{parse_key, row, stored_row};
use super::{Out, Queue};
use crate::lane::{Lane, Place};

/// Of one queue. Each keeps its body alive, also while its message is not in memory.
#[derive(Debug)]
pub struct Bodies {
    all: BTreeMap<Place, Held>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// The queue is a body itself, and some of it cannot be read.
    pub is_damaged: bool,
}

#[derive(Debug)]
struct Held {
    body: Arc<LargeBody>,
    /// The journal has a row of it.
    stored: bool,
}

/// A row of [`Table::Body`]: a message in a queue, and where its body is.
#[derive(Debug)]
pub struct BodyRow {
    pub queue: QueueId,
    pub seq: Seq,
    pub body: LargeBody,
}

impl BodyRow {
    /// Reads a row. `None`: it is not of this release's form.
    pub fn decode(key: &str, value: &Bytes) -> Option<Self> {
        let (queue, seq) = parse_key(key)?;
        let body = codec::Reader::new(value.clone()).large().ok()?;
        Some(Self { queue, seq, body })
    }

    /// The record that deletes it.
    pub fn delete(&self) -> Record {
        stored_row(Table::Body, self.queue, self.seq, None)
    }
}

impl Bodies {
    pub const fn new() -> Self {
        Self { all: BTreeMap::new(), bytes: 0, is_damaged: false }
    }
}

impl Queue {
    /// Takes over a row that a restart found.
    pub fn recover_body(&mut self, stored_as: QueueId, seq: Seq, body: Arc<LargeBody>) {
        let (_, lane) = Lane::split(stored_as);
        let bodies = &mut self.rare.make().bodies;
        bodies.bytes += body.bytes;
        bodies.all.insert(Place { lane, seq }, Held { body, stored: true });
    }

    /// It is a body itself, and some of it cannot be read.
    pub fn set_damaged(&mut self) {
        self.rare.make().bodies.is_damaged = true;
    }

    /// Whether some of the body that it is cannot be read.
    pub fn is_damaged(&self) -> bool {
        self.rare.get().bodies.is_damaged
    }

    /// The records that delete every row of a body, as the queue goes.
    pub fn delete_bodies(&self) -> impl Iterator<Item = Record> {
        let stored = self.rare.get().bodies.all.iter().filter(|(_, held)| held.stored);
        stored.map(|(place, _)| row(Table::Body, self.id, *place, None))
    }

    /// The bodies of its messages, as it goes.
    pub fn take_bodies(&mut self) -> impl Iterator<Item = Arc<LargeBody>> {
        let bodies = self.rare.made().map(|rare| std::mem::take(&mut rare.bodies.all));
        bodies.into_iter().flat_map(BTreeMap::into_values).map(|held| held.body)
    }

    /// A message came.
    pub(super) fn hold_body(&mut self, place: Place, message: &Message, stored: bool, out: &mut Out<'_>) {
        let Some(body) = message.meta.large() else { return };
        if stored {
            let mut value = Vec::new();
            codec::put_large(&mut value, body);
            out.records.push(row(Table::Body, self.id, place, Some(value.into())));
        }
        let bodies = &mut self.rare.make().bodies;
        bodies.bytes += body.bytes;
        bodies.all.insert(place, Held { body: body.clone(), stored });
    }

    /// A message that was read back only names its body: it keeps it alive from now on.
    pub(super) fn with_body(&self, place: Place, mut message: Arc<Message>) -> Arc<Message> {
        if message.meta.large().is_some()
            && let Some(held) = self.rare.get().bodies.all.get(&place)
            // Just read: nobody else has it yet.
            && let Some(own) = Arc::get_mut(&mut message)
        {
            own.meta.rare_mut().large = Some(held.body.clone());
        }
        message
    }

    /// The messages of these places are gone. Their bodies go when that is committed.
    pub(super) fn release_bodies(&mut self, first: Place, last: Seq, out: &mut Out<'_>) {
        let Some(bodies) = self.rare.made().map(|rare| &mut rare.bodies).filter(|bodies| !bodies.all.is_empty()) else {
            return;
        };
        let last = Place { seq: last, ..first };
        let gone: Vec<Place> = bodies.all.range(first..=last).map(|(place, _)| *place).collect();
        for place in gone {
            let Some(Held { body, stored }) = bodies.all.remove(&place) else { continue };
            bodies.bytes -= body.bytes;
            if stored {
                out.records.push(row(Table::Body, self.id, place, None));
            }
            out.released.push(body);
        }
    }
}
