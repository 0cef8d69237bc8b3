//! A queue is taken out of use by its shard only while nobody needs it.

mod common;

use std::time::Duration;

use common::{Bench, LIMITS, NOW, Q};
use evergate_core::{SessionEvent, ShardCommand, ShardEffect};
use evergate_model::{Outcome, Time};

const MINUTE: Duration = Duration::from_mins(1);

impl Bench {
    fn retire(&mut self, idle_for: Duration, even_in_use: bool) -> Result<(), Option<Time>> {
        self.effects.clear();
        self.apply(ShardCommand::Retire { queue: Q, attempt: 1, idle_for, even_in_use });
        match self.effects.pop() {
            Some(ShardEffect::Retired { queue: Q, attempt: 1, result }) => result,
            other => panic!("{other:?}"),
        }
    }

    /// How many queues the last message reached.
    fn told_reached(&mut self) -> u32 {
        let reached = |effect| match effect {
            ShardEffect::Tell(_, SessionEvent::PublishPart { reached, .. }) => Some(reached),
            _ => None,
        };
        self.effects.drain(..).find_map(reached).unwrap()
    }
}

#[test]
fn only_what_has_been_empty_for_long_enough_is_taken_out_of_use() {
    let mut bench = Bench::new(LIMITS);
    assert_eq!(bench.retire(MINUTE, false), Err(Some(NOW)));
    bench.now = NOW.after(MINUTE);
    bench.publish(true);
    assert_eq!(bench.retire(MINUTE, false), Err(None));
    bench.commit();
    bench.consumer(1, 1);
    bench.settle(common::settle(1, 1, 1, Outcome::Accept));
    assert_eq!(bench.retire(MINUTE, false), Err(None));
    bench.now = bench.now.after(MINUTE);
    bench.detach(1, false);
    let empty_since = bench.now;
    bench.now = bench.now.after(MINUTE / 2);
    assert_eq!(bench.retire(MINUTE, false), Err(Some(empty_since)));
    bench.now = bench.now.after(MINUTE / 2);
    assert_eq!(bench.retire(MINUTE, false), Ok(()));
}

#[test]
fn what_is_published_meanwhile_waits_and_finds_the_queue_reopened_or_gone() {
    let mut bench = Bench::new(LIMITS);
    for (decision, wanted) in [(ShardCommand::Reopen { queue: Q }, 1), (ShardCommand::Delete { queue: Q }, 0)] {
        assert_eq!(bench.retire(Duration::ZERO, false), Ok(()));
        bench.publish(false);
        assert!(bench.effects.is_empty());
        bench.apply(decision);
        assert_eq!(bench.told_reached(), wanted);
        bench.consumer_with(1, 1, true, 1 << 40);
        bench.detach(1, false);
    }
}

#[test]
fn an_operator_may_not_mind_consumers_but_messages() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 0);
    assert_eq!(bench.retire(Duration::ZERO, false), Err(None));
    assert_eq!(bench.retire(Duration::ZERO, true), Ok(()));
    bench.apply(ShardCommand::Reopen { queue: Q });
    bench.publish(true);
    assert_eq!(bench.retire(Duration::ZERO, true), Err(None));
}
