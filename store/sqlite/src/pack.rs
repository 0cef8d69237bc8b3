//! A row of messages as two blobs: their places, which a restart reads, and the messages, which it does not.

use bytes::Bytes;
use evergate_journal::StoredMessage;
use evergate_journal::codec::{DecodeError, Reader, append_message, encoded_size_max, put_varint};
use evergate_journal::index::PackId;
use evergate_model::{QueueId, Seq};

/// A row to insert.
#[derive(Debug)]
pub struct Pack {
    /// Its key.
    pub id: PackId,
    /// For each message its size, the count of its places, then queue and place of each.
    pub places: Vec<u8>,
    /// For each message its length and bytes.
    pub messages: Vec<u8>,
}

impl Pack {
    /// An empty one.
    pub fn new(id: PackId, capacity: usize) -> Self {
        Self { id, places: Vec::new(), messages: Vec::with_capacity(capacity) }
    }

    /// Adds a message.
    pub fn push(&mut self, stored: &StoredMessage) {
        put_varint(&mut self.places, stored.message.size_bytes());
        put_varint(&mut self.places, stored.targets.len() as u64);
        for (queue, seq) in &stored.targets {
            put_varint(&mut self.places, queue.0);
            put_varint(&mut self.places, seq.0);
        }
        // The length comes after the message is written: five bytes hold any length up to 32 GiB.
        let start = self.messages.len();
        self.messages.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0]);
        append_message(&mut self.messages, &stored.message);
        let length = self.messages.len() - start - 5;
        for i in 0..5 {
            self.messages[start + i] |= (length >> (7 * i) & 0x7f) as u8;
        }
    }

    /// How much a message adds at most.
    pub fn cost(stored: &StoredMessage) -> usize {
        encoded_size_max(&stored.message) + 8 + stored.targets.len() * 8
    }
}

/// One place as a row has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which of the row's messages.
    pub message: usize,
    /// In which queue.
    pub queue: QueueId,
    /// At which place.
    pub seq: Seq,
    /// The message's size.
    pub size_bytes: u64,
}

/// Every place of a row, in the order of its messages.
pub fn read_places(places: Bytes) -> Result<Vec<Place>, DecodeError> {
    let mut reader = Reader::new(places);
    let mut found = Vec::new();
    let mut message = 0;
    while !reader.is_empty() {
        let size_bytes = reader.varint()?;
        for _ in 0..reader.varint()? {
            let (queue, seq) = (QueueId(reader.varint()?), Seq(reader.varint()?));
            found.push(Place { message, queue, seq, size_bytes });
        }
        message += 1;
    }
    Ok(found)
}

/// The bytes of every message of a row.
pub fn read_messages(messages: Bytes) -> Result<Vec<Bytes>, DecodeError> {
    let mut reader = Reader::new(messages);
    let mut found = Vec::new();
    while !reader.is_empty() {
        found.push(reader.bytes()?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use evergate_journal::codec::decode_message;
    use evergate_model::{Address, Encoding, Message, Meta};

    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was() {
        let bodies = [0, 1, 126, 127, 128, 16_384, 3 << 20];
        let mut pack = Pack::new(PackId(1), 0);
        let mut cost = 0;
        for (body, targets) in bodies.iter().zip(1..) {
            let body = Bytes::from(vec![7; *body]);
            let message = Message::new(Meta::new(Address::queue("q")), Encoding::Plain, Bytes::new(), body);
            let targets = (0..targets).map(|n| (QueueId(n), Seq(n + 100))).collect();
            let stored = StoredMessage { message: Arc::new(message), targets };
            cost += Pack::cost(&stored);
            pack.push(&stored);
        }
        assert!(pack.messages.len() <= cost);
        let places = read_places(pack.places.into()).unwrap();
        assert_eq!(places.len(), (1..=bodies.len()).sum::<usize>());
        assert_eq!(places[2], Place { message: 1, queue: QueueId(1), seq: Seq(101), size_bytes: 257 });
        let messages = read_messages(pack.messages.into()).unwrap();
        let lengths: Vec<_> = messages.iter().map(|bytes| decode_message(bytes).unwrap().body.len()).collect();
        assert_eq!(lengths, bodies);
    }
}
