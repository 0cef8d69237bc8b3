//! How often a message was handed out in vain, over restarts.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{NOW, Names, OUTCOMES, message, settle, shard_config};
use evergate_core::{
    ConsumerWants, DirectoryConfig, DirectoryLimits, Logged, Position, RecoveredCore, SessionEvent, SessionId,
    ShardCommand, ShardEffect, ShardTarget, recover,
};
use evergate_journal::memory::MemoryJournal;
use evergate_journal::{Batch, Record, Table};
use evergate_model::{
    Attached, ConsumerId, Delivery, Event, Outcome, Policy, QueueId, QueueSettings, Redelivery, Time, Token,
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
}

impl Node {
    fn new() -> Self {
        let journal = MemoryJournal::new();
        let mut names = Names::with(config());
        names.ensure("q");
        write(&journal, names.log.drain(..));
        let queue = journal.recover_now().state.iter().find_map(|(table, key, _)| {
            let id = (*table == Table::Queue).then(|| key.parse().ok()).flatten()?;
            Some(QueueId(id))
        });
        Self { core: start(&journal, NOW), journal, queue: queue.unwrap(), logged: 0, now: NOW }
    }

    fn restart(&mut self) {
        self.core = start(&self.journal, self.now);
        self.logged = 0;
    }

    /// Applies a command, commits what it logs and reads what it asks for, until nothing more happens. Returns the
    /// deliveries, and the counts that dead letters carry.
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
                        let count = message.annotations.iter().find(|note| &*note.name == "dead-letter-count");
                        letters.extend(count.map(|note| note.value.to_string()));
                    }
                    _ => {}
                }
            }
        }
        (deliveries, letters)
    }

    fn publish(&mut self, number: u64) {
        let targets =
            vec![ShardTarget { queue: self.queue, durable: true, at_most_once: false, retained: false, moved: false }];
        let (answer, message) = (Some((SessionId(9), Token(1))), message(number, true));
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

fn start(journal: &MemoryJournal, now: Time) -> RecoveredCore {
    let mut core = recover(now, journal.recover_now(), 1, shard_config(), config()).unwrap();
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
        assert_eq!(letters, if failed == 2 { vec!["3"] } else { Vec::new() });
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
