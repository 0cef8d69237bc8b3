//! Consumers that do not keep up: who waits for them, who does not, and what an operator hears.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Bench, LIMITS, NOW, Q, SIZE, message};
use evergate_core::{
    DirectoryCommand, NoticeKind, Publisher, PublisherOut, QueueLimits, Routes, SessionEvent, SessionId, ShardCommand,
    ShardEffect, ShardId, Surroundings, Target, TransactionLimits, Waiting,
};
use evergate_journal::Record;
use evergate_model::{
    Address, Binding, Encoding, Event, Filter, Message, MessageId, Meta, Outcome, QueueId, QueueSettings, Seq, Time,
    Token,
};

const TIGHT: QueueLimits = QueueLimits { resident_bytes_max: 2 * SIZE, ..LIMITS };

#[test]
fn a_subscription_that_a_restart_ends_leaves_memory_too_and_blocks_nobody() {
    let mut bench = Bench::passing(TIGHT);
    bench.consumer(1, 1);
    for _ in 0..20 {
        bench.publish(true);
        bench.commit();
    }
    assert!(bench.stats().resident_bytes <= 3 * SIZE, "{:?}", bench.stats());
    assert_eq!((bench.stats().messages, bench.full()), (20, vec![]));
    // The first two stood in memory and never were in the journal.
    let stored = |record: &Record| matches!(record, Record::Enqueue { queue: Q, .. });
    assert_eq!(bench.log.iter().filter_map(|logged| logged.record.as_ref()).filter(|it| stored(it)).count(), 18);
    bench.settle(common::settle(1, 1, 1, Outcome::Accept));
    assert_eq!(bench.settled(), [0; 0]);
    bench.credit(1, 100, false);
    assert_eq!(bench.steps(), ["deliver 2", "load 3 to 20"]);
    bench.loaded(&(3..=20).collect::<Vec<_>>(), 20);
    assert_eq!(bench.delivered().last(), Some(&(1, 20)));
    bench.settle(common::settle(1, 3, 3, Outcome::Accept));
    assert_eq!(bench.settled(), [3]);
    bench.log.clear();
    bench.apply(ShardCommand::Delete { queue: Q });
    assert!(matches!(bench.log[0].record, Some(Record::Purge { queue: Q })), "{:?}", bench.log);
}

#[test]
fn one_that_keeps_up_costs_the_journal_nothing() {
    let mut bench = Bench::passing(TIGHT);
    bench.consumer(1, 1000);
    for number in 1..=100 {
        bench.publish(true);
        bench.settle(common::settle(1, number, number, Outcome::Accept));
    }
    bench.apply(ShardCommand::Delete { queue: Q });
    assert!(bench.log.iter().all(|logged| logged.record.is_none()), "{:?}", bench.log);
}

#[test]
fn what_may_be_missed_is_not_stored_and_its_queue_is_full() {
    let mut bench = Bench::passing(TIGHT);
    bench.consumer(1, 0);
    bench.effects.clear();
    (1..=4).for_each(|number| bench.publish_by(message(number, true), true));
    assert!(bench.log.iter().all(|logged| logged.record.is_none()));
    assert_eq!(bench.full(), [true]);
}

#[test]
fn a_full_subscription_of_qos_0_misses_what_others_get_and_holds_up_nobody() {
    let mut routes = Routes::default();
    let (slow, quick) = (QueueId(1), QueueId(2));
    for (queue, durable) in [(slow, false), (quick, true)] {
        let binding = Binding::new(Filter::new("t").unwrap(), durable);
        routes.bind(&binding, Target { shard: ShardId(0), queue, durable: true, at_most_once: false });
    }
    let targets = |routes: &Routes| {
        let limits =
            TransactionLimits { messages_max: 1, bytes_max: 1, age_max: std::time::Duration::MAX, per_session_max: 1 };
        let (mut publisher, mut out) = (Publisher::new(SessionId(1), limits), PublisherOut::default());
        let mut message = common::message_to(&Address::topic("t"));
        message.meta.durable = true;
        publisher.submit(Waiting { token: Token(1), message: message.into(), retain: false, mark: None, body: None });
        let around = Surroundings { routes, client_id: "c", taken_over: false, memory_is_exhausted: false };
        publisher.pump(around, &mut out);
        let sent = out.effects.iter().flat_map(|effect| match effect {
            evergate_core::PublisherEffect::Publish(_, ShardCommand::Publish { targets, .. }) => targets.clone(),
            other => panic!("{other:?}"),
        });
        (sent.map(|target| target.queue).collect::<Vec<_>>(), out.counts.dropped, publisher.is_blocked())
    };
    assert_eq!(targets(&routes), (vec![slow, quick], 0, false));
    routes.set_full(slow, true);
    assert_eq!(targets(&routes), (vec![quick], 1, false));
    routes.set_full(quick, true);
    assert_eq!(targets(&routes), (vec![], 0, true));
}

fn notices(bench: &mut Bench) -> Vec<(NoticeKind, u64, usize)> {
    let notice = |effect| match effect {
        ShardEffect::Notice(notice) => Some((notice.what, notice.messages, notice.consumers.len())),
        _ => None,
    };
    bench.effects.drain(..).filter_map(notice).collect()
}

#[test]
fn an_operator_hears_of_consumers_that_fall_behind_and_of_full_queues_now_and_then() {
    let mut bench = Bench::new(TIGHT);
    let publish = |bench: &mut Bench, count: u32| (0..count).for_each(|_| bench.publish(false));
    // A backlog that nobody consumes is nobody's fault.
    publish(&mut bench, 2);
    assert_eq!(notices(&mut bench), []);
    bench.consumer(1, 2);
    assert_eq!(notices(&mut bench), [(NoticeKind::Behind, 2, 1)]);
    publish(&mut bench, 2);
    assert_eq!(notices(&mut bench), [(NoticeKind::Full, 4, 1)]);
    bench.credit(1, 100, false);
    bench.settle(common::settle(1, 1, 4, Outcome::Accept));
    assert_eq!(notices(&mut bench), [(NoticeKind::KeepsUp, 0, 1)]);
    // The same again within the minute is not told, and after it is.
    publish(&mut bench, 4);
    bench.settle(common::settle(1, 5, 8, Outcome::Accept));
    assert_eq!(notices(&mut bench), []);
    bench.now = Time(NOW.0 + 60_000);
    publish(&mut bench, 4);
    bench.settle(common::settle(1, 9, 12, Outcome::Accept));
    let kinds: Vec<_> = notices(&mut bench).into_iter().map(|(what, ..)| what).collect();
    assert_eq!(kinds, [NoticeKind::Behind, NoticeKind::Full, NoticeKind::KeepsUp]);
}

// --- bodies of what consumers hold

const BODY: u64 = 4096;
const FEW: QueueLimits = QueueLimits { resident_bytes_max: 8 * (SIZE + BODY), ..LIMITS };

fn fat(number: u64) -> Arc<Message> {
    let mut meta = Meta::new(Address::queue("q"));
    (meta.id, meta.durable) = (MessageId(number), true);
    Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), vec![number as u8; BODY as usize].into()))
}

/// A queue of which a consumer holds so many messages.
fn holding(settings: QueueSettings, count: u64) -> Bench {
    let mut bench = Bench::with(FEW, settings);
    bench.consumer(1, 1000);
    for number in 1..=count {
        bench.publish_message(fat(number));
        bench.commit();
    }
    assert_eq!(bench.delivered().len() as u64, count);
    bench
}

/// Answers loads until there are none; deliveries meanwhile: (number, redelivered), the bodies being whole.
fn read_back(bench: &mut Bench) -> Vec<(u64, bool)> {
    let mut seen = Vec::new();
    loop {
        let (mut load, mut rest) = (None, Vec::new());
        for effect in bench.effects.drain(..) {
            match effect {
                ShardEffect::Tell(_, SessionEvent::Event(Event::Deliver(delivery))) => {
                    assert_eq!(delivery.message.body.len() as u64, BODY, "a whole message");
                    seen.push((delivery.message.meta.id.0, delivery.redelivered));
                }
                ShardEffect::Load { first, last, .. } => load = Some((first, last)),
                other => rest.push(other),
            }
        }
        bench.effects = rest;
        let Some((first, last)) = load else { return seen };
        // Three at a time.
        let complete_to = Seq(last.0.min(first.0 + 2));
        let messages = (first.0..=complete_to.0).map(|number| (Seq(number), fat(number))).collect();
        bench.apply(ShardCommand::Loaded { queue: Q, messages, complete_to });
    }
}

#[test]
fn a_consumer_that_settles_nothing_holds_no_bodies_in_memory_and_up_nobody() {
    let mut bench = holding(QueueSettings::default(), 30);
    let stats = bench.stats();
    assert!(stats.resident_bytes <= FEW.resident_bytes_max + 30 * SIZE + BODY, "{stats:?}");
    assert_eq!((stats.bytes, stats.unsettled), (30 * (SIZE + BODY), 30));
    // They settle as any other, and nothing is read for it.
    bench.settle(common::settle(1, 11, 30, Outcome::Accept));
    assert_eq!((bench.stats().messages, bench.stats().bytes), (10, 10 * (SIZE + BODY)));
    assert_eq!(bench.settled(), (11..=30).collect::<Vec<_>>());
    assert!(bench.full().is_empty());
}

#[test]
fn what_comes_back_without_its_body_is_read_and_goes_out_again_in_order() {
    let mut bench = holding(QueueSettings::default(), 20);
    bench.settle(common::settle(1, 8, 9, Outcome::Accept));
    bench.detach(1, true);
    bench.publish_message(fat(21));
    bench.commit();
    // Nobody wants them: nothing is read.
    assert!(bench.loads().is_empty());
    bench.consumer(2, 1000);
    let expected: Vec<_> = (1..=21).filter(|it| ![8, 9].contains(it)).map(|it| (it, it < 21)).collect();
    assert_eq!(read_back(&mut bench), expected);
    bench.settle(common::settle(2, 1, 21, Outcome::Accept));
    let stats = bench.stats();
    assert_eq!((stats.messages, stats.bytes, stats.resident_bytes), (0, 0, 0));
}

#[test]
fn what_is_released_without_its_body_goes_before_what_came_later() {
    let mut bench = holding(QueueSettings::default(), 20);
    bench.settle(common::settle(1, 15, 16, Outcome::Release));
    bench.publish_message(fat(21));
    bench.commit();
    assert_eq!(read_back(&mut bench), [(15, true), (16, true), (21, false)]);
    bench.settle(common::settle(1, 1, 21, Outcome::Accept));
    assert_eq!((bench.stats().messages, bench.stats().resident_bytes, bench.stats().unsettled), (0, 0, 0));
}

#[test]
fn what_is_rejected_without_its_body_is_read_and_becomes_a_whole_dead_letter() {
    let mut bench = holding(QueueSettings::default(), 10);
    bench.settle(common::settle(1, 10, 10, Outcome::Reject { reason: "bad".into() }));
    assert!(bench.stats().dead_lettered_total == 0);
    assert!(read_back(&mut bench).is_empty());
    let body = |effect: &ShardEffect| match effect {
        ShardEffect::DeadLetter { seq: Seq(10), message, .. } => Some(message.body.len() as u64),
        _ => None,
    };
    assert_eq!(bench.effects.iter().find_map(body), Some(BODY));
    assert_eq!(bench.letters()[0].1["dead-letter-count"], "1");
    bench.apply(ShardCommand::Remove { queue: Q, seq: Seq(10) });
    assert_eq!((bench.stats().messages, bench.settled()), (9, vec![10]));
}

#[test]
fn a_failed_delivery_without_its_body_pauses_and_counts_as_any_other() {
    let mut settings = QueueSettings::default();
    settings.redelivery.delay = std::time::Duration::from_millis(100);
    let mut bench = holding(settings, 10);
    bench.settle(common::settle(1, 9, 10, Outcome::Modify { failed: true, undeliverable_here: false }));
    assert!(read_back(&mut bench).is_empty());
    bench.now = Time(NOW.0 + 100);
    bench.apply(ShardCommand::Tick);
    let deliveries = bench.deliveries();
    let found: Vec<_> = deliveries.iter().map(|it| (it.seq.0, it.failed_count, it.message.body.len() as u64)).collect();
    assert_eq!(found, [(9, 1, BODY), (10, 1, BODY)]);
}

#[test]
fn a_browser_sees_whole_messages_that_others_hold() {
    let mut bench = holding(QueueSettings::default(), 10);
    bench.attach(2, 1000, |wants| wants.browse = true);
    assert_eq!(read_back(&mut bench), (1..=10).map(|number| (number, false)).collect::<Vec<_>>());
    assert!(bench.stats().resident_bytes <= FEW.resident_bytes_max + 10 * SIZE + BODY);
    // An operator who empties the queue takes what nobody holds any more, body or not.
    bench.detach(1, false);
    bench.apply(ShardCommand::Purge { queue: Q, answer: (SessionId(3), Token(1)) });
    assert_eq!(bench.stats().messages, 0);
}

#[test]
fn a_body_that_the_journal_does_not_have_blocks_nobody() {
    let mut bench = holding(QueueSettings::default(), 6);
    bench.detach(1, false);
    bench.consumer(2, 1000);
    bench.effects.clear();
    bench.apply(ShardCommand::Loaded { queue: Q, messages: Vec::new(), complete_to: Seq(6) });
    assert!(read_back(&mut bench).is_empty());
    bench.publish_message(fat(7));
    bench.commit();
    assert_eq!(read_back(&mut bench), [(7, false)]);
}

#[test]
fn long_names_count_as_memory_and_leave_it_though_the_messages_are_held() {
    for held in [0, 100] {
        let mut bench = Bench::new(QueueLimits { resident_bytes_max: 1 << 20, ..LIMITS });
        bench.consumer(1, held);
        let mut names = Vec::new();
        for number in 1..=100 {
            let mut meta = Meta::new(Address::topic("n".repeat(65_535)));
            (meta.id, meta.durable) = (MessageId(number), true);
            meta.rare_mut().dedup_id = Some("d".repeat(65_535).into());
            names.push(Arc::downgrade(&meta.address.name));
            names.extend(meta.dedup_id().map(Arc::downgrade));
            bench.publish_message(Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::new())));
            bench.commit();
            bench.log.iter_mut().for_each(|logged| logged.record = None);
        }
        assert_eq!(bench.delivered().len() as u64, held);
        let kept = names.iter().filter(|name| name.strong_count() > 0).count() as u64 * 65_535;
        assert!(kept <= 1 << 20, "{held} held: {kept} bytes of names");
        assert!(bench.stats().resident_bytes <= 1 << 20 && bench.stats().bytes > 12 << 20, "{:?}", bench.stats());
    }
}

#[test]
fn without_memory_only_what_clears_a_retained_message_goes_on() {
    let limits =
        TransactionLimits { messages_max: 1, bytes_max: 1, age_max: std::time::Duration::MAX, per_session_max: 1 };
    let (mut publisher, mut out) = (Publisher::new(SessionId(1), limits), PublisherOut::default());
    // Topic, bytes of head and body, whether it is retained, whether it goes.
    let table = [
        ("a", 0, 1, true, false),
        ("b", 0, 0, false, false),
        ("a", 0, 0, true, false), // behind what it clears
        ("c", 0, 0, true, true),
        ("d", 1025, 0, true, false),
        ("e", 1024, 0, true, true),
        ("f", 0, 1, false, false),
    ];
    for (number, (topic, head, body, retain, _)) in (1..).zip(table) {
        let mut meta = Meta::new(Address::topic(topic));
        meta.id = MessageId(number);
        let message = Message::new(meta, Encoding::Plain, vec![0; head].into(), vec![0; body].into());
        let waiting = Waiting { token: Token(number), message: message.into(), retain, mark: None, body: None };
        publisher.submit(waiting);
    }
    let routes = Routes::default();
    let around = Surroundings { routes: &routes, client_id: "c", taken_over: false, memory_is_exhausted: true };
    publisher.pump(around, &mut out);
    let sent = out.effects.drain(..).map(|effect| match effect {
        evergate_core::PublisherEffect::Directory(DirectoryCommand::PublishRetained { message, .. }) => {
            message.meta.id.0
        }
        other => panic!("{other:?}"),
    });
    let wanted = (1..).zip(table).filter(|(_, row)| row.4).map(|(number, _)| number);
    assert_eq!(sent.collect::<Vec<u64>>(), wanted.collect::<Vec<u64>>());
    assert_eq!((publisher.load().0, publisher.sent_on()), (7, 2));
}
