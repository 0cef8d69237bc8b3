//! Rings: what goes when a queue is full whose oldest messages make room.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Bench, LIMITS, Q};
use evergate_core::{QueueLimits, ShardCommand, ShardEffect};
use evergate_model::{Address, Encoding, Message, MessageId, Meta, OnFull, QueueSettings, Seq};

fn settings(messages_max: u64, on_full: OnFull) -> QueueSettings {
    QueueSettings { messages_max, on_full, ..QueueSettings::default() }
}

fn message(number: u64) -> Arc<Message> {
    let mut meta = Meta::new(Address::queue("q"));
    (meta.id, meta.durable) = (MessageId(number), true);
    Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::from_static(b"body")))
}

#[test]
fn a_ring_drops_the_oldest_that_nobody_holds() {
    let mut bench = Bench::with(LIMITS, settings(3, OnFull::DropOldest));
    bench.consumer(1, 1);
    (0..5).for_each(|_| bench.publish(true));
    bench.commit();
    (0..2).for_each(|_| bench.publish(true));
    assert_eq!(bench.stats().messages, 3);
    // The third is held.
    assert_eq!(bench.settled(), [1, 2, 4, 5]);
    assert!(bench.full().is_empty());
}

#[test]
fn the_oldest_is_what_was_given_back_though_its_body_is_not_in_memory() {
    for on_full in [OnFull::DropOldest, OnFull::DeadLetterOldest] {
        let limits = QueueLimits { resident_bytes_max: 1, ..LIMITS };
        let mut bench = Bench::with(limits, settings(4, on_full));
        let publish = |bench: &mut Bench, number| {
            bench.publish_message(message(number));
            bench.commit();
        };
        (1..=4).for_each(|number| publish(&mut bench, number));
        let mut gone = Vec::new();
        let mut play = |bench: &mut Bench| {
            while let Some(at) = bench.effects.iter().position(|effect| matches!(effect, ShardEffect::Load { .. })) {
                let ShardEffect::Load { first, last, .. } = bench.effects.remove(at) else { continue };
                let messages = (first.0..=last.0).map(|number| (Seq(number), message(number)));
                let messages = messages.filter(|(seq, _)| !gone.contains(&seq.0)).collect();
                bench.apply(ShardCommand::Loaded { queue: Q, messages, complete_to: last });
            }
            for (seq, _) in bench.letters() {
                bench.apply(ShardCommand::Remove { queue: Q, seq });
            }
            bench.commit();
            gone = bench.settled();
        };
        bench.consumer(1, 2);
        play(&mut bench);
        bench.detach(1, false);
        for number in 5..=8 {
            publish(&mut bench, number);
            play(&mut bench);
        }
        assert_eq!(bench.settled(), [1, 2, 3, 4], "{on_full:?}");
    }
}
