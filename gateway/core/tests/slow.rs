//! Consumers that do not keep up: who waits for them, who does not, and what an operator hears.

mod common;

use common::{Bench, LIMITS, NOW, Q, SIZE, message};
use evergate_core::{
    NoticeKind, Publisher, PublisherOut, QueueLimits, Routes, SessionId, ShardCommand, ShardEffect, ShardId,
    Surroundings, Target, TransactionLimits, Waiting,
};
use evergate_journal::Record;
use evergate_model::{Address, Binding, Filter, Outcome, QueueId, Time, Token};

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
