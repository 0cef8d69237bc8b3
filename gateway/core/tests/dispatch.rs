//! Who gets what, in which order, and how much of it.

mod common;

use std::sync::Arc;

use common::{Bench, LIMITS, NOW, SIZE, message, settle};
use evergate_core::{QueueLimits, ShardCommand};
use evergate_model::{Message, Outcome, QueueSettings, Seq, Time, Unwanted};

#[test]
fn competing_consumers_take_turns_in_order() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 10);
    bench.consumer(2, 10);
    (0..4).for_each(|_| bench.publish(false));
    assert_eq!(bench.delivered(), [(1, 1), (2, 2), (1, 3), (2, 4)]);
    bench.detach(1, false);
    // What the first held goes back and is handed out before what is new.
    bench.publish(false);
    assert_eq!(bench.delivered(), [(2, 1), (2, 3), (2, 5)]);
}

#[test]
fn credit_is_never_exceeded_and_never_lost() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 2);
    (0..5).for_each(|_| bench.publish(false));
    assert_eq!(bench.delivered(), [(1, 1), (1, 2)]);
    bench.settle(settle(1, 1, 2, Outcome::Accept));
    assert_eq!(bench.delivered(), []);
    bench.credit(1, 4, false);
    assert_eq!(bench.delivered(), [(1, 3), (1, 4)]);
    bench.credit(1, u64::MAX, false);
    assert_eq!(bench.delivered(), [(1, 5)]);
}

#[test]
fn the_byte_window_is_overshot_by_one_message_at_most() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer_with(1, 100, false, SIZE + 1);
    (0..5).for_each(|_| bench.publish(false));
    assert_eq!(bench.delivered(), [(1, 1), (1, 2)]);
    bench.window(1, 2 * SIZE);
    assert_eq!(bench.delivered(), []);
    bench.window(1, 2 * SIZE + 1);
    assert_eq!(bench.delivered(), [(1, 3)]);
}

#[test]
fn durable_messages_go_out_after_their_commit_and_transient_ones_wait_behind_them() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 10);
    bench.told();
    bench.publish(true);
    bench.publish(false);
    assert_eq!(bench.told(), ["Published(2)"]);
    bench.commit();
    assert_eq!(bench.deliveries().len(), 2);
}

#[test]
fn a_publish_is_answered_after_its_commit() {
    let mut bench = Bench::new(LIMITS);
    bench.publish(true);
    assert!(bench.told().is_empty());
    bench.commit();
    assert_eq!(bench.told(), ["Published(1)"]);
}

#[test]
fn expired_messages_are_dropped_when_their_turn_comes() {
    let settings = QueueSettings { on_expiry: Unwanted::Discard, ..QueueSettings::default() };
    let mut bench = Bench::with(LIMITS, settings);
    let expiring = |number, at| {
        let mut meta = message(number, true).meta.clone();
        meta.expires_at = Some(Time(at));
        Arc::new(Message::new(meta, evergate_model::Encoding::Plain, bytes::Bytes::new(), bytes::Bytes::new()))
    };
    bench.publish_message(expiring(1, NOW.0 + 5));
    bench.publish_message(expiring(2, NOW.0 + 6));
    bench.commit();
    bench.now = Time(NOW.0 + 5);
    bench.consumer(1, 10);
    assert_eq!(bench.delivered(), [(1, 2)]);
    assert_eq!(bench.settled(), [1]);
    assert_eq!((bench.stats().expired_total, bench.stats().messages), (1, 1));
}

#[test]
fn a_settled_consumer_takes_a_message_as_it_is_handed_out() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer_with(1, 10, true, 1 << 40);
    bench.publish(true);
    bench.commit();
    assert_eq!(bench.delivered(), [(1, 1)]);
    assert_eq!(bench.settled(), [1]);
    bench.detach(1, true);
    bench.consumer(2, 10);
    assert_eq!(bench.delivered(), []);
    assert_eq!((bench.stats().messages, bench.stats().resident_bytes), (0, 0));
}

#[test]
fn a_drain_is_answered_at_once_when_there_is_nothing() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 0);
    bench.told();
    bench.credit(1, 10, true);
    assert_eq!(bench.told(), ["Drained { consumer: ConsumerId(1), delivered: 0 }"]);
    // The credit is gone with it.
    bench.publish(false);
    assert_eq!(bench.delivered(), []);
}

#[test]
fn a_drain_waits_for_the_commit_of_what_was_there() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 0);
    bench.publish(true);
    bench.told();
    bench.credit(1, 10, true);
    assert!(bench.told().is_empty());
    bench.commit();
    assert_eq!(bench.deliveries().len(), 1);
    bench.credit(1, 10, true);
    // What comes after the request does not hold it up.
    assert_eq!(bench.told().len(), 1);
}

#[test]
fn a_drain_waits_for_the_window_and_for_what_must_be_read_back() {
    let mut bench = Bench::new(QueueLimits { resident_bytes_max: 1000, ..LIMITS });
    bench.consumer_with(1, 0, false, SIZE);
    (0..6).for_each(|_| bench.publish(true));
    bench.commit();
    bench.told();
    bench.credit(1, 10, true);
    assert_eq!(bench.delivered(), [(1, 1)]);
    bench.window(1, 1 << 20);
    assert_eq!(bench.loads(), [(4, 6)]);
    bench.loaded(&[4, 5, 6], 6);
    let effects = format!("{:?}", bench.effects);
    assert!(effects.contains("delivered: 6"), "{effects}");
}

#[test]
fn drains_that_follow_before_the_answer_are_answered_with_it() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer_with(1, 0, false, SIZE);
    (0..3).for_each(|_| bench.publish(false));
    bench.told();
    (0..5).for_each(|_| bench.credit(1, 10, true));
    assert_eq!(bench.told(), [""; 0]);
    bench.window(1, 1 << 20);
    assert_eq!(bench.told(), ["Drained { consumer: ConsumerId(1), delivered: 3 }"]);
}

#[test]
fn publishers_wait_from_the_limit_until_a_quarter_is_free() {
    let mut bench = Bench::with(LIMITS, QueueSettings { messages_max: 8, ..QueueSettings::default() });
    (0..7).for_each(|_| bench.publish(false));
    assert!(bench.full().is_empty());
    bench.publish(false);
    assert_eq!(bench.full(), [true]);
    bench.consumer(1, 8);
    bench.settle(settle(1, 1, 1, Outcome::Accept));
    assert!(bench.full().is_empty());
    bench.settle(settle(1, 2, 2, Outcome::Accept));
    assert_eq!(bench.full(), [false]);
}

#[test]
fn what_does_not_fit_into_memory_is_read_back_in_order() {
    let mut bench = Bench::new(QueueLimits { resident_bytes_max: 2 * SIZE, ..LIMITS });
    (0..4).for_each(|_| bench.publish(true));
    bench.publish(false);
    bench.publish(true);
    bench.commit();
    assert!(bench.stats().resident_bytes <= 3 * SIZE, "{:?}", bench.stats());
    assert_eq!((bench.stats().messages, bench.stats().bytes), (6, 6 * SIZE));
    bench.effects.clear();
    bench.consumer(1, 100);
    assert_eq!(bench.steps(), ["deliver 1", "load 2 to 4"]);
    // A part of it first: the rest is asked for again.
    bench.loaded(&[2, 3], 3);
    assert_eq!(bench.steps(), ["deliver 2", "deliver 3", "load 4 to 4"]);
    bench.loaded(&[4], 4);
    assert_eq!(bench.steps(), ["deliver 4", "deliver 5", "load 6 to 6"]);
    bench.loaded(&[6], 6);
    assert_eq!(bench.steps(), ["deliver 6"]);
}

#[test]
fn a_load_that_finds_less_than_was_counted_does_not_block_the_queue() {
    let mut bench = Bench::new(QueueLimits { resident_bytes_max: SIZE, ..LIMITS });
    (0..3).for_each(|_| bench.publish(true));
    bench.commit();
    bench.consumer(1, 100);
    bench.effects.clear();
    bench.loaded(&[], 3);
    bench.publish(false);
    assert_eq!(bench.delivered(), [(1, 4)]);
    assert_eq!(bench.stats().messages, 2);
}

#[test]
fn what_was_given_back_keeps_its_flags_under_memory_pressure() {
    let mut bench = Bench::new(QueueLimits { pressed_bytes_max: 1, ..LIMITS });
    bench.consumer(1, 1);
    bench.publish(true);
    bench.publish(true);
    bench.commit();
    bench.detach(1, true);
    bench.apply(ShardCommand::Pressure(true));
    bench.effects.clear();
    bench.consumer(2, 1);
    let deliveries = bench.deliveries();
    assert_eq!((deliveries[0].seq, deliveries[0].redelivered, deliveries[0].failed_count), (Seq(1), true, 1));
}

#[test]
fn slots_behind_a_message_that_stays_held_do_not_pile_up() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 1);
    bench.publish(false);
    bench.consumer_with(2, u64::MAX, true, u64::MAX);
    for _ in 0..10_000 {
        bench.publish(false);
    }
    assert_eq!(bench.deliveries().len(), 10_001);
    assert!(format!("{:?}", bench.shard).matches("state: Gone").count() < 200);
    bench.settle(settle(1, 1, 1, Outcome::Accept));
    assert_eq!(bench.stats().messages, 0);
}
