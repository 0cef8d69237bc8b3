//! How often a message was handed out in vain, over restarts.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{LIMITS, NOW, Names, OUTCOMES, message, settle, shard_config};
use evergate_core::{
    ConsumerWants, DirectoryConfig, DirectoryLimits, Group, Logged, Position, QueueLimits, RecoveredCore, SessionEvent,
    SessionId, ShardCommand, ShardConfig, ShardEffect, ShardTarget, recover,
};
use evergate_journal::memory::MemoryJournal;
use evergate_journal::{Batch, Record, Table};
use evergate_model::{
    Address, Attached, ConsumerId, Delivery, Encoding, Event, Message, MessageId, Meta, Outcome, Policy, QueueId,
    QueueSettings, Redelivery, Seq, Time, Token, TransactionId,
};

const FAILED: Outcome = Outcome::Modify { failed: true, undeliverable_here: false };

fn config() -> DirectoryConfig {
    let limits = DirectoryLimits { queues_max: 10, retained_max: 10, retained_bytes_max: 1 << 20, outcomes: OUTCOMES };
    let thrice = Policy { matches: "#".into(), deliveries_max: Some(3), ..Policy::default() };
    DirectoryConfig { limits, policies: vec![thrice], ..DirectoryConfig::default() }
}

/// A node with one queue, which dies and comes back.
struct Node {
    journal: MemoryJournal,
    core: RecoveredCore,
    queue: QueueId,
    logged: u64,
    now: Time,
    limits: QueueLimits,
}

impl Node {
    fn new() -> Self {
        Self::with(LIMITS)
    }

    fn with(limits: QueueLimits) -> Self {
        let journal = MemoryJournal::new();
        let mut names = Names::with(config());
        names.ensure("q");
        write(&journal, names.log.drain(..));
        let queue = journal.recover_now().state.iter().find_map(|(table, key, _)| {
            let id = (*table == Table::Queue).then(|| key.parse().ok()).flatten()?;
            Some(QueueId(id))
        });
        Self { core: start(&journal, NOW, limits), journal, queue: queue.unwrap(), logged: 0, now: NOW, limits }
    }

    fn restart(&mut self) {
        self.core = start(&self.journal, self.now, self.limits);
        self.logged = 0;
    }

    /// Applies a command, commits what it logs and reads what it asks for, until nothing more happens. Returns the
    /// deliveries, and the counts and reasons that dead letters carry.
    fn apply(&mut self, command: ShardCommand) -> (Vec<Delivery>, Vec<String>) {
        let (mut deliveries, mut letters) = (Vec::new(), Vec::new());
        let mut commands = vec![command];
        while let Some(command) = commands.pop() {
            let (mut log, mut effects) = (Vec::new(), Vec::new());
            self.core.shards[0].apply(self.now, command, &mut log, &mut effects);
            if !log.is_empty() {
                self.logged += log.len() as u64;
                write(&self.journal, log);
                commands.push(ShardCommand::Durable(Position(self.logged)));
            }
            for effect in effects {
                match effect {
                    ShardEffect::Tell(_, SessionEvent::Event(Event::Deliver(delivery))) => deliveries.push(delivery),
                    ShardEffect::Load { queue, first, last, .. } => {
                        let loaded = self.journal.load_now(queue, first, last, 10, 1 << 20).unwrap();
                        let (messages, complete_to) = (loaded.messages, loaded.complete_to);
                        commands.push(ShardCommand::Loaded { queue, messages, complete_to });
                    }
                    ShardEffect::DeadLetter { message, .. } => {
                        let note = |name| message.annotations.iter().find(|note| &*note.name == name);
                        let (count, reason) = (note("dead-letter-count"), note("dead-letter-reason"));
                        letters.extend(
                            count.zip(reason).map(|(count, reason)| format!("{} {}", count.value, reason.value)),
                        );
                    }
                    _ => {}
                }
            }
        }
        (deliveries, letters)
    }

    fn publish(&mut self, number: u64) {
        self.publish_message(message(number, true));
    }

    fn publish_message(&mut self, message: Arc<Message>) {
        let targets =
            vec![ShardTarget { queue: self.queue, durable: true, at_most_once: false, retained: false, moved: false }];
        let answer = Some((SessionId(9), Token(1)));
        self.apply(ShardCommand::Publish { answer, message, targets, mark: None, group: None, may_be_refused: true });
    }

    /// A new consumer that may have one message.
    fn consume(&mut self) -> Vec<Delivery> {
        let (queue, session, consumer) = (self.queue, SessionId(1), ConsumerId(1));
        let (wants, found) = (ConsumerWants::default(), Attached::default());
        let (wants, found) = (Box::new(wants), Box::new(found));
        self.apply(ShardCommand::Attach { queue, session, consumer, wants, window_bytes: 1 << 20, found });
        self.apply(ShardCommand::Credit { queue, session, consumer, limit: 1, drain: false }).0
    }

    fn settle(&mut self, delivery: &Delivery, outcome: Outcome) -> Vec<String> {
        let (queue, session) = (self.queue, SessionId(1));
        let settle = settle(1, delivery.seq.0, delivery.seq.0, outcome);
        self.apply(ShardCommand::Settle { queue, session, settle }).1
    }

    fn rows(&self) -> usize {
        self.journal.recover_now().state.iter().filter(|(table, ..)| *table == Table::Failure).count()
    }
}

fn start(journal: &MemoryJournal, now: Time, limits: QueueLimits) -> RecoveredCore {
    let shards = ShardConfig { limits, ..shard_config() };
    let mut core = recover(now, journal.recover_now(), 1, shards, config()).unwrap();
    write(journal, core.records.drain(..).map(|record: Record| Logged { record: Some(record), group: None }));
    core
}

fn write(journal: &MemoryJournal, log: impl IntoIterator<Item = Logged>) {
    let mut batch = Batch::default();
    log.into_iter().filter_map(|logged| logged.record).for_each(|record| batch.add(record));
    journal.apply(&batch).unwrap();
}

#[test]
fn a_message_that_kills_its_consumers_does_not_begin_anew_with_a_restart() {
    let mut node = Node::new();
    node.publish(1);
    for failed in 0..3 {
        let deliveries = node.consume();
        assert_eq!(deliveries.iter().map(|it| it.failed_count).collect::<Vec<_>>(), [failed]);
        let letters = node.settle(&deliveries[0], FAILED);
        assert_eq!(letters, if failed == 2 { vec!["3 deliveries"] } else { Vec::new() });
        node.restart();
    }
}

#[test]
fn what_is_counted_goes_with_the_message() {
    let mut node = Node::new();
    node.publish(1);
    let deliveries = node.consume();
    assert_eq!(node.rows(), 0);
    node.settle(&deliveries[0], FAILED);
    assert_eq!(node.rows(), 1);
    node.restart();
    let deliveries = node.consume();
    node.settle(&deliveries[0], Outcome::Accept);
    assert_eq!(node.rows(), 0);
}

#[test]
fn a_pause_before_a_redelivery_goes_on_over_a_restart() {
    for deliveries_max in [None, Some(5)] {
        let mut node = Node::new();
        let pausing = |node: &mut Node| {
            let redelivery = Redelivery { delay: Duration::from_millis(500), deliveries_max, ..Redelivery::default() };
            let settings = Arc::new(QueueSettings { redelivery, ..QueueSettings::default() });
            node.apply(ShardCommand::Change { queue: node.queue, settings });
        };
        pausing(&mut node);
        node.publish(1);
        let deliveries = node.consume();
        node.settle(&deliveries[0], FAILED);
        node.now = Time(NOW.0 + 499);
        node.restart();
        pausing(&mut node);
        assert!(node.consume().is_empty(), "{deliveries_max:?}");
        node.now = Time(NOW.0 + 500);
        let deliveries = node.apply(ShardCommand::Tick).0;
        assert_eq!(deliveries.iter().map(|it| it.failed_count).collect::<Vec<_>>(), [1], "{deliveries_max:?}");
        node.settle(&deliveries[0], Outcome::Accept);
        assert_eq!(node.rows(), 0);
    }
}

#[test]
fn what_was_refused_goes_to_the_dead_letters_though_the_node_dies_before_it_has_arrived() {
    let cases = [
        (0, Outcome::Reject { reason: "".into() }, "1 rejected"),
        (0, Outcome::Reject { reason: "out of range - 7".into() }, "1 out of range - 7"),
        (2, FAILED, "3 deliveries"),
    ];
    for (earlier, outcome, letter) in cases {
        let mut node = Node::new();
        (1..=3).for_each(|number| node.publish(number));
        for _ in 0..earlier {
            let deliveries = node.consume();
            node.settle(&deliveries[0], FAILED);
            node.restart();
        }
        let deliveries = node.consume();
        assert_eq!(node.settle(&deliveries[0], outcome), [letter]);
        for _ in 0..2 {
            // Nobody looks at the queue.
            node.restart();
            assert_eq!(node.apply(ShardCommand::Tick).1, [letter]);
        }
        node.restart();
        let deliveries = node.consume();
        assert_eq!(deliveries.iter().map(|it| it.message.meta.id.0).collect::<Vec<_>>(), [2], "{letter}");
        // It has arrived.
        let queue = node.queue;
        node.apply(ShardCommand::Remove { queue, seq: Seq(1) });
        assert_eq!(node.rows(), 0);
    }
}

#[test]
fn a_word_on_what_is_not_in_memory_is_kept_before_that_is_read() {
    for (outcome, failed_count) in [(FAILED, Some(1)), (Outcome::Reject { reason: "no".into() }, None)] {
        let mut node = Node::with(QueueLimits { resident_bytes_max: 1, ..LIMITS });
        let mut meta = Meta::new(Address::queue("q"));
        (meta.id, meta.durable) = (MessageId(1), true);
        node.publish_message(Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::from_static(b"body"))));
        let deliveries = node.consume();
        let (queue, session) = (node.queue, SessionId(1));
        let (mut log, mut effects) = (Vec::new(), Vec::new());
        let settle = settle(1, deliveries[0].seq.0, deliveries[0].seq.0, outcome);
        node.core.shards[0].apply(node.now, ShardCommand::Settle { queue, session, settle }, &mut log, &mut effects);
        assert!(effects.iter().any(|effect| matches!(effect, ShardEffect::Load { .. })), "{effects:?}");
        write(&node.journal, log);
        node.restart();
        node.apply(ShardCommand::Tick);
        assert_eq!(node.consume().first().map(|it| it.failed_count), failed_count);
    }
}

#[test]
fn a_word_in_a_transaction_is_kept_with_its_commit() {
    for (outcome, failed_count) in [(FAILED, Some(1)), (Outcome::Reject { reason: "no".into() }, None)] {
        let mut node = Node::new();
        node.publish(1);
        let deliveries = node.consume();
        let (queue, session, transaction) = (node.queue, SessionId(1), TransactionId(1));
        let settle = settle(1, deliveries[0].seq.0, deliveries[0].seq.0, outcome);
        node.apply(ShardCommand::Pledge { transaction, queue, session, settle });
        let (publishes, marks, group) = (Vec::new(), Vec::new(), Group { id: 1, parts: 1 });
        let command = ShardCommand::Transaction { transaction, publishes, marks, group };
        let mut log = Vec::new();
        node.core.shards[0].apply(node.now, command, &mut log, &mut Vec::new());
        // It dies with the commit.
        write(&node.journal, log);
        node.restart();
        node.apply(ShardCommand::Tick);
        assert_eq!(node.consume().first().map(|it| it.failed_count), failed_count);
    }
}
