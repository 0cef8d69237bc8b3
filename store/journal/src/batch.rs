//! What one commit writes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use evergate_model::{IdMap, Message, MessageId, QueueId, Seq};

use crate::{Origin, Record, Table, codec};

/// A change of keyed state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// Which table.
    pub table: Table,
    /// Which key.
    pub key: Arc<str>,
    /// The new value; `None` deletes.
    pub value: Option<Bytes>,
}

impl StateChange {
    /// The queue whose row in [`Table::Queue`] this deletes.
    pub fn deleted_queue(&self) -> Option<QueueId> {
        let is_deleted = self.table == Table::Queue && self.value.is_none();
        is_deleted.then(|| self.key.parse().ok().map(QueueId)).flatten()
    }
}

/// A message and every queue that holds it.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// The message.
    pub message: Arc<Message>,
    /// Its queues and places.
    pub targets: Vec<(QueueId, Seq)>,
}

/// The records of one commit, grouped as a store writes them. Applied in the order of the fields, except
/// that `purged` queues lose only what was there *before* their purge was added: [`Batch::add`] drops
/// from the batch itself what a later purge makes void. So a record never settles a place that a later
/// record of the same batch fills.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Queues emptied (messages and marks) before anything below is applied.
    pub purged: Vec<QueueId>,
    /// New messages, each once.
    pub messages: Vec<StoredMessage>,
    /// Settled places: queue, first, last (included). Neighbouring ranges are merged.
    pub settled: Vec<(QueueId, Seq, Seq)>,
    /// Marks set and cleared, in order.
    pub marks: Vec<(QueueId, u32, bool)>,
    /// Keyed state, in order; a later change of a key replaces an earlier one.
    pub state: Vec<StateChange>,
    /// Sum of `Message::size_bytes` over `messages`.
    pub bytes: u64,
    by_id: IdMap<MessageId, usize>,
    /// Where in `state` the identities of each queue are.
    identities: IdMap<QueueId, usize>,
    /// A row of each shard that has fingerprints, until `seal`.
    fingerprints: Vec<FingerprintRow>,
}

/// A row of [`Table::Fingerprint`] that grows.
#[derive(Clone, Debug)]
struct FingerprintRow {
    shard: u16,
    /// Of the first.
    number: u64,
    last: (QueueId, MessageId),
    bytes: Vec<u8>,
}

impl Batch {
    /// Adds a record. Records must come in the order in which they took effect.
    pub fn add(&mut self, record: Record) {
        match record {
            Record::Enqueue { message, queue, seq, origin } => {
                if let Some(origin) = origin {
                    self.fingerprint(origin, message.meta.id);
                }
                self.enqueue(message, queue, seq);
            }
            Record::Settle { queue, first, last } => self.settle(queue, first, last),
            Record::Mark { queue, number, set } => self.marks.push((queue, number, set)),
            Record::Purge { queue } => self.purge(queue),
            Record::Identity { queue, seq, identity, at } => self.identity(queue, seq, &identity, at),
            Record::Fingerprint { origin, message } => self.fingerprint(origin, message),
            Record::State(change) => self.state.push(change),
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.purged.is_empty()
            && self.messages.is_empty()
            && self.settled.is_empty()
            && self.marks.is_empty()
            && self.state.is_empty()
            && self.fingerprints.is_empty()
    }

    fn enqueue(&mut self, message: Arc<Message>, queue: QueueId, seq: Seq) {
        let index = *self.by_id.entry(message.meta.id).or_insert(self.messages.len());
        if index == self.messages.len() {
            self.bytes += message.size_bytes();
            self.messages.push(StoredMessage { message, targets: vec![(queue, seq)] });
        } else {
            self.messages[index].targets.push((queue, seq));
        }
    }

    /// Adds an identity to the queue's row of this commit.
    fn identity(&mut self, queue: QueueId, seq: Seq, identity: &str, at: u64) {
        let index = *self.identities.entry(queue).or_insert(self.state.len());
        if index == self.state.len() {
            let key = format!("{} {}", queue.0, seq.0).into();
            self.state.push(StateChange { table: Table::Dedup, key, value: Some(Bytes::new()) });
        }
        if let Some(value) = &mut self.state[index].value {
            // Nobody else has it: it grows in place.
            let mut bytes = BytesMut::from(std::mem::take(value));
            codec::append_identity(&mut bytes, at, identity);
            *value = bytes.freeze();
        }
    }

    /// Adds a fingerprint to the shard's row of this commit.
    fn fingerprint(&mut self, origin: Origin, message: MessageId) {
        let Origin { shard, number, queue, fingerprint } = origin;
        let index = self.fingerprints.iter().position(|row| row.shard == shard).unwrap_or_else(|| {
            let last = (QueueId(0), MessageId(0));
            self.fingerprints.push(FingerprintRow { shard, number, last, bytes: Vec::new() });
            self.fingerprints.len() - 1
        });
        let row = &mut self.fingerprints[index];
        codec::append_fingerprint(&mut row.bytes, row.last, (queue, message, fingerprint));
        row.last = (queue, message);
    }

    /// Nothing is added any more: call it before the batch is committed.
    pub fn seal(&mut self) {
        for FingerprintRow { shard, number, bytes, .. } in self.fingerprints.drain(..) {
            let key = codec::fingerprint_key(shard, number).into();
            self.state.push(StateChange { table: Table::Fingerprint, key, value: Some(bytes.into()) });
        }
    }

    fn settle(&mut self, queue: QueueId, first: Seq, last: Seq) {
        if let Some((last_queue, _, end)) = self.settled.last_mut()
            && *last_queue == queue
            && end.0.checked_add(1) == Some(first.0)
        {
            *end = last;
            return;
        }
        self.settled.push((queue, first, last));
    }

    fn purge(&mut self, queue: QueueId) {
        for stored in &mut self.messages {
            stored.targets.retain(|(target, _)| *target != queue);
        }
        self.settled.retain(|(target, ..)| *target != queue);
        self.marks.retain(|(target, ..)| *target != queue);
        if !self.purged.contains(&queue) {
            self.purged.push(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use evergate_model::{Address, Encoding, Fingerprint, Meta};

    use super::*;

    fn message(id: u64) -> Arc<Message> {
        let mut meta = Meta::new(Address::queue("q"));
        meta.id = MessageId(id);
        Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::from_static(b"x")))
    }

    #[test]
    fn a_message_in_two_queues_is_stored_once() {
        let mut batch = Batch::default();
        let shared = message(1);
        batch.add(Record::Enqueue { message: shared.clone(), queue: QueueId(1), seq: Seq(5), origin: None });
        batch.add(Record::Enqueue { message: message(2), queue: QueueId(1), seq: Seq(6), origin: None });
        batch.add(Record::Enqueue { message: shared, queue: QueueId(2), seq: Seq(1), origin: None });
        assert_eq!(batch.messages.len(), 2);
        assert_eq!(batch.messages[0].targets, [(QueueId(1), Seq(5)), (QueueId(2), Seq(1))]);
    }

    #[test]
    fn the_identities_of_a_queue_in_a_commit_are_one_row() {
        let mut batch = Batch::default();
        for (queue, seq, identity) in [(1, 5, "a"), (2, 1, "b"), (1, 7, "c")] {
            batch.add(Record::Identity { queue: QueueId(queue), seq: Seq(seq), identity: identity.into(), at: seq });
        }
        assert_eq!(batch.state.iter().map(|change| &*change.key).collect::<Vec<_>>(), ["1 5", "2 1"]);
        let read = codec::decode_identities(batch.state[0].value.as_ref().unwrap()).unwrap();
        assert_eq!(read, [(5, "a".into()), (7, "c".into())]);
    }

    #[test]
    fn the_fingerprints_of_a_shard_in_a_commit_are_one_row() {
        let mut batch = Batch::default();
        let all = [(1, 7, 3 << 40, 5), (0, 9, 2, 6), (1, 5, (3 << 40) - 1, u64::MAX), (1, u64::MAX, 0, 0)];
        for (number, (shard, queue, message, print)) in (10..).zip(all) {
            let (queue, fingerprint) = (QueueId(queue), Fingerprint(print));
            let origin = Origin { shard, number, queue, fingerprint };
            batch.add(Record::Fingerprint { origin, message: MessageId(message) });
        }
        assert!(!batch.is_empty());
        batch.seal();
        assert_eq!(batch.state.iter().map(|change| &*change.key).collect::<Vec<_>>(), ["1 10", "0 11"]);
        let rows: Vec<_> =
            batch.state.iter().map(|row| codec::decode_fingerprints(row.value.as_ref().unwrap()).unwrap()).collect();
        let of = |shard| {
            let all = all.into_iter().filter(move |one| one.0 == shard);
            all.map(|(_, queue, message, print)| (QueueId(queue), MessageId(message), Fingerprint(print))).collect()
        };
        assert_eq!(rows, [of(1), of(0)] as [Vec<_>; 2]);
    }

    #[test]
    fn neighbouring_settles_merge_and_a_purge_voids_what_came_before() {
        let mut batch = Batch::default();
        for seq in [1, 2, 3, 5] {
            batch.add(Record::Settle { queue: QueueId(1), first: Seq(seq), last: Seq(seq) });
        }
        assert_eq!(batch.settled, [(QueueId(1), Seq(1), Seq(3)), (QueueId(1), Seq(5), Seq(5))]);
        batch.add(Record::Purge { queue: QueueId(1) });
        batch.add(Record::Settle { queue: QueueId(1), first: Seq(9), last: Seq(9) });
        assert_eq!((batch.purged.len(), batch.settled.len()), (1, 1));
    }
}
