//! What becomes of deliveries.

mod common;

use std::sync::Arc;

use common::{Bench, LIMITS, NOW, Q, settle};
use evergate_core::{SessionEvent, SessionId, ShardCommand, ShardEffect};
use evergate_model::{ConsumerId, Event, Outcome, QueueSettings, Seq, Settle, Time, Token};

const FAILED: Outcome = Outcome::Modify { failed: true, undeliverable_here: false };
const NOT_HERE: Outcome = Outcome::Modify { failed: false, undeliverable_here: true };

fn three_held() -> Bench {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 3);
    (0..3).for_each(|_| bench.publish(true));
    bench.commit();
    assert_eq!(bench.delivered(), [(1, 1), (1, 2), (1, 3)]);
    bench
}

#[test]
fn what_is_accepted_leaves_the_queue_and_the_journal() {
    let mut bench = three_held();
    bench.settle(settle(1, 2, 2, Outcome::Accept));
    assert_eq!((bench.settled(), bench.stats().messages, bench.stats().unsettled), (vec![2], 2, 2));
    bench.settle(settle(1, 2, 2, Outcome::Accept));
    assert_eq!(bench.settled(), [2]);
}

#[test]
fn a_range_concerns_what_is_held_however_wide_it_is() {
    let mut bench = three_held();
    bench.settle(settle(1, 2, 2, Outcome::Accept));
    let started = std::time::Instant::now();
    bench.settle(settle(1, 0, u64::MAX, Outcome::Accept));
    bench.settle(settle(1, 0, u64::MAX, Outcome::Accept));
    assert!(started.elapsed().as_secs() < 1);
    assert_eq!(bench.settled(), [2, 1, 3]);
    bench.settle(settle(1, 5, 2, Outcome::Accept));
    assert_eq!(bench.stats().messages, 0);
}

#[test]
fn what_is_released_goes_back_to_its_place_flagged_and_not_counted() {
    let mut bench = three_held();
    bench.settle(settle(1, 1, 2, Outcome::Release));
    bench.consumer(2, 10);
    let back: Vec<_> = bench.deliveries().iter().map(|it| (it.seq.0, it.redelivered, it.failed_count)).collect();
    assert_eq!(back, [(1, true, 0), (2, true, 0)]);
}

#[test]
fn what_was_never_sent_goes_back_as_it_was() {
    let mut bench = three_held();
    bench.settle(settle(1, 1, 1, Outcome::Release));
    bench.credit(1, 4, false);
    bench.deliveries();
    bench.settle(settle(1, 1, 3, Outcome::Unsent));
    bench.detach(1, true);
    bench.consumer(2, 10);
    let back: Vec<_> = bench.deliveries().iter().map(|it| (it.seq.0, it.redelivered, it.failed_count)).collect();
    assert_eq!(back, [(1, true, 0), (2, false, 0), (3, false, 0)]);
}

#[test]
fn failed_deliveries_are_counted() {
    let mut bench = three_held();
    bench.settle(settle(1, 1, 1, FAILED));
    bench.credit(1, 4, false);
    assert_eq!(bench.deliveries()[0].failed_count, 1);
    // Vanishing counts as well.
    bench.detach(1, true);
    bench.consumer(2, 10);
    let counts: Vec<_> = bench.deliveries().iter().map(|it| (it.seq.0, it.failed_count)).collect();
    assert_eq!(counts, [(1, 2), (2, 1), (3, 1)]);
}

#[test]
fn what_is_undeliverable_here_goes_to_another_and_holds_up_nobody() {
    let mut bench = three_held();
    bench.settle(settle(1, 1, 1, NOT_HERE));
    bench.credit(1, 10, false);
    bench.publish(false);
    assert_eq!(bench.delivered(), [(1, 4)]);
    bench.consumer(2, 1);
    assert_eq!(bench.delivered(), [(2, 1)]);
}

#[test]
fn another_takes_what_was_refused_while_the_line_waits_for_a_commit() {
    let mut bench = three_held();
    bench.credit(1, 10, false);
    bench.publish(true);
    bench.settle(settle(1, 1, 1, NOT_HERE));
    bench.consumer(2, 1);
    assert_eq!(bench.delivered(), [(2, 1)]);
}

#[test]
fn what_is_rejected_goes_to_the_dead_letters_and_then_leaves() {
    let mut bench = three_held();
    bench.settle(settle(1, 2, 2, Outcome::Reject { reason: "broken".into() }));
    let letter = bench.effects.drain(..).find_map(|effect| match effect {
        ShardEffect::DeadLetter { seq, message, .. } => Some((seq, message)),
        _ => None,
    });
    let (seq, letter) = letter.unwrap();
    let notes: Vec<_> = letter.annotations.iter().map(|note| (&*note.name, &*note.value)).collect();
    assert_eq!((seq, &*letter.meta.address.name, letter.meta.id.0), (Seq(2), "_DMQ", 0));
    assert_eq!(notes[1..3], [("dead-letter-queue", "q"), ("dead-letter-reason", "broken")]);
    // It stays until it has arrived there.
    assert_eq!((bench.stats().messages, bench.settled()), (3, vec![]));
    bench.detach(1, false);
    bench.consumer(2, 10);
    assert_eq!(bench.delivered(), [(2, 1), (2, 3)]);
    bench.apply(ShardCommand::Remove { queue: Q, seq });
    assert_eq!((bench.stats().messages, bench.settled()), (2, vec![2]));
}

#[test]
fn who_rejects_a_dead_letter_discards_it() {
    let mut bench = Bench::new(LIMITS);
    bench.apply(ShardCommand::Create { queue: Q, name: "_DMQ".into(), durable: true, settings: Arc::default() });
    bench.consumer(1, 3);
    bench.publish(false);
    bench.settle(settle(1, 1, 1, Outcome::Reject { reason: "".into() }));
    assert!(!bench.effects.iter().any(|effect| matches!(effect, ShardEffect::DeadLetter { .. })));
    assert!(bench.shard.stats().all(|(_, stats)| stats.messages == 0));
}

#[test]
fn a_settle_and_its_mark_are_confirmed_after_their_commit() {
    let mut bench = three_held();
    let (mark, token) = (Some(5), Some(Token(8)));
    bench.settle(Settle { mark, token, ..settle(1, 1, 1, Outcome::Accept) });
    assert!(bench.told().is_empty());
    bench.commit();
    assert_eq!(bench.told(), ["Done(Token(8))"]);
    let (session, consumer, found) = (SessionId(2), ConsumerId(1), Box::default());
    bench.apply(ShardCommand::Attach { queue: Q, session, consumer, wants: Box::default(), window_bytes: 0, found });
    let marks = bench.effects.drain(..).find_map(|effect| match effect {
        ShardEffect::Tell(_, SessionEvent::Attached { result: Ok((_, _, found)), .. }) => Some(found.marks),
        _ => None,
    });
    assert_eq!(marks, Some(vec![5]));
}

#[test]
fn an_attach_is_answered_after_the_marks_it_tells() {
    let mut bench = Bench::new(LIMITS);
    bench.apply(ShardCommand::Mark { queue: Q, number: 3, set: true, answer: None });
    bench.consumer(1, 0);
    assert!(bench.told().is_empty());
    // Deleted meanwhile: it is told in order.
    bench.apply(ShardCommand::Delete { queue: Q });
    assert!(bench.told().is_empty());
    bench.commit();
    let told = bench.told();
    assert!(told[0].contains("marks: [3]") && told[1].starts_with("Deleted"), "{told:?}");
}

#[test]
fn a_settle_after_the_consumer_was_taken_away_is_not_confirmed() {
    let mut bench = three_held();
    bench.detach(1, true);
    bench.told();
    bench.settle(Settle { token: Some(Token(1)), ..settle(1, 1, 1, Outcome::Accept) });
    bench.commit();
    assert!(bench.told().is_empty());
    assert_eq!(bench.stats().messages, 3);
}

#[test]
fn consumers_are_told_when_their_queue_is_deleted() {
    let mut bench = three_held();
    bench.apply(ShardCommand::Delete { queue: Q });
    let deleted = bench.effects.iter().any(|effect| {
        matches!(effect, ShardEffect::Tell(_, SessionEvent::Event(Event::Deleted { consumer: ConsumerId(1) })))
    });
    assert!(deleted);
    bench.publish(true);
    assert_eq!(bench.delivered(), []);
}

#[test]
fn a_message_that_is_not_committed_does_not_become_a_dead_letter_before_it_is() {
    let time_to_live = Some(std::time::Duration::from_millis(10));
    let mut bench = Bench::with(LIMITS, QueueSettings { time_to_live, ..QueueSettings::default() });
    bench.publish(true);
    bench.now = Time(NOW.0 + 10);
    bench.apply(ShardCommand::Tick);
    assert_eq!((bench.letters().len(), bench.stats().dead_lettered_total), (0, 1));
    bench.commit();
    assert_eq!(bench.letters().len(), 1);
}
