//! What a queue can do beyond first in, first out.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Bench, LIMITS, NOW, Plainly, Q, SIZE, settle};
use evergate_core::{PeekFrom, PeekedState, QueueLimits, Reserve, SessionEvent, SessionId, ShardCommand, ShardEffect};
use evergate_journal::Record;
use evergate_model::{
    Address, Consumers, DedupWindow, Dispatch, Encoding, Message, MessageId, Meta, OnFull, Outcome, QueueKind,
    QueueSettings, Redelivery, Selector, Seq, StreamStart, Time, Token, Unwanted,
};

fn message(number: u64, durable: bool, property: &str, change: impl FnOnce(&mut Meta)) -> Arc<Message> {
    let mut meta = Meta::new(Address::queue("q"));
    (meta.id, meta.durable, meta.ingress) = (MessageId(number), durable, NOW);
    change(&mut meta);
    Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::copy_from_slice(property.as_bytes())))
}

fn settings(change: impl FnOnce(&mut QueueSettings)) -> QueueSettings {
    let mut settings = QueueSettings::default();
    change(&mut settings);
    settings
}

fn is(value: &str) -> Selector {
    Selector::parse(&format!("p = '{value}'")).unwrap()
}

fn publish(bench: &mut Bench, number: u64, property: &str) {
    bench.publish_message(message(number, false, property, |_| ()));
}

fn numbers(bench: &mut Bench) -> Vec<u64> {
    bench.delivered().iter().map(|(_, number)| *number).collect()
}

const FAILED: Outcome = Outcome::Modify { failed: true, undeliverable_here: false };

// --- selectors

#[test]
fn a_consumer_gets_what_it_selects_and_the_rest_stays_for_others() {
    let mut bench = Bench::reading(&Plainly, LIMITS, QueueSettings::default());
    bench.attach(1, 10, |wants| wants.selector = Some(is("a")));
    for (number, property) in [(1, "b"), (2, "a"), (3, "b"), (4, "a")] {
        publish(&mut bench, number, property);
    }
    assert_eq!(bench.delivered(), [(1, 2), (1, 4)]);
    bench.consumer(2, 10);
    assert_eq!(bench.delivered(), [(2, 1), (2, 3)]);
    // What comes back goes to whoever selects it, at its place.
    bench.detach(1, false);
    assert_eq!(bench.delivered(), [(2, 2), (2, 4)]);
}

#[test]
fn what_is_given_back_is_not_offered_to_those_who_do_not_select_it() {
    let mut bench = Bench::reading(&Plainly, LIMITS, QueueSettings::default());
    bench.attach(1, 10, |wants| wants.selector = Some(is("a")));
    bench.attach(2, 10, |wants| wants.selector = Some(is("b")));
    publish(&mut bench, 1, "a");
    assert_eq!(bench.delivered(), [(1, 1)]);
    bench.detach(1, true);
    assert_eq!(bench.delivered(), []);
}

#[test]
fn a_selector_that_rarely_matches_reads_a_deep_queue_once_and_keeps_none_of_it() {
    let mut bench =
        Bench::reading(&Plainly, QueueLimits { resident_bytes_max: 4 * SIZE, ..LIMITS }, QueueSettings::default());
    for number in 1..=20 {
        bench.publish_message(message(number, true, if number == 20 { "a" } else { "b" }, |_| ()));
    }
    bench.commit();
    let resident = bench.stats().resident_bytes;
    bench.attach(1, 1, |wants| wants.selector = Some(is("a")));
    let mut loads = 0;
    while let Some((first, last)) = bench.loads().first().copied() {
        loads += 1;
        let to = last.min(first + 3);
        let property = |number| if number == 20 { "a" } else { "b" };
        let messages = (first..=to).map(|number| (Seq(number), message(number, true, property(number), |_| ())));
        let messages = messages.collect();
        bench.apply(ShardCommand::Loaded { queue: Q, messages, complete_to: Seq(to) });
        assert!(bench.stats().resident_bytes <= resident + 5 * SIZE, "{}", bench.stats().resident_bytes);
        if bench.stats().unsettled > 0 {
            break;
        }
    }
    assert!(loads <= 8, "{loads}");
    assert_eq!(bench.stats().unsettled, 1);
    assert_eq!(bench.stats().messages, 20);
}

// --- browsers and streams

#[test]
fn a_browser_sees_what_is_there_and_what_comes_and_takes_nothing() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 1);
    (0..2).for_each(|_| bench.publish(false));
    bench.attach(2, 10, |wants| wants.browse = true);
    bench.publish(false);
    assert_eq!(bench.delivered(), [(1, 1), (2, 1), (2, 2), (2, 3)]);
    bench.settle(settle(1, 1, 1, Outcome::Release));
    assert_eq!(bench.delivered(), []);
    bench.credit(1, 10, false);
    assert_eq!(bench.delivered(), [(1, 1), (1, 2), (1, 3)]);
    bench.detach(2, true);
    assert_eq!(bench.stats().messages, 3);
}

fn stream(age_max: Option<u64>, bytes_max: Option<u64>) -> QueueSettings {
    let kind = QueueKind::Stream { age_max: age_max.map(Duration::from_millis), bytes_max };
    settings(|it| it.kind = kind)
}

#[test]
fn consumers_of_a_stream_begin_where_they_say_and_take_nothing() {
    let mut bench = Bench::with(LIMITS, stream(None, None));
    for number in 1..=4 {
        bench.publish_message(message(number, false, "", |meta| meta.ingress = Time(NOW.0 + number)));
    }
    let starts = [
        (StreamStart::First, 1),
        (StreamStart::Last, 4),
        (StreamStart::Next, 5),
        (StreamStart::Offset(Seq(2)), 2),
        (StreamStart::Time(Time(NOW.0 + 3)), 3),
    ];
    for (consumer, (start, _)) in (1..).zip(starts) {
        bench.attach(consumer, 10, |wants| wants.start = start);
    }
    bench.publish_message(message(5, false, "", |meta| meta.ingress = Time(NOW.0 + 5)));
    let all = bench.delivered();
    for (consumer, (_, first)) in (1..).zip(starts) {
        let mine: Vec<u64> = all.iter().filter(|(it, _)| *it == consumer).map(|(_, number)| *number).collect();
        assert_eq!(mine, (first..=5).collect::<Vec<_>>(), "{consumer}");
    }
    bench.settle(settle(1, 1, 5, Outcome::Accept));
    assert_eq!(bench.stats().messages, 5);
}

#[test]
fn a_stream_drops_what_is_too_old_or_too_much() {
    let mut bench = Bench::with(LIMITS, stream(Some(100), Some(3 * SIZE)));
    for number in 1..=5 {
        bench.publish_message(message(number, true, "", |meta| meta.ingress = Time(NOW.0 + number)));
    }
    assert_eq!((bench.settled(), bench.stats().messages), (vec![1, 2], 3));
    bench.commit();
    assert!(bench.shard.next_timeout().is_some_and(|at| at <= Time(NOW.0 + 103)));
    bench.now = Time(NOW.0 + 104);
    bench.apply(ShardCommand::Tick);
    assert_eq!((bench.settled(), bench.stats().messages), (vec![1, 2, 3, 4], 1));
    assert!(bench.full().is_empty());
}

#[test]
fn a_range_of_a_stream_that_is_too_old_goes_without_being_read_back() {
    let mut bench = Bench::with(QueueLimits { resident_bytes_max: SIZE, ..LIMITS }, stream(Some(100), None));
    for number in 1..=5 {
        bench.publish_message(message(number, true, "", |meta| meta.ingress = Time(NOW.0 + number)));
    }
    bench.commit();
    assert_eq!(bench.stats().resident_bytes, SIZE);
    bench.now = Time(NOW.0 + 200);
    bench.apply(ShardCommand::Tick);
    assert_eq!((bench.loads().len(), bench.stats().messages), (0, 0));
}

// --- priorities

#[test]
fn higher_priorities_go_first_and_equals_in_order() {
    let mut bench = Bench::new(LIMITS);
    for (number, priority) in [(1, 4), (2, 9), (3, 0), (4, 9), (5, 4), (6, 200)] {
        bench.publish_message(message(number, true, "", |meta| meta.priority = priority));
    }
    bench.commit();
    bench.consumer(1, 10);
    assert_eq!(numbers(&mut bench), [2, 4, 6, 1, 5, 3]);
    // Each is settled under the id of its lane.
    bench.settle(settle(1, 2, 3, Outcome::Accept));
    let lanes: Vec<u64> = bench
        .log
        .iter()
        .filter_map(|logged| match logged.record {
            Some(Record::Settle { queue, .. }) => Some(queue.0 >> 56),
            _ => None,
        })
        .collect();
    assert_eq!(lanes, [10, 1]);
    bench.apply(ShardCommand::Delete { queue: Q });
    let purged: Vec<u64> = bench
        .log
        .iter()
        .filter_map(|logged| match logged.record {
            Some(Record::Purge { queue }) => Some(queue.0 >> 56),
            _ => None,
        })
        .collect();
    assert_eq!(purged, [0, 10, 1]);
}

// --- time

#[test]
fn a_scheduled_message_comes_at_its_time_and_others_pass() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 10);
    bench.publish_message(message(1, false, "", |meta| meta.rare_mut().deliver_at = Some(Time(NOW.0 + 50))));
    publish(&mut bench, 2, "");
    eprintln!("EFF {:?} {:?}", bench.effects, bench.stats());
    bench.effects.clear();
    bench.commit();
    eprintln!("EFF {:?} {:?}", bench.effects, bench.stats());
    bench.effects.clear();
    bench.now = Time(NOW.0 + 49);
    bench.apply(ShardCommand::Tick);
    assert!(numbers(&mut bench).is_empty());
    bench.now = Time(NOW.0 + 50);
    bench.apply(ShardCommand::Tick);
    let deliveries = bench.deliveries();
    assert_eq!((deliveries[0].message.meta.id.0, deliveries[0].redelivered), (1, false));
    assert_eq!(bench.shard.next_timeout(), None);
}

#[test]
fn a_scheduled_message_that_left_memory_is_read_back_at_its_time() {
    let mut bench = Bench::new(QueueLimits { resident_bytes_max: SIZE, ..LIMITS });
    let later = |number| message(number, true, "", |meta| meta.rare_mut().deliver_at = Some(Time(NOW.0 + 50 * number)));
    (1..=3).for_each(|number| bench.publish_message(later(number)));
    bench.commit();
    bench.consumer(1, 10);
    while let Some((first, last)) = bench.loads().first().copied() {
        let messages = (first..=last).map(|number| (Seq(number), later(number))).collect();
        bench.apply(ShardCommand::Loaded { queue: Q, messages, complete_to: Seq(last) });
    }
    assert_eq!(bench.stats().resident_bytes, SIZE);
    bench.now = Time(NOW.0 + 160);
    bench.apply(ShardCommand::Tick);
    let mut got = Vec::new();
    loop {
        let steps: Vec<_> = bench.effects.drain(..).collect();
        let mut load = None;
        for effect in steps {
            match effect {
                ShardEffect::Tell(_, SessionEvent::Event(evergate_model::Event::Deliver(it))) => got.push(it.seq.0),
                ShardEffect::Load { first, last, .. } => load = Some((first.0, last.0)),
                _ => {}
            }
        }
        let Some((first, last)) = load else { break };
        let messages = (first..=last).map(|number| (Seq(number), later(number))).collect();
        bench.apply(ShardCommand::Loaded { queue: Q, messages, complete_to: Seq(last) });
    }
    got.sort_unstable();
    assert_eq!(got, [1, 2, 3]);
}

#[test]
fn an_expired_message_goes_to_the_dead_letters_at_its_time_though_nobody_looks() {
    let mut bench = Bench::with(LIMITS, settings(|it| it.time_to_live = Some(Duration::from_millis(30))));
    publish(&mut bench, 1, "");
    bench.publish_message(message(2, false, "", |meta| meta.expires_at = Some(Time(NOW.0 + 10))));
    assert_eq!(bench.shard.next_timeout(), Some(Time(NOW.0 + 10)));
    bench.now = Time(NOW.0 + 30);
    bench.apply(ShardCommand::Tick);
    let letters = bench.letters();
    let reasons: Vec<_> = letters.iter().map(|it| (it.0.0, it.1["dead-letter-reason"].clone())).collect();
    assert_eq!(reasons, [(2, "expired".to_owned()), (1, "expired".to_owned())]);
    assert_eq!(letters[0].1["dead-letter-count"], "0");
    assert_eq!(letters[0].1["dead-letter-first-time"], (NOW.0 + 30).to_string());
    for (seq, _) in letters {
        bench.apply(ShardCommand::Remove { queue: Q, seq });
    }
    assert_eq!((bench.stats().messages, bench.stats().expired_total), (0, 2));
}

#[test]
fn a_failed_delivery_pauses_and_the_last_one_goes_to_the_dead_letters() {
    let redelivery = Redelivery {
        deliveries_max: Some(3),
        delay: Duration::from_millis(10),
        factor_percent: 200,
        delay_max: Duration::ZERO,
    };
    let mut bench = Bench::with(LIMITS, settings(|it| it.redelivery = redelivery));
    bench.consumer(1, 10);
    publish(&mut bench, 1, "");
    for (failed, pause) in [(1, 10), (2, 20)] {
        bench.settle(settle(1, 1, 1, FAILED));
        assert_eq!(bench.shard.next_timeout(), Some(Time(bench.now.0 + pause)));
        bench.now.0 += pause;
        bench.apply(ShardCommand::Tick);
        let last = bench.deliveries().pop().unwrap();
        assert_eq!((last.failed_count, last.redelivered), (failed, true));
    }
    bench.settle(settle(1, 1, 1, FAILED));
    let letters = bench.letters();
    assert_eq!(
        (letters[0].1["dead-letter-reason"].as_str(), letters[0].1["dead-letter-count"].as_str()),
        ("deliveries", "3")
    );
}

// --- no room

#[test]
fn a_queue_that_refuses_says_so_and_stores_nothing() {
    let mut bench = Bench::with(LIMITS, settings(|it| (it.messages_max, it.on_full) = (2, OnFull::Reject)));
    (0..3).for_each(|_| bench.publish(true));
    let refused = bench.effects.iter().any(|effect| {
        matches!(
            effect,
            ShardEffect::Tell(_, SessionEvent::PublishPart { error: Some(_), reached: 0, token: Token(3) })
        )
    });
    assert!(refused && bench.log.len() == 2, "{:?}", bench.effects);
    assert!(bench.full().is_empty());
}

#[test]
fn a_full_queue_sends_its_oldest_to_the_dead_letters() {
    let mut bench = Bench::with(LIMITS, settings(|it| (it.messages_max, it.on_full) = (2, OnFull::DeadLetterOldest)));
    (0..3).for_each(|_| bench.publish(false));
    let letters = bench.letters();
    assert_eq!((letters.len(), letters[0].0, letters[0].1["dead-letter-reason"].as_str()), (1, Seq(1), "full"));
}

#[test]
fn what_may_be_discarded_goes_first() {
    let mut bench = Bench::with(LIMITS, settings(|it| it.messages_max = 3));
    let discardable = |number| message(number, false, "", |meta| meta.rare_mut().discardable = true);
    bench.publish_message(discardable(1));
    publish(&mut bench, 2, "");
    publish(&mut bench, 3, "");
    // No room for another one that may be discarded; one that may not takes the place of the first.
    bench.publish_message(discardable(4));
    publish(&mut bench, 5, "");
    bench.consumer(1, 10);
    assert_eq!(numbers(&mut bench), [2, 3, 5]);
    assert_eq!(bench.stats().dropped_total, 2);
}

// --- single active, priorities of consumers

#[test]
fn only_the_active_consumer_is_served_until_it_leaves() {
    let mut bench = Bench::with(LIMITS, settings(|it| it.consumers = Consumers::SingleActive));
    (1..=3).for_each(|consumer| bench.consumer(consumer, 10));
    publish(&mut bench, 1, "");
    assert_eq!(bench.delivered(), [(1, 1)]);
    bench.detach(1, true);
    assert_eq!(bench.delivered(), [(2, 1)]);
    bench.attach(4, 10, |wants| wants.priority = 1);
    publish(&mut bench, 2, "");
    assert_eq!(bench.delivered(), [(4, 2)]);
}

#[test]
fn consumers_of_higher_priority_are_served_while_they_have_room() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 10);
    bench.attach(2, 2, |wants| wants.priority = 5);
    bench.attach(3, 1, |wants| wants.priority = 5);
    (1..=5).for_each(|number| publish(&mut bench, number, ""));
    assert_eq!(bench.delivered(), [(2, 1), (3, 2), (2, 3), (1, 4), (1, 5)]);
}

// --- last value

#[test]
fn of_messages_with_one_key_the_newest_waits() {
    let kind = QueueKind::LastValue { key: "p".into() };
    let mut bench = Bench::reading(&Plainly, LIMITS, settings(|it| it.kind = kind));
    for (number, key) in [(1, "a"), (2, "b"), (3, "a")] {
        bench.publish_message(message(number, true, key, |_| ()));
    }
    bench.commit();
    assert_eq!(bench.settled(), [1]);
    bench.consumer(1, 1);
    eprintln!("EFF {:?} {:?}", bench.effects, bench.stats());
    bench.effects.clear();
    bench.commit();
    eprintln!("EFF {:?} {:?}", bench.effects, bench.stats());
    bench.effects.clear();
    bench.publish_message(message(4, true, "b", |_| ()));
    bench.settle(settle(1, 2, 2, Outcome::Release));
    bench.commit();
    assert_eq!(bench.settled(), [1, 2]);
    bench.credit(1, 10, false);
    assert_eq!(numbers(&mut bench), [3, 4]);
}

#[test]
fn a_queue_that_becomes_a_last_value_queue_keeps_the_newest_of_what_is_there() {
    let mut bench = Bench::reading(&Plainly, LIMITS, QueueSettings::default());
    for (number, key) in [(1, "a"), (2, "b"), (3, "a")] {
        bench.publish_message(message(number, true, key, |_| ()));
    }
    bench.commit();
    let kind = QueueKind::LastValue { key: "p".into() };
    bench.apply(ShardCommand::Change { queue: Q, settings: Arc::new(settings(|it| it.kind = kind)) });
    bench.commit();
    assert_eq!(bench.settled(), [1]);
}

// --- eager

#[test]
fn an_eager_queue_delivers_before_the_commit_and_logs_the_settle_behind() {
    let mut bench = Bench::with(LIMITS, settings(|it| it.dispatch = Dispatch::Eager));
    bench.consumer(1, 10);
    bench.publish(true);
    assert_eq!(numbers(&mut bench), [1]);
    bench.settle(settle(1, 1, 1, Outcome::Accept));
    assert!(matches!(bench.log[0].record, Some(Record::Enqueue { .. })));
    assert!(matches!(bench.log[1].record, Some(Record::Settle { .. })));
    bench.commit();
    assert_eq!((bench.stats().messages, bench.stats().resident_bytes), (0, 0));
}

// --- administration

#[test]
fn an_operator_looks_takes_out_and_purges() {
    let mut bench = Bench::new(QueueLimits { resident_bytes_max: 2 * SIZE, ..LIMITS });
    (0..6).for_each(|_| bench.publish(true));
    bench.commit();
    bench.consumer(1, 1);
    let answer = (SessionId(9), Token(7));
    bench.effects.clear();
    bench.apply(ShardCommand::Peek {
        queue: Q,
        from: PeekFrom::Place(Seq(0)),
        count: 4,
        selector: None,
        reserve: Reserve::Nothing,
        answer,
    });
    let (first, last) = bench.loads()[0];
    bench.loaded(&(first..=last).collect::<Vec<_>>(), last);
    let peeked = bench.effects.drain(..).find_map(|effect| match effect {
        ShardEffect::Tell(_, SessionEvent::Peeked { messages, .. }) => Some(messages),
        _ => None,
    });
    let peeked: Vec<_> = peeked.unwrap().iter().map(|it| (it.seq.0, it.state)).collect();
    assert_eq!(
        peeked,
        [(1, PeekedState::Held), (2, PeekedState::Ready), (3, PeekedState::Ready), (4, PeekedState::Ready)]
    );
    let seqs = vec![Seq(1), Seq(2), Seq(5), Seq(99)];
    bench.apply(ShardCommand::TakeOut { queue: Q, seqs, answer });
    assert_eq!((bench.settled(), bench.stats().messages), (vec![2, 5], 4));
    bench.apply(ShardCommand::Purge { queue: Q, answer });
    assert_eq!(bench.stats().messages, 1);
    bench.told();
    bench.commit();
    let told = bench.told();
    assert!(told.iter().any(|it| it.contains("count: 2")) && told.iter().any(|it| it.contains("count: 3")), "{told:?}");
}

#[test]
fn what_expires_may_simply_go() {
    let mut bench = Bench::with(LIMITS, settings(|it| it.on_expiry = Unwanted::Discard));
    bench.publish_message(message(1, true, "", |meta| meta.expires_at = Some(Time(NOW.0 + 10))));
    bench.now = Time(NOW.0 + 10);
    bench.apply(ShardCommand::Tick);
    assert_eq!((bench.settled(), bench.letters().len()), (vec![1], 0));
}

// --- duplicates

fn dedup(count: u32) -> QueueSettings {
    let window =
        DedupWindow { count, time: Duration::from_millis(100), by_message_id: false, by_correlation_id: false };
    settings(|it| it.dedup = Some(window))
}

fn identified(number: u64, identity: &str) -> Arc<Message> {
    message(number, true, "", |meta| meta.rare_mut().dedup_id = Some(identity.into()))
}

#[test]
fn a_duplicate_is_confirmed_after_the_first_and_not_stored() {
    let mut bench = Bench::with(LIMITS, dedup(10));
    bench.publish_message(identified(1, "a"));
    bench.publish_message(identified(2, "a"));
    assert!(bench.told().is_empty());
    bench.commit();
    assert_eq!(bench.told(), ["Published(1)", "Published(2)"]);
    assert_eq!((bench.stats().messages, bench.stats().duplicates_total), (1, 1));
    // Out of the window it is another message.
    bench.now = Time(NOW.0 + 100);
    bench.publish_message(identified(3, "a"));
    assert_eq!(bench.stats().messages, 2);
}

#[test]
fn identities_are_a_row_a_commit_and_go_by_the_row() {
    let mut bench = Bench::with(LIMITS, dedup(3));
    for (number, identity) in (1..).zip(["a", "b", "c", "d", "e", "f"]) {
        bench.publish_message(identified(number, identity));
        if number % 2 == 0 {
            bench.commit();
        }
    }
    let deleted = bench.log.iter().filter_map(|logged| match &logged.record {
        Some(Record::State(change)) if change.value.is_none() => Some(change.key.to_string()),
        _ => None,
    });
    let deleted: Vec<_> = deleted.collect();
    assert_eq!(deleted, ["7 1"]);
    bench.publish_message(identified(7, "c"));
    assert_eq!(bench.stats().duplicates_total, 0);
    bench.publish_message(identified(8, "f"));
    assert_eq!(bench.stats().duplicates_total, 1);
}

#[test]
fn consumers_with_credit_stand_by_from_when_only_one_is_to_be_served() {
    let mut bench = Bench::new(LIMITS);
    (1..=3).for_each(|consumer| bench.consumer(consumer, 10));
    let single = settings(|it| it.consumers = Consumers::SingleActive);
    bench.apply(ShardCommand::Change { queue: Q, settings: Arc::new(single) });
    (0..4).for_each(|_| bench.publish(false));
    assert_eq!(bench.delivered(), [(1, 1), (1, 2), (1, 3), (1, 4)]);
    bench.apply(ShardCommand::Change { queue: Q, settings: Arc::default() });
    (0..3).for_each(|_| bench.publish(false));
    let mut served: Vec<u32> = bench.delivered().into_iter().map(|(consumer, _)| consumer).collect();
    served.sort_unstable();
    assert_eq!(served, [1, 2, 3]);
}

#[test]
fn consumers_that_do_not_keep_up_are_told_when_their_queue_is_full() {
    let full = |on_full| {
        let mut bench = Bench::new(LIMITS);
        let settings = settings(|settings| (settings.messages_max, settings.on_full) = (2, on_full));
        bench.apply(ShardCommand::Change { queue: Q, settings: Arc::new(settings) });
        bench.consumer(1, 0);
        bench.effects.clear();
        (0..2).for_each(|_| bench.publish(false));
        let told = bench.told();
        told.iter().filter(|it| it.contains("Overrun")).count()
    };
    assert_eq!((full(OnFull::Disconnect), full(OnFull::Block)), (1, 0));
}
