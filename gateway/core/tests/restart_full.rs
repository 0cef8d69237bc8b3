//! A restart with queues that are full: who waits and who is refused, from the first message on.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{NOW, message, shard_config};
use evergate_core::{
    DirectoryConfig, NoticeKind, QueueDefinition, RecoveredCore, SessionEvent, SessionId, ShardCommand, ShardEffect,
    ShardTarget, recover,
};
use evergate_journal::memory::MemoryJournal;
use evergate_journal::{Batch, Record};
use evergate_model::{Consumers, Encoding, Message, OnFull, Policy, QueueId, QueueSettings, Seq, Time, Token};

/// What the configuration says of `q`, by a policy or in the queue's own definition.
#[derive(Clone, Copy, Debug)]
enum By {
    Policy,
    Definition,
}

fn config(by: By, on_full: OnFull, messages_max: u64) -> DirectoryConfig {
    let policy = Policy { messages_max: Some(messages_max), on_full: Some(on_full), ..Policy::default() };
    let mut config = DirectoryConfig::default();
    match by {
        By::Policy => config.policies = vec![Policy { matches: "q".into(), ..policy }],
        By::Definition => {
            config.queues = vec![QueueDefinition { name: "q".into(), bindings: Vec::new(), settings: policy }];
        }
    }
    config
}

fn write(journal: &MemoryJournal, records: impl IntoIterator<Item = Record>) {
    let mut batch = Batch::default();
    records.into_iter().for_each(|record| batch.add(record));
    journal.apply(&batch).unwrap();
}

/// A node on what the journal holds, as the runtime starts one.
struct Node {
    core: RecoveredCore,
    queue: QueueId,
    notices: Vec<NoticeKind>,
    /// Places of dead letters.
    letters: Vec<u64>,
    /// Why the last message was refused, if it was.
    refused: bool,
}

impl Node {
    fn start(journal: &MemoryJournal, config: DirectoryConfig) -> Self {
        let mut core = recover(NOW, journal.recover_now(), 1, shard_config(), config).unwrap();
        write(journal, core.records.drain(..));
        let effects = core.effects.drain(..).flatten().collect();
        let queue = core.routes.queue("q").map_or(QueueId(0), |target| target.queue);
        let mut node = Self { core, queue, notices: Vec::new(), letters: Vec::new(), refused: false };
        node.carry_out(effects);
        node
    }

    fn carry_out(&mut self, effects: Vec<ShardEffect>) {
        for effect in effects {
            match effect {
                ShardEffect::Full(queue, full) => self.core.routes.set_full(queue, full),
                ShardEffect::Notice(notice) => self.notices.push(notice.what),
                ShardEffect::DeadLetter { seq, .. } => self.letters.push(seq.0),
                ShardEffect::Tell(_, SessionEvent::PublishPart { error, .. }) => self.refused = error.is_some(),
                _ => {}
            }
        }
    }

    fn apply(&mut self, command: ShardCommand) {
        let mut effects = Vec::new();
        self.core.shards[0].apply(NOW, command, &mut Vec::new(), &mut effects);
        self.carry_out(effects);
    }

    fn waits(&self) -> bool {
        self.core.routes.is_full(self.queue)
    }

    /// Publishes one, and says whether it is refused.
    fn refuses(&mut self) -> bool {
        let targets =
            vec![ShardTarget { queue: self.queue, durable: false, at_most_once: false, retained: false, moved: false }];
        let (answer, mark, group) = (Some((SessionId(1), Token(1))), None, None);
        let message = message(99, false);
        self.apply(ShardCommand::Publish { answer, message, targets, mark, group, may_be_refused: true });
        self.refused
    }
}

/// A journal in which `q` has so many messages. Their places are from 1 on.
fn journal_with(messages: u64) -> MemoryJournal {
    let journal = MemoryJournal::new();
    let plain = QueueDefinition { name: "q".into(), bindings: Vec::new(), settings: Policy::default() };
    let queue = Node::start(&journal, DirectoryConfig { queues: vec![plain], ..DirectoryConfig::default() }).queue;
    let origin = None;
    write(
        &journal,
        (1..=messages).map(|seq| Record::Enqueue { message: message(seq, true), queue, seq: Seq(seq), origin }),
    );
    journal
}

/// Messages that the restart finds; what the configuration says of the queue by then; whether publishers wait, and
/// whether the first message is refused.
const CASES: [(u64, OnFull, u64, bool, bool); 13] = [
    (5, OnFull::Block, 5, true, false),
    (5, OnFull::Block, 4, true, false),
    (5, OnFull::Block, 6, false, false),
    (0, OnFull::Block, 5, false, false),
    (5, OnFull::Disconnect, 5, true, false),
    (5, OnFull::Reject, 5, false, true),
    (5, OnFull::Reject, 4, false, true),
    (5, OnFull::Reject, 6, false, false),
    (5, OnFull::DropOldest, 5, false, false),
    (5, OnFull::DropOldest, 4, false, false),
    // What is too much goes to `_DMQ` with the first tick, or when the next one comes.
    (5, OnFull::DeadLetterOldest, 5, false, false),
    (5, OnFull::DeadLetterOldest, 4, true, false),
    (5, OnFull::DeadLetterOldest, 6, false, false),
];

#[test]
fn whoever_must_wait_waits_from_the_first_message_on_and_whoever_is_refused_is_refused() {
    for by in [By::Policy, By::Definition] {
        for (messages, on_full, messages_max, waits, refuses) in CASES {
            let case = format!("{messages} messages, {on_full:?} at {messages_max} by {by:?}");
            let journal = journal_with(messages);
            let mut node = Node::start(&journal, config(by, on_full, messages_max));
            assert_eq!(node.core.shards[0].stats_of(node.queue).unwrap().messages, messages, "{case}");
            assert_eq!(node.waits(), waits, "{case}");
            assert_eq!(node.notices, vec![NoticeKind::Full; usize::from(waits)], "{case}");
            assert_eq!(node.core.routes.may_refuse(node.queue), on_full == OnFull::Reject, "{case}");
            assert_eq!(node.refuses(), refuses, "{case}");
        }
    }
}

#[test]
fn what_was_too_much_at_the_restart_goes_though_nobody_publishes() {
    for (on_full, letters) in [(OnFull::DeadLetterOldest, vec![1, 2, 3]), (OnFull::DropOldest, vec![])] {
        let journal = journal_with(5);
        let mut node = Node::start(&journal, config(By::Policy, on_full, 2));
        let queue = node.queue;
        assert!(node.core.shards[0].next_timeout().is_some_and(|at| at <= NOW), "{on_full:?}");
        node.apply(ShardCommand::Tick);
        let messages = (1..=5).map(|seq| (Seq(seq), message(seq, true))).collect();
        node.apply(ShardCommand::Loaded { queue, messages, complete_to: Seq(5) });
        assert_eq!((&node.letters, node.waits()), (&letters, on_full == OnFull::DeadLetterOldest), "{on_full:?}");
        for seq in letters {
            node.apply(ShardCommand::Remove { queue, seq: Seq(seq) });
        }
        assert!(!node.waits(), "{on_full:?}");
        assert_eq!(node.core.shards[0].stats_of(queue).unwrap().messages, 2, "{on_full:?}");
        assert!(node.core.shards[0].next_timeout().is_none(), "{on_full:?}: it does not look again and again");
    }
}

/// What expired while the gateway was down, and a little later, makes room though nobody consumes.
#[test]
fn what_has_expired_keeps_no_queue_full_after_a_restart() {
    for on_full in [OnFull::Block, OnFull::Reject] {
        let journal = journal_with(0);
        let first = Node::start(&journal, config(By::Policy, on_full, 5));
        let queue = first.queue;
        let expiring = |seq: u64| {
            let mut meta = message(seq, true).meta.clone();
            meta.expires_at = Some(Time(NOW.0 - 1));
            Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::new()))
        };
        let enqueue = |seq| Record::Enqueue { message: expiring(seq), queue, seq: Seq(seq), origin: None };
        write(&journal, (1..=5).map(enqueue));
        let mut node = Node::start(&journal, config(By::Policy, on_full, 5));
        assert!(node.core.shards[0].next_timeout().is_some_and(|at| at <= NOW), "{on_full:?}");
        node.apply(ShardCommand::Tick);
        let messages = (1..=5).map(|seq| (Seq(seq), expiring(seq))).collect();
        node.apply(ShardCommand::Loaded { queue, messages, complete_to: Seq(5) });
        node.apply(ShardCommand::Tick);
        assert_eq!(node.letters, [1, 2, 3, 4, 5], "{on_full:?}");
        (1..=5).for_each(|seq| node.apply(ShardCommand::Remove { queue, seq: Seq(seq) }));
        assert_eq!((node.waits(), node.refuses()), (false, false), "{on_full:?}");
    }
}

#[test]
fn a_time_to_live_goes_on_over_a_restart_though_nobody_looks() {
    let journal = journal_with(3);
    let policy = Policy { matches: "q".into(), time_to_live_ms: Some(100), ..Policy::default() };
    let node = Node::start(&journal, DirectoryConfig { policies: vec![policy], ..DirectoryConfig::default() });
    assert_eq!(node.core.shards[0].next_timeout(), Some(Time(NOW.0 + 100)), "by then all of it has expired");
}

type Make<'a> = &'a dyn Fn(QueueId) -> ShardCommand;

#[test]
fn publishers_go_on_once_a_queue_that_was_full_at_the_restart_is_not_any_more() {
    let change = |queue, policy: &Policy| ShardCommand::Change { queue, settings: Arc::new(settings(policy)) };
    let purge: Make<'_> = &|queue| ShardCommand::Purge { queue, answer: (SessionId(1), Token(1)) };
    let delete: Make<'_> = &|queue| ShardCommand::Delete { queue };
    let refuse: Make<'_> = &|queue| change(queue, &Policy { on_full: Some(OnFull::Reject), ..five() });
    let widen: Make<'_> = &|queue| change(queue, &Policy { messages_max: Some(9), ..five() });
    for (name, command) in [("purge", purge), ("delete", delete), ("refuse instead", refuse), ("widen", widen)] {
        let journal = journal_with(5);
        let mut node = Node::start(&journal, config(By::Policy, OnFull::Block, 5));
        assert!(node.waits(), "{name}");
        node.apply(command(node.queue));
        assert!(!node.waits(), "{name}");
    }
}

#[test]
fn what_does_not_change_how_full_it_is_leaves_publishers_waiting() {
    let journal = journal_with(5);
    let mut node = Node::start(&journal, config(By::Policy, OnFull::Block, 5));
    let policy = Policy { consumers: Some(Consumers::SingleActive), ..five() };
    let queue = node.queue;
    node.apply(ShardCommand::Change { queue, settings: Arc::new(settings(&policy)) });
    assert!(node.waits());
}

fn five() -> Policy {
    Policy { messages_max: Some(5), ..Policy::default() }
}

fn settings(policy: &Policy) -> QueueSettings {
    let mut settings = QueueSettings::default();
    policy.apply(&mut settings);
    settings
}
