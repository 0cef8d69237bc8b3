//! Duplicate detection where it meets limits and types.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Bench, LIMITS, NOW};
use evergate_model::{
    Address, Body, DedupWindow, Encoding, Format, Message, MessageId, Meta, OnFull, QueueSettings, Value, View,
};

/// The body says what the message id is.
struct ById;

impl Format for ById {
    fn view<'a>(&self, message: &'a Message) -> View<'a> {
        let text = std::str::from_utf8(&message.body).unwrap_or_default();
        let mut view = View::new(Body::Binary(b"".into()));
        view.message_id = Some(match text.split_once(' ') {
            Some(("ulong", number)) => Value::Ulong(number.parse().unwrap()),
            Some(("binary", bytes)) => Value::Binary(bytes.as_bytes().into()),
            _ => Value::String(text.into()),
        });
        view
    }
}

fn settings(on_full: OnFull, messages_max: u64) -> QueueSettings {
    let time = Duration::from_secs(1);
    let dedup = Some(DedupWindow { count: 10, time, by_message_id: true, by_correlation_id: false });
    QueueSettings { dedup, on_full, messages_max, ..QueueSettings::default() }
}

fn identified(number: u64, id: &str) -> Arc<Message> {
    let mut meta = Meta::new(Address::queue("q"));
    (meta.id, meta.durable, meta.ingress) = (MessageId(number), true, NOW);
    Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::copy_from_slice(id.as_bytes())))
}

#[test]
fn ids_of_different_types_are_different_ids() {
    let mut bench = Bench::reading(&ById, LIMITS, settings(OnFull::Block, 100));
    for (number, (id, is_new)) in (1..).zip([
        ("5", true),
        ("ulong 5", true),
        ("binary 5", true),
        ("5", false),
        ("ulong 5", false),
        ("binary 5", false),
        ("ulong 6", true),
    ]) {
        let before = bench.stats().messages;
        bench.publish_message(identified(number, id));
        assert_eq!(bench.stats().messages, before + u64::from(is_new), "{number}: {id}");
    }
}

#[test]
fn a_full_queue_that_refuses_confirms_what_it_has_already() {
    let mut bench = Bench::reading(&ById, LIMITS, settings(OnFull::Reject, 1));
    bench.publish_message(identified(1, "a"));
    bench.commit();
    bench.effects.clear();
    for (number, id, refused) in [(2, "b", true), (3, "a", false)] {
        bench.publish_message(identified(number, id));
        let errors = bench.effects.drain(..).filter_map(|effect| match effect {
            evergate_core::ShardEffect::Tell(_, evergate_core::SessionEvent::PublishPart { error, .. }) => {
                Some(error.is_some())
            }
            _ => None,
        });
        assert_eq!(errors.collect::<Vec<_>>(), [refused], "{id}");
    }
    assert_eq!((bench.stats().messages, bench.stats().duplicates_total), (1, 1));
}
