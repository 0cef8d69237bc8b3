//! A shard or a whole core in a test's hands: commands in, effects out.

#![allow(dead_code)] // each test file uses its part

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use evergate_core::{
    ConsumerWants, Counters, Directory, DirectoryCommand, DirectoryConfig, DirectoryEffect, DirectoryLimits,
    FingerprintLimits, Logged, ManageError, ManageReply, ManageRequest, OutcomeLimits, Position, QueueEntry,
    QueueLimits, QueueStats, Routes, SessionEvent, SessionId, Shard, ShardCommand, ShardConfig, ShardEffect, ShardId,
    ShardTarget,
};
use evergate_journal::Record;
use evergate_model::{
    Address, Attach, Attached, Body, ConsumerId, Delivery, Encoding, Event, Format, Formats, Message, MessageId, Meta,
    Outcome, QueueId, QueueSettings, QueueSpec, Seq, Settle, Time, Token, Value, View,
};

/// A format whose body is one property, `p`.
pub struct Plainly;

impl Format for Plainly {
    fn view<'a>(&self, message: &'a Message) -> View<'a> {
        let mut view = View::new(Body::Binary(Cow::Borrowed(&message.body)));
        let text = std::str::from_utf8(&message.body).unwrap_or_default();
        view.application.push(("p".into(), Value::String(text.into())));
        view
    }
}

pub const Q: QueueId = QueueId(7);
pub const NOW: Time = Time(1000);
pub const LIMITS: QueueLimits = QueueLimits { resident_bytes_max: 1 << 30, pressed_bytes_max: 1 << 20 };

/// The settings of a node's shards.
pub fn shard_config() -> ShardConfig {
    let (formats, fingerprints) = (Formats::default(), FingerprintLimits::default());
    ShardConfig { id: ShardId(0), limits: LIMITS, formats, fingerprints, bug: None }
}

pub fn message(number: u64, durable: bool) -> Arc<Message> {
    let mut meta = Meta::new(Address::queue("q"));
    (meta.id, meta.durable) = (MessageId(number), durable);
    Arc::new(Message::new(meta, Encoding::Plain, Bytes::new(), Bytes::new()))
}

/// A message to an address, for routing.
pub fn message_to(address: &Address) -> Message {
    Message::new(Meta::new(address.clone()), Encoding::Plain, Bytes::new(), Bytes::new())
}

pub const OUTCOMES: OutcomeLimits = OutcomeLimits { outcomes_max: 10, age_max: std::time::Duration::from_mins(1) };

/// What a message of these tests counts for.
pub const SIZE: u64 = evergate_model::OVERHEAD_BYTES;

pub fn settle(consumer: u32, first: u64, last: u64, outcome: Outcome) -> Settle {
    Settle::new(ConsumerId(consumer), Seq(first), Seq(last), outcome)
}

/// One shard with the durable queue `Q`.
pub struct Bench {
    pub shard: Shard,
    pub log: Vec<Logged>,
    pub effects: Vec<ShardEffect>,
    pub now: Time,
    numbers: u64,
}

impl Bench {
    pub fn new(limits: QueueLimits) -> Self {
        Self::with(limits, QueueSettings::default())
    }

    pub fn with(limits: QueueLimits, settings: QueueSettings) -> Self {
        Self::formatted(Formats::default(), limits, settings, true)
    }

    /// The queue does not survive a restart.
    pub fn passing(limits: QueueLimits) -> Self {
        Self::formatted(Formats::default(), limits, QueueSettings::default(), false)
    }

    /// With a reader for what is published.
    pub fn reading(format: &'static dyn Format, limits: QueueLimits, settings: QueueSettings) -> Self {
        Self::formatted(Formats::default().with(Encoding::Plain, format), limits, settings, true)
    }

    fn formatted(formats: Formats, limits: QueueLimits, settings: QueueSettings, durable: bool) -> Self {
        let config = ShardConfig { limits, formats, ..shard_config() };
        let mut bench = Self { shard: Shard::new(config), log: Vec::new(), effects: Vec::new(), now: NOW, numbers: 0 };
        let settings = Arc::new(settings);
        bench.apply(ShardCommand::Create { queue: Q, name: "q".into(), durable, settings });
        bench
    }

    pub fn apply(&mut self, command: ShardCommand) {
        self.shard.apply(self.now, command, &mut self.log, &mut self.effects);
    }

    /// Publishes the next number.
    pub fn publish(&mut self, durable: bool) {
        self.numbers += 1;
        self.publish_message(message(self.numbers, durable));
    }

    pub fn publish_message(&mut self, message: Arc<Message>) {
        self.publish_by(message, false);
    }

    /// The same through a binding of QoS 0, or not.
    pub fn publish_by(&mut self, message: Arc<Message>, at_most_once: bool) {
        let targets =
            vec![ShardTarget { queue: Q, durable: !at_most_once, at_most_once, retained: false, moved: false }];
        let answer = Some((SessionId(9), Token(message.meta.id.0)));
        self.apply(ShardCommand::Publish { answer, message, targets, mark: None, group: None, may_be_refused: true });
    }

    pub fn commit(&mut self) {
        self.apply(ShardCommand::Durable(Position(self.log.len() as u64)));
    }

    /// A consumer of session 1 with a credit.
    pub fn consumer(&mut self, consumer: u32, limit: u64) {
        self.consumer_with(consumer, limit, false, 1 << 40);
    }

    pub fn consumer_with(&mut self, consumer: u32, limit: u64, settled: bool, window_bytes: u64) {
        let wants = ConsumerWants { settled, ..ConsumerWants::default() };
        self.attach_with(consumer, limit, wants, window_bytes);
    }

    /// A consumer with particular wishes.
    pub fn attach(&mut self, consumer: u32, limit: u64, change: impl FnOnce(&mut ConsumerWants)) {
        let mut wants = ConsumerWants::default();
        change(&mut wants);
        self.attach_with(consumer, limit, wants, 1 << 40);
    }

    fn attach_with(&mut self, consumer: u32, limit: u64, wants: ConsumerWants, window_bytes: u64) {
        let (session, consumer, found) = (SessionId(1), ConsumerId(consumer), Attached::default());
        self.apply(ShardCommand::Attach {
            queue: Q,
            session,
            consumer,
            wants: Box::new(wants),
            window_bytes,
            found: Box::new(found),
        });
        self.credit(consumer.0, limit, false);
    }

    /// Dead letters since the last look, with what they carry; other effects are dropped.
    pub fn letters(&mut self) -> Vec<(Seq, BTreeMap<String, String>)> {
        let letter = |effect| match effect {
            ShardEffect::DeadLetter { seq, message, .. } => {
                let notes = message.annotations.iter().map(|note| (note.name.to_string(), note.value.to_string()));
                Some((seq, notes.collect()))
            }
            _ => None,
        };
        self.effects.drain(..).filter_map(letter).collect()
    }

    pub fn credit(&mut self, consumer: u32, limit: u64, drain: bool) {
        let (session, consumer) = (SessionId(1), ConsumerId(consumer));
        self.apply(ShardCommand::Credit { queue: Q, session, consumer, limit, drain });
    }

    pub fn window(&mut self, consumer: u32, limit_bytes: u64) {
        let (session, consumer) = (SessionId(1), ConsumerId(consumer));
        self.apply(ShardCommand::Window { queue: Q, session, consumer, limit_bytes });
    }

    pub fn settle(&mut self, settle: Settle) {
        self.apply(ShardCommand::Settle { queue: Q, session: SessionId(1), settle });
    }

    pub fn detach(&mut self, consumer: u32, failed: bool) {
        let (session, consumer, answer) = (SessionId(1), ConsumerId(consumer), None);
        self.apply(ShardCommand::Detach { queue: Q, session, consumer, failed, answer });
    }

    /// Deliveries since the last look; other effects are dropped.
    pub fn deliveries(&mut self) -> Vec<Delivery> {
        let delivery = |effect| match effect {
            ShardEffect::Tell(_, SessionEvent::Event(Event::Deliver(delivery))) => Some(delivery),
            _ => None,
        };
        self.effects.drain(..).filter_map(delivery).collect()
    }

    /// The same as (consumer, message number).
    pub fn delivered(&mut self) -> Vec<(u32, u64)> {
        self.deliveries().iter().map(|delivery| (delivery.consumer.0, delivery.message.meta.id.0)).collect()
    }

    /// Loads asked for since the last look; other effects are dropped.
    pub fn loads(&mut self) -> Vec<(u64, u64)> {
        let load = |effect| match effect {
            ShardEffect::Load { first, last, .. } => Some((first.0, last.0)),
            _ => None,
        };
        self.effects.drain(..).filter_map(load).collect()
    }

    /// Deliveries and loads since the last look; other effects are dropped.
    pub fn steps(&mut self) -> Vec<String> {
        let step = |effect| match effect {
            ShardEffect::Tell(_, SessionEvent::Event(Event::Deliver(it))) => Some(format!("deliver {}", it.seq.0)),
            ShardEffect::Load { first, last, .. } => Some(format!("load {} to {}", first.0, last.0)),
            _ => None,
        };
        self.effects.drain(..).filter_map(step).collect()
    }

    /// The journal's answer to a load: places are the messages' numbers.
    pub fn loaded(&mut self, numbers: &[u64], complete_to: u64) {
        let messages = numbers.iter().map(|number| (Seq(*number), message(*number, true))).collect();
        self.apply(ShardCommand::Loaded { queue: Q, messages, complete_to: Seq(complete_to) });
    }

    /// Whether `Full` was said since the last look; other effects are dropped.
    pub fn full(&mut self) -> Vec<bool> {
        let full = |effect| match effect {
            ShardEffect::Full(_, full) => Some(full),
            _ => None,
        };
        self.effects.drain(..).filter_map(full).collect()
    }

    /// Other events for sessions since the last look, as text.
    pub fn told(&mut self) -> Vec<String> {
        let told = |effect| match effect {
            ShardEffect::Tell(_, SessionEvent::Event(Event::Deliver(_))) => None,
            ShardEffect::Tell(_, SessionEvent::Event(event)) => Some(format!("{event:?}")),
            ShardEffect::Tell(_, SessionEvent::PublishPart { token, .. }) => Some(format!("Published({})", token.0)),
            ShardEffect::Tell(_, event) => Some(format!("{event:?}")),
            _ => None,
        };
        self.effects.drain(..).filter_map(told).collect()
    }

    /// Settled places in the log.
    pub fn settled(&self) -> Vec<u64> {
        let settled = |logged: &Logged| match logged.record {
            Some(Record::Settle { first, last, .. }) => {
                assert_eq!(first, last);
                Some(first.0)
            }
            _ => None,
        };
        self.log.iter().filter_map(settled).collect()
    }

    pub fn stats(&self) -> QueueStats {
        self.shard.stats().find(|(name, _)| &***name == "q").map(|(_, stats)| stats).unwrap_or_default()
    }
}

/// A directory over one shard, without the shard.
pub struct Names {
    pub directory: Directory,
    pub routes: Routes,
    pub log: Vec<Logged>,
    pub effects: Vec<DirectoryEffect>,
    pub now: Time,
}

impl Names {
    pub fn new(limits: DirectoryLimits) -> Self {
        Self::with(DirectoryConfig { limits, ..DirectoryConfig::default() })
    }

    pub fn with(config: DirectoryConfig) -> Self {
        let directory = Directory::new(1, config, Counters::new(1));
        Self { directory, routes: Routes::default(), log: Vec::new(), effects: Vec::new(), now: NOW }
    }

    pub fn apply(&mut self, command: DirectoryCommand) {
        self.directory.apply(self.now, command, &mut self.routes, &mut self.log, &mut self.effects);
    }

    pub fn commit(&mut self) {
        self.apply(DirectoryCommand::Durable(Position(self.log.len() as u64)));
    }

    pub fn ensure(&mut self, name: &str) {
        self.apply(DirectoryCommand::Ensure { session: SessionId(1), name: name.into() });
    }

    pub fn attach_to(&mut self, session: u64, spec: QueueSpec) {
        let attach = Attach::new(ConsumerId(1), spec);
        self.apply(DirectoryCommand::Attach { session: SessionId(session), attach, window_bytes: 1 });
    }

    pub fn manage(&mut self, request: ManageRequest) {
        let (session, token, request) = (SessionId(5), Token(5), Box::new(request));
        self.apply(DirectoryCommand::Manage { session, token, request });
    }

    /// What an operator was told; other effects are dropped.
    pub fn answer(&mut self) -> Option<Result<ManageReply, ManageError>> {
        self.effects.drain(..).find_map(|effect| match effect {
            DirectoryEffect::Tell(_, SessionEvent::Managed { result, .. }) => Some(result),
            _ => None,
        })
    }

    /// The queue of this name, as an operator is shown it; effects are dropped.
    pub fn entry(&mut self, name: &str) -> Option<QueueEntry> {
        self.effects.clear();
        self.manage(ManageRequest::Queue { name: name.into() });
        match self.answer() {
            Some(Ok(ManageReply::Queue { entry, .. })) => Some(*entry),
            Some(Err(ManageError::NotFound(_))) => None,
            other => panic!("{other:?}"),
        }
    }

    /// What happened since the last look, in one word each and with whom it concerns.
    pub fn happened(&mut self) -> Vec<String> {
        self.effects.drain(..).map(|effect| short(&effect)).collect()
    }
}

fn short(effect: &DirectoryEffect) -> String {
    match effect {
        DirectoryEffect::Shard(_, command) => match command {
            ShardCommand::Create { name, .. } => format!("create {name}"),
            ShardCommand::Delete { .. } => "delete".into(),
            ShardCommand::Retire { .. } => "retire".into(),
            ShardCommand::Reopen { .. } => "reopen".into(),
            ShardCommand::Attach { session, .. } => format!("attach {}", session.0),
            ShardCommand::Detach { session, answer, .. } => match answer {
                Some(Event::TakenOver { .. }) => format!("take from {}", session.0),
                Some(_) => format!("detach {}", session.0),
                None => format!("detach {} silently", session.0),
            },
            ShardCommand::Publish { targets, .. } if targets.iter().all(|target| target.retained) => "retained".into(),
            ShardCommand::Publish { .. } => "publish".into(),
            other => format!("{other:?}"),
        },
        DirectoryEffect::Tell(session, event) => match event {
            SessionEvent::Event(Event::Done(token)) => format!("done {}", token.0),
            SessionEvent::Event(Event::Unbound { existed, .. }) => format!("unbound {existed}"),
            SessionEvent::Attached { result: Err(error), .. } => format!("refused {}: {error:?}", session.0),
            SessionEvent::PublishParts { parts, .. } => format!("parts {parts}"),
            SessionEvent::PublishPart { error, .. } => format!("part {}", error.is_none()),
            SessionEvent::Ensured { result, .. } => format!("ensured {}", result.is_ok()),
            other => format!("{other:?}"),
        },
    }
}
