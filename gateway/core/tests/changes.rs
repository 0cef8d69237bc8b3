//! Settings that change while messages wait.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Bench, LIMITS, NOW, Q, SIZE, settle};
use evergate_core::{QueueLimits, ShardCommand, ShardEffect};
use evergate_model::{OnFull, Outcome, QueueKind, QueueSettings, Seq, StreamStart, Time};

fn change(bench: &mut Bench, settings: QueueSettings) {
    bench.apply(ShardCommand::Change { queue: Q, settings: Arc::new(settings) });
}

fn living(millis: Option<u64>) -> QueueSettings {
    QueueSettings { time_to_live: millis.map(Duration::from_millis), ..QueueSettings::default() }
}

/// Places of dead letters up to a time.
fn letters_until(bench: &mut Bench, now: Time) -> Vec<u64> {
    bench.now = now;
    while bench.shard.next_timeout().is_some_and(|at| at <= now) {
        bench.apply(ShardCommand::Tick);
        let load = |effect: &ShardEffect| match effect {
            ShardEffect::Load { first, last, .. } => Some((first.0, last.0)),
            _ => None,
        };
        if let Some((first, last)) = bench.effects.iter().find_map(load) {
            bench.loaded(&(first..=last).collect::<Vec<_>>(), last);
        }
    }
    bench.letters().iter().map(|(seq, _)| seq.0).collect()
}

#[test]
fn what_waits_expires_by_the_time_to_live_that_is_in_force() {
    // In memory, and on disk but for the first.
    for limits in [LIMITS, QueueLimits { resident_bytes_max: SIZE, ..LIMITS }] {
        let mut bench = Bench::new(limits);
        (0..3).for_each(|_| bench.publish(true));
        bench.commit();
        bench.effects.clear();
        let taken = common::message(1, true).meta.ingress;
        change(&mut bench, living(Some(5000)));
        assert_eq!(letters_until(&mut bench, Time(taken.0 + 4999)), [0; 0]);
        change(&mut bench, living(None));
        assert_eq!(letters_until(&mut bench, Time(taken.0 + 9000)), [0; 0]);
        change(&mut bench, living(Some(9500)));
        assert_eq!(letters_until(&mut bench, Time(taken.0 + 9499)), [0; 0]);
        assert_eq!(letters_until(&mut bench, Time(taken.0 + 9500)), [1, 2, 3], "{limits:?}");
    }
}

#[test]
fn a_lower_limit_lets_what_is_too_much_go_at_once_and_no_more() {
    for on_full in [OnFull::DropOldest, OnFull::DeadLetterOldest] {
        let mut bench = Bench::new(LIMITS);
        (0..10).for_each(|_| bench.publish(true));
        bench.commit();
        bench.effects.clear();
        change(&mut bench, QueueSettings { on_full, messages_max: 4, ..QueueSettings::default() });
        let dropped = bench.effects.iter().filter(|effect| matches!(effect, ShardEffect::Dropped(1))).count();
        let letters: Vec<_> = bench.letters().iter().map(|(seq, _)| seq.0).collect();
        if on_full == OnFull::DropOldest {
            assert_eq!((dropped, letters.len(), bench.stats().messages), (6, 0, 4));
        } else {
            assert_eq!((dropped, letters), (0, (1..=6).collect()));
            (1..=6).for_each(|seq| bench.apply(ShardCommand::Remove { queue: Q, seq: Seq(seq) }));
            assert_eq!(bench.full().last(), Some(&false), "publishers go on");
            assert_eq!(bench.stats().messages, 4);
        }
        // To another policy, with nothing left of the old one.
        change(&mut bench, QueueSettings { messages_max: 2, ..QueueSettings::default() });
        assert_eq!(bench.stats().messages, 4);
        assert!(bench.now == NOW);
    }
}

#[test]
fn a_full_queue_opens_when_a_quarter_is_free() {
    for (messages_max, opens_at) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 3), (8, 6), (10, 7)] {
        let mut bench = Bench::new(LIMITS);
        change(&mut bench, QueueSettings { messages_max, ..QueueSettings::default() });
        (0..messages_max).for_each(|_| bench.publish(true));
        bench.commit();
        assert_eq!(bench.full().last(), Some(&true));
        bench.effects.clear();
        let left = (1..=messages_max).find_map(|seq| {
            bench.apply(ShardCommand::Remove { queue: Q, seq: Seq(seq) });
            (bench.full().last() == Some(&false)).then(|| bench.stats().messages)
        });
        assert_eq!(left, Some(opens_at), "of {messages_max}");
    }
}

#[test]
fn consumers_of_a_queue_that_becomes_a_stream_take_nothing_from_then_on() {
    let stream =
        || QueueSettings { kind: QueueKind::Stream { age_max: None, bytes_max: None }, ..QueueSettings::default() };
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 10);
    bench.publish(true);
    bench.commit();
    assert_eq!(bench.delivered(), [(1, 1)]);
    change(&mut bench, stream());
    bench.publish(true);
    bench.commit();
    assert_eq!(bench.delivered(), [(1, 2)]);
    bench.settle(settle(1, 1, 2, Outcome::Accept));
    assert_eq!((bench.stats().messages, bench.stats().unsettled), (2, 0), "their word means nothing");
    bench.attach(2, 10, |wants| wants.start = StreamStart::First);
    assert_eq!(bench.delivered(), [(2, 1), (2, 2)]);
    // And back: all of it is for one or the other.
    change(&mut bench, QueueSettings::default());
    let mut taken: Vec<u64> = bench.delivered().iter().map(|(_, number)| *number).collect();
    taken.sort_unstable();
    assert_eq!(taken, [1, 2]);
    bench.settle(settle(1, 1, 2, Outcome::Accept));
    bench.settle(settle(2, 1, 2, Outcome::Accept));
    assert_eq!(bench.stats().messages, 0);
}
