//! Batches with a known content, for the tests that count.

use std::sync::Arc;

use bytes::Bytes;
use evergate_journal::{Batch, Record};
use evergate_model::{Address, Encoding, Message, MessageId, Meta, QueueId, Seq};

/// `count` messages at `first` and the places behind it.
pub fn enqueue(batch: &mut Batch, queue: u64, first: u64, count: u64, body: &Bytes) {
    for seq in first..first + count {
        let mut meta = Meta::new(Address::queue("orders"));
        meta.id = MessageId(queue << 40 | seq);
        meta.durable = true;
        let message = Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), body.clone()));
        batch.add(Record::Enqueue { message, queue: QueueId(queue), seq: Seq(seq), origin: None });
    }
}

/// Settles `first..=last`.
pub fn settle(batch: &mut Batch, queue: u64, first: u64, last: u64) {
    batch.add(Record::Settle { queue: QueueId(queue), first: Seq(first), last: Seq(last) });
}
