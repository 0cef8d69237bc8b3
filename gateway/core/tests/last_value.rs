//! Last-value queues whose messages are read back while newer ones come.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Bench, LIMITS, NOW, Plainly, Q, SIZE};
use evergate_core::{QueueLimits, ShardCommand};
use evergate_model::{Address, Encoding, Message, MessageId, Meta, QueueKind, QueueSettings, Selector, Seq};

fn of(number: u64, durable: bool, key: &str) -> Arc<Message> {
    let mut meta = Meta::new(Address::queue("q"));
    (meta.id, meta.durable, meta.ingress) = (MessageId(number), durable, NOW);
    Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::copy_from_slice(key.as_bytes())))
}

#[test]
fn a_message_that_is_replaced_while_it_is_read_back_does_not_take_those_behind_it_along() {
    let kind = QueueKind::LastValue { key: "p".into() };
    let limits = QueueLimits { resident_bytes_max: 1, ..LIMITS };
    let mut bench = Bench::reading(&Plainly, limits, QueueSettings { kind, ..QueueSettings::default() });
    bench.consumer(1, 0);
    bench.publish_message(of(1, true, "a"));
    bench.publish_message(of(2, true, "b"));
    bench.commit();
    bench.credit(1, 10, false);
    assert_eq!(bench.loads(), [(1, 2)]);
    bench.publish_message(of(3, true, "c"));
    bench.commit();
    bench.publish_message(of(4, false, "a"));
    // The journal read this before it was told that the first is gone.
    let messages = vec![(Seq(1), of(1, true, "a")), (Seq(2), of(2, true, "b"))];
    bench.apply(ShardCommand::Loaded { queue: Q, messages, complete_to: Seq(2) });
    assert_eq!(bench.delivered(), [(1, 2)]);
    bench.commit();
    assert_eq!(bench.loads(), [(3, 3)]);
    bench.apply(ShardCommand::Loaded { queue: Q, messages: vec![(Seq(3), of(3, true, "c"))], complete_to: Seq(3) });
    assert_eq!(bench.delivered(), [(1, 3), (1, 4)]);
}

#[test]
fn a_read_of_what_is_gone_takes_nothing_along_that_it_did_not_read() {
    let kind = QueueKind::LastValue { key: "p".into() };
    let limits = QueueLimits { resident_bytes_max: 2 * (SIZE + 1), pressed_bytes_max: 1 };
    let mut bench = Bench::reading(&Plainly, limits, QueueSettings { kind, ..QueueSettings::default() });
    for (number, key) in [(1, "a"), (2, "b"), (3, "c")] {
        bench.publish_message(of(number, true, key));
        bench.commit();
    }
    bench.attach(1, 10, |wants| wants.selector = Selector::parse("p = 'x'").ok());
    assert_eq!(bench.loads(), [(3, 3)]);
    // What it reads is replaced; those before it, and the new one behind it, become one range.
    bench.apply(ShardCommand::Pressure(true));
    bench.publish_message(of(4, true, "c"));
    bench.commit();
    bench.apply(ShardCommand::Loaded { queue: Q, messages: Vec::new(), complete_to: Seq(3) });
    bench.apply(ShardCommand::Pressure(false));
    bench.consumer(2, 10);
    assert_eq!(bench.loads(), [(1, 4)]);
    let messages = vec![(Seq(1), of(1, true, "a")), (Seq(2), of(2, true, "b")), (Seq(4), of(4, true, "c"))];
    bench.apply(ShardCommand::Loaded { queue: Q, messages, complete_to: Seq(4) });
    assert_eq!(bench.steps(), ["deliver 1", "deliver 2", "load 4 to 4"]);
}
