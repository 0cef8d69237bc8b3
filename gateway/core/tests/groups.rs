//! Message groups: one consumer at a time has a group, whatever consumers select.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Bench, LIMITS, NOW, Plainly, Q, SIZE, settle};
use evergate_core::{Group, QueueLimits, SessionId, ShardCommand};
use evergate_model::{
    Address, Consumers, Encoding, Message, MessageId, Meta, Outcome, QueueSettings, Selector, Seq, TransactionId,
};

fn grouped(number: u64, group: &str, property: &str) -> Arc<Message> {
    let mut meta = Meta::new(Address::queue("q"));
    (meta.id, meta.ingress) = (MessageId(number), NOW);
    meta.rare_mut().group_id = (!group.is_empty()).then(|| group.into());
    Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::copy_from_slice(property.as_bytes())))
}

#[test]
fn a_group_goes_to_one_consumer_in_order_and_holds_up_no_other() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 1);
    bench.consumer(2, 3);
    for (number, group) in [(1, "a"), (2, "b"), (3, "a"), (4, "b"), (5, "a"), (6, "b")] {
        bench.publish_message(grouped(number, group, ""));
    }
    assert_eq!(bench.delivered(), [(1, 1), (2, 2), (2, 4), (2, 6)]);
    bench.credit(1, 2, false);
    assert_eq!(bench.delivered(), [(1, 3)]);
    // Its owner leaves: another has the group from now on, from where it stopped.
    bench.credit(2, 10, false);
    bench.detach(1, true);
    assert_eq!(bench.delivered().iter().map(|(_, number)| *number).collect::<Vec<_>>(), [1, 3, 5]);
}

#[test]
fn a_group_at_rest_moves_to_a_consumer_that_joins_and_one_at_work_stays() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 100);
    for (number, group) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        bench.publish_message(grouped(number, group, ""));
    }
    bench.settle(settle(1, 2, 4, Outcome::Accept));
    bench.delivered();
    bench.consumer(2, 100);
    for (number, group) in [(5, "a"), (6, "b"), (7, "c"), (8, "d")] {
        bench.publish_message(grouped(number, group, ""));
    }
    let mut to: Vec<u32> = bench.delivered().iter().map(|(consumer, _)| *consumer).collect();
    assert_eq!(to.remove(0), 1);
    to.sort_unstable();
    assert_eq!(to, [1, 2, 2]);
}

fn single() -> QueueSettings {
    QueueSettings { consumers: Consumers::SingleActive, ..QueueSettings::default() }
}

fn change(settings: QueueSettings) -> ShardCommand {
    ShardCommand::Change { queue: Q, settings: Arc::new(settings) }
}

/// One step of a table's row.
enum Step {
    /// A consumer with a credit, and which values of `p` it selects ("": all).
    Joins(u32, u64, &'static str),
    /// The same; its deliveries are settled as they go out.
    JoinsSettled(u32, u64, &'static str),
    /// The same, before others in line.
    JoinsFirst(u32, u64, &'static str),
    Leaves(u32),
    /// The next message of the group, with this value.
    Comes(&'static str),
    /// A consumer accepts one.
    Settles(u32, u64),
    Refuses(u32, u64),
    Credit(u32, u64),
    /// What was delivered since.
    Gets(&'static [(u32, u64)]),
}

use Step::*;

fn selector(values: &str) -> Option<Selector> {
    let list: Vec<String> = values.chars().map(|value| format!("'{value}'")).collect();
    (!values.is_empty()).then(|| Selector::parse(&format!("p IN ({})", list.join(","))).unwrap())
}

fn play(name: &str, steps: &[Step]) {
    let mut bench = Bench::reading(&Plainly, LIMITS, QueueSettings::default());
    let mut came = 0;
    for (index, step) in steps.iter().enumerate() {
        let join = |bench: &mut Bench, (consumer, credit, values): (u32, u64, &str), settled, priority| {
            bench.attach(consumer, credit, |wants| {
                (wants.selector, wants.settled, wants.priority) = (selector(values), settled, priority);
            });
        };
        match *step {
            Joins(consumer, credit, values) => join(&mut bench, (consumer, credit, values), false, 0),
            JoinsSettled(consumer, credit, values) => join(&mut bench, (consumer, credit, values), true, 0),
            JoinsFirst(consumer, credit, values) => join(&mut bench, (consumer, credit, values), false, 5),
            Leaves(consumer) => bench.detach(consumer, false),
            Comes(property) => {
                came += 1;
                bench.publish_message(grouped(came, "g", property));
            }
            Settles(consumer, number) => bench.settle(settle(consumer, number, number, Outcome::Accept)),
            Refuses(consumer, number) => {
                let outcome = Outcome::Modify { failed: false, undeliverable_here: true };
                bench.settle(settle(consumer, number, number, outcome));
            }
            Credit(consumer, limit) => bench.credit(consumer, limit, false),
            Gets(expected) => assert_eq!(bench.delivered(), expected, "{name}: step {index}"),
        }
    }
}

/// What happens, step by step, to the messages of one group.
const TABLE: &[(&str, &[Step])] = &[
    (
        "what its consumer does not select waits until that has settled, and goes to one other",
        &[
            Joins(1, 9, "a"),
            Joins(2, 9, "b"),
            Joins(3, 9, "b"),
            Comes("a"),
            Comes("b"),
            Comes("b"),
            Comes("b"),
            Gets(&[(1, 1)]),
            Settles(1, 1),
            Gets(&[(2, 2), (2, 3), (2, 4)]),
        ],
    ),
    (
        "what comes later waits as well, and goes back",
        &[
            Joins(1, 9, "a"),
            Joins(2, 9, "b"),
            Comes("a"),
            Comes("b"),
            Comes("a"),
            Gets(&[(1, 1)]),
            Settles(1, 1),
            Gets(&[(2, 2)]),
            Settles(2, 2),
            Gets(&[(1, 3)]),
        ],
    ),
    (
        "what nobody selects holds up nobody",
        &[Joins(1, 9, "a"), Joins(2, 9, "b"), Comes("a"), Comes("c"), Comes("a"), Gets(&[(1, 1), (1, 3)])],
    ),
    (
        "at rest it goes over at once",
        &[
            Joins(1, 9, "a"),
            Joins(2, 9, "b"),
            Comes("a"),
            Settles(1, 1),
            Gets(&[(1, 1)]),
            Comes("b"),
            Gets(&[(2, 2)]),
            Comes("a"),
            Gets(&[]),
            Settles(2, 2),
            Gets(&[(1, 3)]),
        ],
    ),
    (
        "who settles as it is served holds nothing",
        &[
            JoinsSettled(1, 9, "a"),
            Joins(2, 9, "b"),
            Comes("a"),
            Comes("b"),
            Comes("a"),
            Gets(&[(1, 1), (2, 2)]),
            Settles(2, 2),
            Gets(&[(1, 3)]),
        ],
    ),
    (
        "a consumer of higher priority does not keep it for ever",
        &[
            JoinsFirst(1, 9, "a"),
            Joins(2, 9, "b"),
            Comes("a"),
            Comes("b"),
            Comes("a"),
            Gets(&[(1, 1)]),
            Settles(1, 1),
            Gets(&[(2, 2)]),
            Settles(2, 2),
            Gets(&[(1, 3)]),
        ],
    ),
    (
        "what waits for credit does not keep it",
        &[
            Joins(1, 1, "a"),
            Joins(2, 9, "b"),
            Comes("a"),
            Comes("a"),
            Comes("b"),
            Gets(&[(1, 1)]),
            Settles(1, 1),
            Gets(&[(2, 3)]),
            Credit(1, 2),
            Gets(&[]),
            Settles(2, 3),
            Gets(&[(1, 2)]),
        ],
    ),
    (
        "the next consumer keeps what it selects, in order",
        &[
            Joins(1, 1, "a"),
            Joins(2, 9, ""),
            Comes("a"),
            Comes("a"),
            Comes("b"),
            Comes("a"),
            Gets(&[(1, 1)]),
            Credit(1, 9),
            Settles(1, 1),
            Gets(&[(2, 2), (2, 3), (2, 4)]),
        ],
    ),
    (
        "its consumer leaves: what it held goes first",
        &[
            Joins(1, 9, "a"),
            Joins(2, 9, "b"),
            Comes("a"),
            Comes("b"),
            Comes("a"),
            Gets(&[(1, 1)]),
            Leaves(1),
            Gets(&[(2, 2)]),
            Joins(3, 9, "a"),
            Gets(&[]),
            Settles(2, 2),
            Gets(&[(3, 1), (3, 3)]),
        ],
    ),
    (
        "who waited for it leaves: its consumer goes on",
        &[
            Joins(1, 9, "a"),
            Joins(2, 9, "b"),
            Comes("a"),
            Comes("b"),
            Comes("a"),
            Gets(&[(1, 1)]),
            Leaves(2),
            Settles(1, 1),
            Gets(&[(1, 3)]),
        ],
    ),
    (
        "what its consumer refused waits for the rest, too",
        &[
            Joins(1, 9, ""),
            Joins(2, 9, ""),
            Comes("a"),
            Comes("a"),
            Gets(&[(1, 1), (1, 2)]),
            Refuses(1, 1),
            Gets(&[]),
            Settles(1, 2),
            Gets(&[(2, 1)]),
        ],
    ),
];

#[test]
fn a_group_is_with_one_consumer_whatever_the_others_select() {
    for (name, steps) in TABLE {
        play(name, steps);
    }
}

#[test]
fn a_thousand_messages_that_wait_for_a_group_hold_up_the_line_and_no_more_are_looked_at() {
    let mut bench = Bench::reading(&Plainly, LIMITS, QueueSettings::default());
    bench.attach(1, 9, |wants| wants.selector = selector("a"));
    bench.attach(2, 5000, |wants| wants.selector = selector("b"));
    bench.publish_message(grouped(1, "g", "a"));
    (2..1000).for_each(|number| bench.publish_message(grouped(number, "g", "b")));
    bench.publish_message(grouped(1000, "", "b"));
    assert_eq!(bench.delivered(), [(1, 1), (2, 1000)]);
    (1001..1100).for_each(|number| bench.publish_message(grouped(number, "g", "b")));
    bench.publish_message(grouped(1100, "", "b"));
    assert_eq!(bench.delivered(), []);
    bench.settle(settle(1, 1, 1, Outcome::Accept));
    let expected: Vec<_> = (2..=1100).filter(|number| *number != 1000).map(|number| (2, number)).collect();
    assert_eq!(bench.delivered(), expected);
}

#[test]
fn what_is_for_a_consumer_of_another_class_does_not_wait_in_memory() {
    let durable = |number| {
        let mut message = grouped(number, "g", "b");
        Arc::get_mut(&mut message).unwrap().meta.durable = true;
        message
    };
    let limits = QueueLimits { resident_bytes_max: 5 * SIZE, ..LIMITS };
    let mut bench = Bench::reading(&Plainly, limits, QueueSettings::default());
    bench.attach(1, 1, |_| ());
    (1..=100).for_each(|number| bench.publish_message(durable(number)));
    bench.commit();
    assert_eq!(bench.deliveries().len(), 1);
    bench.attach(2, 5000, |wants| wants.selector = selector("b"));
    let mut reads = 0;
    while let Some(&(first, last)) = bench.loads().first() {
        reads += 1;
        let complete_to = last.min(first + 9);
        let messages = (first..=complete_to).map(|number| (Seq(number), durable(number))).collect();
        bench.apply(ShardCommand::Loaded { queue: Q, messages, complete_to: Seq(complete_to) });
        assert!(bench.stats().resident_bytes < 20 * SIZE, "{:?}", bench.stats());
    }
    assert!(reads >= 9, "{reads}");
    // Its owner leaves: now they are for the other, from the first.
    bench.detach(1, false);
    assert_eq!(bench.delivered()[..2], [(2, 1), (2, 2)]);
}

#[test]
fn a_group_stays_with_its_consumer_when_others_are_served_from_now_on() {
    let mut bench = Bench::with(LIMITS, single());
    bench.consumer(1, 9);
    bench.attach(2, 9, |wants| wants.priority = 1);
    bench.publish_message(grouped(1, "g", ""));
    bench.apply(change(QueueSettings::default()));
    bench.publish_message(grouped(2, "g", ""));
    assert_eq!(bench.delivered(), [(2, 1), (2, 2)]);
}

#[test]
fn what_waits_for_a_consumer_goes_to_the_active_one_when_only_that_is_served_from_now_on() {
    let mut bench = Bench::new(LIMITS);
    bench.consumer(1, 1);
    bench.publish_message(grouped(1, "g", ""));
    bench.publish_message(grouped(2, "g", ""));
    bench.attach(2, 9, |wants| wants.priority = 1);
    assert_eq!(bench.delivered(), [(1, 1)]);
    bench.apply(change(single()));
    assert_eq!(bench.delivered(), [(2, 2)]);
}

#[test]
fn what_stands_behind_an_open_transaction_in_its_group_waits_though_the_consumer_has_left() {
    for commits in [true, false] {
        let mut bench = Bench::new(LIMITS);
        bench.consumer(1, 10);
        bench.publish_message(grouped(1, "g", ""));
        bench.publish_message(grouped(2, "g", ""));
        assert_eq!(bench.delivered(), [(1, 1), (1, 2)]);
        let (transaction, session) = (TransactionId(1), SessionId(1));
        let settle = settle(1, 1, 1, Outcome::Accept);
        bench.apply(ShardCommand::Pledge { transaction, queue: Q, session, settle });
        bench.consumer(2, 10);
        bench.publish_message(grouped(3, "g", ""));
        bench.publish_message(grouped(4, "other", ""));
        assert_eq!(bench.delivered(), [(1, 3), (2, 4)]);
        bench.detach(1, false);
        assert_eq!(bench.delivered(), [], "2 and 3 wait for 1");
        if commits {
            let (publishes, marks, group) = (Vec::new(), Vec::new(), Group { id: 1, parts: 2 });
            bench.apply(ShardCommand::Transaction { transaction, publishes, marks, group });
            assert_eq!(bench.delivered(), [(2, 2), (2, 3)]);
        } else {
            bench.apply(ShardCommand::Rollback { transaction });
            assert_eq!(bench.delivered(), [(2, 1), (2, 2), (2, 3)]);
        }
    }
}
