//! What an operator moves elsewhere: out of service until it has arrived, or back in its place.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Bench, LIMITS, Q, SIZE, message, message_to, settle};
use evergate_core::{
    Group, Logged, PeekFrom, PeekedState, QueueLimits, Reserve, SessionEvent, SessionId, ShardCommand, ShardEffect,
    ShardTarget,
};
use evergate_journal::Record;
use evergate_model::{
    Address, DedupWindow, Encoding, Message, MessageId, Outcome, QueueId, QueueSettings, Selector, Seq, Token,
    TransactionId,
};

/// An operator looks at the first nine.
fn look(bench: &mut Bench, reserve: Reserve) {
    let (from, answer) = (PeekFrom::Place(Seq(1)), (SessionId(9), Token(7)));
    bench.apply(ShardCommand::Peek { queue: Q, from, count: 9, selector: None, reserve, answer });
}

fn reserve(bench: &mut Bench, chosen: &[u64]) -> Vec<u64> {
    let reserve = Reserve::Chosen(chosen.iter().copied().map(Seq).collect());
    let from = PeekFrom::Place(Seq(chosen[0]));
    let answer = (SessionId(9), Token(7));
    bench.apply(ShardCommand::Peek { queue: Q, from, count: 100, selector: None, reserve, answer });
    let load = |effect: &ShardEffect| match effect {
        ShardEffect::Load { first, last, .. } => Some((first.0, last.0)),
        _ => None,
    };
    while let Some((first, last)) = bench.effects.iter().find_map(load) {
        bench.effects.clear();
        bench.loaded(&(first..=last).collect::<Vec<_>>(), last);
    }
    let answered = bench.effects.drain(..).find_map(|effect| match effect {
        ShardEffect::Tell(_, SessionEvent::Peeked { messages, .. }) => Some(messages),
        _ => None,
    });
    let peeked = answered.expect("an answer");
    assert!(peeked.iter().all(|one| one.state == PeekedState::Leaving));
    peeked.iter().map(|one| one.seq.0).collect()
}

#[test]
fn what_is_reserved_is_handed_to_nobody_until_it_is_given_back() {
    let mut bench = Bench::new(LIMITS);
    (0..4).for_each(|_| bench.publish(true));
    bench.commit();
    bench.effects.clear();
    assert_eq!(reserve(&mut bench, &[1, 3]), [1, 3]);
    assert_eq!(reserve(&mut bench, &[1, 4]), [4], "what is on its way is reserved once");
    bench.consumer(1, 10);
    assert_eq!(bench.delivered(), [(1, 2)]);
    bench.apply(ShardCommand::GiveBack { queue: Q, seq: Seq(3) });
    assert_eq!(bench.delivered(), [(1, 3)]);
    bench.apply(ShardCommand::Remove { queue: Q, seq: Seq(1) });
    assert_eq!(bench.settled(), [1]);
    bench.apply(ShardCommand::GiveBack { queue: Q, seq: Seq(1) });
    bench.apply(ShardCommand::GiveBack { queue: Q, seq: Seq(2) });
    assert_eq!(bench.delivered(), [], "neither what is gone nor what a consumer holds comes back");
    bench.settle(settle(1, 2, 3, Outcome::Accept));
    assert_eq!(bench.stats().messages, 1);
}

#[test]
fn a_consumers_message_is_not_reserved_and_those_on_disk_are() {
    let mut bench = Bench::new(QueueLimits { resident_bytes_max: 2 * SIZE, ..LIMITS });
    (0..8).for_each(|_| bench.publish(true));
    bench.commit();
    bench.consumer(1, 1);
    bench.effects.clear();
    assert_eq!(reserve(&mut bench, &[1, 2, 7]), [2, 7]);
    assert_eq!(bench.stats().messages, 8);
}

#[test]
fn what_is_reserved_leaves_its_queue_with_the_commit_of_a_transaction_or_stays() {
    let mut bench = Bench::new(LIMITS);
    (0..3).for_each(|_| bench.publish(true));
    bench.commit();
    bench.effects.clear();
    reserve(&mut bench, &[1, 2]);
    let pledge = |bench: &mut Bench, transaction, seq| {
        let (transaction, seq, session) = (TransactionId(transaction), Seq(seq), SessionId(9));
        bench.apply(ShardCommand::PledgeReserved { transaction, queue: Q, seq, session });
        bench.told()
    };
    assert!(pledge(&mut bench, 1, 1)[0].contains("held: Some(1)"));
    assert!(pledge(&mut bench, 2, 2)[0].contains("held: Some(1)"));
    assert!(pledge(&mut bench, 3, 3)[0].contains("held: None"), "nobody reserved it");
    bench.consumer(1, 10);
    assert_eq!(bench.delivered(), [(1, 3)]);
    bench.apply(ShardCommand::Rollback { transaction: TransactionId(1) });
    assert_eq!(bench.delivered(), [(1, 1)]);
    let (group, logged) = (Group { id: 2, parts: 2 }, bench.log.len());
    let (transaction, publishes, marks) = (TransactionId(2), Vec::new(), Vec::new());
    bench.apply(ShardCommand::Transaction { transaction, publishes, marks, group });
    let is_settled =
        |logged: &Logged| matches!(logged.record, Some(Record::Settle { first: Seq(2), last: Seq(2), .. }));
    assert!(bench.log[logged..].iter().all(|logged| is_settled(logged) && logged.group == Some(group)));
    assert_eq!((bench.log.len(), bench.stats().messages), (logged + 1, 2));
}

#[test]
fn who_looks_at_a_queue_that_is_deleted_is_answered() {
    let mut bench = Bench::new(QueueLimits { resident_bytes_max: SIZE, ..LIMITS });
    (0..4).for_each(|_| bench.publish(true));
    bench.commit();
    bench.effects.clear();
    look(&mut bench, Reserve::Nothing);
    assert!(bench.told().is_empty(), "some of it must be read back first");
    bench.apply(ShardCommand::Delete { queue: Q });
    assert!(bench.told()[0].starts_with("Peeked"));
}

#[test]
fn what_is_not_there_is_not_removed_in_the_place_of_a_neighbour_on_disk() {
    let mut bench = Bench::new(QueueLimits { resident_bytes_max: 1, ..LIMITS });
    for number in 1..=4 {
        let mut message = message_to(&Address::queue("q"));
        (message.meta.id, message.meta.durable) = (MessageId(number), true);
        message.meta.priority = if number == 2 { 9 } else { 4 };
        bench.publish_message(Arc::new(message));
    }
    bench.commit();
    bench.consumer(1, 1);
    bench.effects.clear();
    bench.apply(ShardCommand::Loaded {
        queue: QueueId(Q.0 | 10 << 56),
        messages: vec![(Seq(2), message(2, true))],
        complete_to: Seq(2),
    });
    assert_eq!(bench.delivered(), [(1, 2)]);
    bench.settle(settle(1, 2, 2, Outcome::Accept));
    bench.commit();
    bench.effects.clear();
    // The range of 1, 3 and 4 covers the place of 2.
    bench.apply(ShardCommand::TakeOut { queue: Q, seqs: vec![Seq(2), Seq(4)], answer: (SessionId(9), Token(7)) });
    assert_eq!(bench.loads(), [(1, 4)]);
    bench.loaded(&[1, 3, 4], 4);
    bench.commit();
    assert_eq!(bench.told(), [format!("{:?}", SessionEvent::Removed { token: Token(7), count: 1 })]);
    assert_eq!((bench.stats().messages, bench.settled()), (2, vec![2, 4]));
}

#[test]
fn a_look_that_is_over_in_one_lane_passes_what_is_given_back_there() {
    let mut bench = Bench::new(QueueLimits { pressed_bytes_max: 1, ..LIMITS });
    let mut urgent = message(2, true).meta.clone();
    urgent.priority = 9;
    bench.publish(true);
    bench.publish_message(Arc::new(Message::new(urgent, Encoding::Plain, Bytes::new(), Bytes::new())));
    bench.commit();
    bench.consumer(1, 1);
    assert_eq!(bench.delivered(), [(1, 2)]);
    bench.apply(ShardCommand::Pressure(true));
    look(&mut bench, Reserve::Chosen([Seq(1)].into()));
    assert_eq!(bench.loads(), [(1, 1)]);
    // Behind all that was chosen, while what was chosen is still being read.
    bench.detach(1, false);
    bench.loaded(&[1], 1);
    let is_it = |effect: &ShardEffect| match effect {
        ShardEffect::Tell(_, SessionEvent::Peeked { messages, .. }) => messages.iter().map(|it| it.seq.0).eq([1]),
        _ => false,
    };
    assert!(bench.effects.iter().any(is_it), "{:?}", bench.effects);
}

#[test]
fn what_an_operator_moves_is_no_duplicate_of_itself() {
    let window =
        DedupWindow { count: 10, time: Duration::from_secs(1), by_message_id: false, by_correlation_id: false };
    let mut bench = Bench::with(LIMITS, QueueSettings { dedup: Some(window), ..QueueSettings::default() });
    let identified = |number| {
        let mut message = message_to(&Address::queue("q"));
        (message.meta.id, message.meta.durable) = (MessageId(number), true);
        message.meta.rare_mut().dedup_id = Some("a".into());
        Arc::new(message)
    };
    bench.publish_message(identified(1));
    bench.commit();
    bench.effects.clear();
    reserve(&mut bench, &[1]);
    let (transaction, session) = (TransactionId(1), SessionId(9));
    bench.apply(ShardCommand::PledgeReserved { transaction, queue: Q, seq: Seq(1), session });
    let target = ShardTarget { queue: Q, durable: true, at_most_once: false, retained: false, moved: true };
    let publishes = vec![(identified(2), vec![target])];
    let (group, marks, before) = (Group { id: 1, parts: 2 }, Vec::new(), bench.log.len());
    bench.apply(ShardCommand::Transaction { transaction, publishes, marks, group });
    assert_eq!(bench.stats().messages, 1, "back in its queue");
    let identities = bench.log[before..].iter().filter(|logged| matches!(logged.record, Some(Record::Identity { .. })));
    assert_eq!(identities.count(), 0, "its identity is remembered already");
    bench.commit();
    bench.publish_message(identified(3));
    assert_eq!((bench.stats().messages, bench.stats().duplicates_total), (1, 1), "its publisher's own is one");
}

/// Looks until there is no more; what each look showed.
fn pages(bench: &mut Bench, count: usize, selector: Option<&str>) -> Vec<Vec<u64>> {
    let (mut pages, mut next) = (Vec::new(), Some(PeekFrom::Place(Seq(0))));
    while let Some(from) = next {
        let selector = selector.map(|text| Selector::parse(text).unwrap());
        let (reserve, answer) = (Reserve::Nothing, (SessionId(9), Token(7)));
        bench.apply(ShardCommand::Peek { queue: Q, from, count, selector, reserve, answer });
        let mut messages = None;
        (messages, next) = bench
            .effects
            .drain(..)
            .find_map(|effect| match effect {
                ShardEffect::Tell(_, SessionEvent::Peeked { messages, next, .. }) => Some((Some(messages), next)),
                _ => None,
            })
            .unwrap_or((messages, None));
        pages.push(messages.expect("an answer").iter().map(|one| one.seq.0).collect());
    }
    pages
}

fn publish_with_priority(bench: &mut Bench, number: u64, priority: u8) {
    let mut meta = message(number, true).meta.clone();
    meta.priority = priority;
    bench.publish_message(Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::new())));
}

#[test]
fn a_look_goes_on_where_the_last_one_ended_whatever_the_priorities() {
    let mut bench = Bench::new(LIMITS);
    for number in 1..=9 {
        publish_with_priority(&mut bench, number, [4, 9, 0][number as usize % 3]);
    }
    bench.commit();
    bench.effects.clear();
    assert_eq!(pages(&mut bench, 2, None), [vec![1, 4], vec![7, 3], vec![6, 9], vec![2, 5], vec![8]]);
    assert_eq!(pages(&mut bench, 3, None), [vec![1, 4, 7], vec![3, 6, 9], vec![2, 5, 8]]);
    assert_eq!(pages(&mut bench, 2, Some("JMSPriority < 9")), [vec![3, 6], vec![9, 2], vec![5, 8]]);
    assert_eq!(pages(&mut bench, 3, Some("JMSPriority = 4")), [vec![3, 6, 9]]);
}

#[test]
fn what_is_selected_is_purged_also_from_disk_and_nothing_that_a_consumer_holds() {
    let mut bench = Bench::new(QueueLimits { resident_bytes_max: 2 * SIZE, ..LIMITS });
    (0..8).for_each(|_| bench.publish(true));
    bench.commit();
    bench.consumer(1, 1);
    bench.effects.clear();
    let (selector, answer) = (Selector::parse("JMSDeliveryMode = 'PERSISTENT'").unwrap(), (SessionId(9), Token(7)));
    bench.apply(ShardCommand::PurgeSelected { queue: Q, selector, answer });
    while let Some((first, last)) = bench.loads().first().copied() {
        bench.effects.clear();
        bench.loaded(&(first..=last).collect::<Vec<_>>(), last);
    }
    bench.effects.clear();
    bench.commit();
    assert_eq!(bench.told(), [format!("{:?}", SessionEvent::Removed { token: Token(7), count: 7 })]);
    assert_eq!((bench.stats().messages, bench.settled()), (1, (2..=8).collect()));
}
