//! Large messages whose body the journal has not, or not whole: they become dead letters, and the next ones come.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Bench, LIMITS, NOW, OUTCOMES, Q, message, settle, shard_config};
use evergate_core::{
    ConsumerWants, DirectoryConfig, DirectoryLimits, NoticeKind, SessionEvent, SessionId, Shard, ShardCommand,
    ShardEffect, recover,
};
use evergate_journal::memory::MemoryJournal;
use evergate_journal::{Batch, Record};
use evergate_model::{
    Address, Attached, ConsumerId, Encoding, Event, LargeBody, Message, MessageId, Meta, Outcome, QueueId,
    QueueSettings, QueueSpec, Seq, Time,
};

/// The body's queue.
const B: QueueId = QueueId(8);

fn unreadable() -> Outcome {
    Outcome::Unreadable
}

fn notices(effects: &[ShardEffect]) -> Vec<NoticeKind> {
    let notice = |effect: &ShardEffect| match effect {
        ShardEffect::Notice(notice) => Some(notice.what),
        _ => None,
    };
    effects.iter().filter_map(notice).collect()
}

#[test]
fn it_goes_to_the_dead_letters_as_a_failed_delivery_and_the_next_one_comes() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 1);
    bench.publish(true);
    bench.publish(true);
    bench.commit();
    assert_eq!(bench.delivered(), [(1, 1)]);
    bench.settle(settle(1, 1, 1, unreadable()));
    bench.credit(1, 2, false);
    let told = [NoticeKind::Unreadable { seq: Seq(1), message: Some(MessageId(1)) }];
    assert_eq!(notices(&bench.effects), told);
    let effects = std::mem::take(&mut bench.effects);
    let delivers = |effect: &ShardEffect| matches!(effect, ShardEffect::Tell(_, SessionEvent::Event(Event::Deliver(it))) if it.seq == Seq(2));
    assert!(effects.iter().any(delivers), "{effects:?}");
    bench.effects = effects;
    let letters = bench.letters();
    assert_eq!(letters.len(), 1);
    let (seq, notes) = &letters[0];
    assert_eq!((*seq, &*notes["dead-letter-reason"], &*notes["dead-letter-count"]), (Seq(1), "unreadable", "1"));
    bench.apply(ShardCommand::Remove { queue: Q, seq: Seq(1) });
    assert_eq!(bench.stats().messages, 1);
}

#[test]
fn whose_deliveries_are_settled_as_they_go_out_has_lost_it_and_operators_are_told() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer_with(1, 9, true, 1 << 40);
    bench.publish(true);
    bench.commit();
    bench.effects.clear();
    bench.settle(settle(1, 1, 1, unreadable()));
    assert_eq!(notices(&bench.effects), [NoticeKind::Unreadable { seq: Seq(1), message: None }]);
    assert!(bench.letters().is_empty());
}

#[test]
fn a_word_on_what_nobody_holds_is_no_news() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 9);
    bench.publish(true);
    bench.commit();
    bench.settle(settle(1, 1, 1, Outcome::Accept));
    bench.effects.clear();
    bench.settle(settle(1, 1, 1, unreadable()));
    assert!(bench.effects.is_empty(), "{:?}", bench.effects);
}

/// A shard with one durable queue of this name.
fn shard(name: &str) -> Shard {
    let mut shard = Shard::new(shard_config());
    let settings = Arc::new(QueueSettings::default());
    apply(&mut shard, ShardCommand::Create { queue: B, name: name.into(), durable: true, settings });
    shard
}

fn apply(shard: &mut Shard, command: ShardCommand) -> Vec<ShardEffect> {
    let mut effects = Vec::new();
    shard.apply(NOW, command, &mut Vec::new(), &mut effects);
    effects
}

fn attach(shard: &mut Shard, consumer: u32, browse: bool) -> Vec<String> {
    let (session, consumer, found) = (SessionId(1), ConsumerId(consumer), Attached::default());
    let wants = ConsumerWants { browse, ..ConsumerWants::default() };
    let mut effects = apply(
        shard,
        ShardCommand::Attach {
            queue: B,
            session,
            consumer,
            wants: Box::new(wants),
            window_bytes: 1 << 30,
            found: Box::new(found),
        },
    );
    effects.extend(apply(shard, ShardCommand::Credit { queue: B, session, consumer, limit: 2, drain: false }));
    shown(&effects)
}

fn shown(effects: &[ShardEffect]) -> Vec<String> {
    let shown = |effect: &ShardEffect| match effect {
        ShardEffect::Tell(_, SessionEvent::Attached { result, .. }) => format!("attached {}", result.is_ok()),
        ShardEffect::Tell(_, SessionEvent::Event(Event::Deleted { consumer })) => format!("deleted {}", consumer.0),
        ShardEffect::Tell(_, SessionEvent::Event(Event::Deliver(delivery))) => format!("deliver {}", delivery.seq.0),
        ShardEffect::Failed(why) => format!("failed: {why}"),
        other => format!("{other:?}"),
    };
    effects.iter().map(shown).collect()
}

#[test]
fn who_reads_a_body_that_is_damaged_is_told_and_who_comes_later_is_told_before_its_first_piece() {
    let mut shard = shard("$body/1");
    assert_eq!(attach(&mut shard, 1, true), ["attached true"]);
    let failed = || ShardCommand::LoadFailed { queue: B, why: "row 3".into() };
    assert_eq!(shown(&apply(&mut shard, failed())), ["deleted 1"]);
    assert_eq!(attach(&mut shard, 2, true), ["attached true", "deleted 2"]);
    // Whoever was told detaches: the directory has it yet.
    let (session, consumer) = (SessionId(1), ConsumerId(2));
    let answer = Some(Event::Detached { consumer });
    let effects = apply(&mut shard, ShardCommand::Detach { queue: B, session, consumer, failed: false, answer });
    assert_eq!(effects.len(), 1, "{effects:?}");
}

#[test]
fn damage_to_other_messages_ends_the_node() {
    let mut shard = shard("orders");
    let effects = apply(&mut shard, ShardCommand::LoadFailed { queue: B, why: "row 3".into() });
    assert_eq!(shown(&effects), ["failed: row 3"]);
}

/// A large message in `q` and its body, of which the journal has the first pieces.
fn journal_with(pieces: u64) -> MemoryJournal {
    let journal = MemoryJournal::new();
    let write = |records: Vec<Record>| {
        let mut batch = Batch::default();
        records.into_iter().for_each(|record| batch.add(record));
        journal.apply(&batch).unwrap();
    };
    let mut shards = shard("q");
    let (mut names, mut log) = (common::Names::new(config().limits), Vec::new());
    names.ensure("$body/1");
    names.ensure("q");
    write(names.log.drain(..).filter_map(|logged| logged.record).collect());
    let queue = |name| names.routes.queue(name).unwrap().queue;
    let settings = Arc::new(QueueSettings::default());
    let create = ShardCommand::Create { queue: queue("q"), name: "q".into(), durable: true, settings };
    shards.apply(NOW, create, &mut log, &mut Vec::new());
    let mut large = message(9, true).meta.clone();
    large.rare_mut().large = Some(Arc::new(LargeBody::named("$body/1".into(), 12, 12)));
    let large = Arc::new(Message::new(large, Encoding::Plain, Bytes::new(), Bytes::new()));
    let target = evergate_core::ShardTarget {
        queue: queue("q"),
        durable: true,
        at_most_once: false,
        retained: false,
        moved: false,
    };
    let (answer, mark, group, targets) = (None, None, None, vec![target]);
    let publish = ShardCommand::Publish { answer, message: large, targets, mark, group, may_be_refused: true };
    shards.apply(NOW, publish, &mut log, &mut Vec::new());
    write(log.into_iter().filter_map(|logged| logged.record).collect());
    let piece = |seq: u64| {
        let mut meta = Meta::new(Address::queue("$body/1"));
        (meta.id, meta.durable, meta.ingress) = (MessageId(seq), true, Time(1));
        let message = Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::from_static(b"abcd")));
        Record::Enqueue { message, queue: queue("$body/1"), seq: Seq(seq), origin: None }
    };
    write((1..=pieces).map(piece).collect());
    journal
}

fn config() -> DirectoryConfig {
    let limits = DirectoryLimits { queues_max: 10, retained_max: 10, retained_bytes_max: 1 << 20, outcomes: OUTCOMES };
    DirectoryConfig { limits, ..DirectoryConfig::default() }
}

#[test]
fn a_restart_sees_that_a_body_is_shorter_than_its_message_says() {
    for (pieces, is_whole) in [(3, true), (2, false), (0, false), (4, false)] {
        let journal = journal_with(pieces);
        let mut core = recover(NOW, journal.recover_now(), 1, shard_config(), config()).unwrap();
        let queue = core.routes.queue("$body/1").unwrap().queue;
        let (session, consumer, found) = (SessionId(1), ConsumerId(1), Attached::default());
        let wants = ConsumerWants { browse: true, ..ConsumerWants::default() };
        let attach = ShardCommand::Attach {
            queue,
            session,
            consumer,
            wants: Box::new(wants),
            window_bytes: 1 << 30,
            found: Box::new(found),
        };
        let effects = shown(&apply(&mut core.shards[0], attach));
        let expected = if is_whole { vec!["attached true"] } else { vec!["attached true", "deleted 1"] };
        assert_eq!(effects, expected, "{pieces} pieces of 3");
    }
}

#[test]
fn who_looks_for_a_body_that_is_gone_does_not_make_another() {
    let mut names = common::Names::new(config().limits);
    names.attach_to(1, QueueSpec::named("$body/1"));
    assert_eq!(names.happened(), ["refused 1: NotFound"]);
    assert!(names.log.is_empty());
}
