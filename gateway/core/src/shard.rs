//! A shard: one owner of many queues. `apply` is pure: what happens depends on the commands alone.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use evergate_journal::{Record, RecoveredQueue};
use evergate_model::{
    AttachError, Attached, ConsumerId, Event, Message, QueueId, QueueSettings, Selector, Seq, Settle, StreamStart,
    Time, Token,
};

use crate::consumer::{Consumer, ConsumerKey};
use crate::directory::delete_queue_row;
use crate::effect::{Group, Logged, Position, SessionEvent, SessionId, ShardEffect, ShardId};
use crate::queue::{Queue, QueueLimits, QueueStats};

/// What a shard is told.
#[derive(Debug)]
pub enum ShardCommand {
    /// A new queue.
    Create {
        /// Its id, never used before.
        queue: QueueId,
        /// Its name.
        name: Arc<str>,
        /// It survives a restart.
        durable: bool,
        /// How it behaves.
        settings: Arc<QueueSettings>,
    },
    /// How a queue behaves from now on.
    Change {
        /// Which.
        queue: QueueId,
        /// How it behaves.
        settings: Arc<QueueSettings>,
    },
    /// The queue, its messages and marks are gone; consumers are told.
    Delete {
        /// Which.
        queue: QueueId,
    },
    /// A consumer; answered with `Attached`.
    Attach {
        /// Which queue.
        queue: QueueId,
        /// Whose consumer.
        session: SessionId,
        /// Which.
        consumer: ConsumerId,
        /// What it wants.
        wants: ConsumerWants,
        /// Bytes it may be sent at first.
        window_bytes: u64,
        /// For the answer: what the directory knows. Marks are added here.
        found: Attached,
    },
    /// No longer a consumer; what it holds goes back.
    Detach {
        /// Which queue.
        queue: QueueId,
        /// Whose consumer.
        session: SessionId,
        /// Which.
        consumer: ConsumerId,
        /// It vanished: each delivery it held counts as failed.
        failed: bool,
        /// What it is told afterwards.
        answer: Option<Event>,
    },
    /// A message for some of this shard's queues.
    Publish {
        /// Who is answered, with which token; nobody, if the gateway itself publishes.
        answer: Option<(SessionId, Token)>,
        /// The message.
        message: Arc<Message>,
        /// The queues.
        targets: Vec<ShardTarget>,
        /// A number to set in the same commit.
        mark: Option<(QueueId, u32)>,
        /// With which records of other streams it is committed.
        group: Option<Group>,
    },
    /// A consumer's limit of deliveries in all.
    Credit {
        /// Which queue.
        queue: QueueId,
        /// Whose consumer.
        session: SessionId,
        /// Which.
        consumer: ConsumerId,
        /// The limit.
        limit: u64,
        /// Answer when there is nothing more to send now.
        drain: bool,
    },
    /// A consumer's limit of bytes in all.
    Window {
        /// Which queue.
        queue: QueueId,
        /// Whose consumer.
        session: SessionId,
        /// Which.
        consumer: ConsumerId,
        /// The limit.
        limit_bytes: u64,
    },
    /// A consumer's word on deliveries.
    Settle {
        /// Which queue.
        queue: QueueId,
        /// Whose word.
        session: SessionId,
        /// What it says.
        settle: Settle,
    },
    /// Sets or clears a number.
    Mark {
        /// Which queue.
        queue: QueueId,
        /// The number.
        number: u32,
        /// Set or cleared.
        set: bool,
        /// Who is answered after the commit.
        answer: Option<(SessionId, Token)>,
    },
    /// A dead letter has arrived in `_DMQ`: take it from here.
    Remove {
        /// Which queue.
        queue: QueueId,
        /// Which place.
        seq: Seq,
    },
    /// Messages that were read back.
    Loaded {
        /// Which queue.
        queue: QueueId,
        /// The messages.
        messages: Vec<(Seq, Arc<Message>)>,
        /// How far they are complete.
        complete_to: Seq,
    },
    /// This shard's records up to here are committed.
    Durable(Position),
    /// Memory is short everywhere, or no longer.
    Pressure(bool),
}

/// What a consumer asked for when it attached.
#[derive(Clone, Debug, Default)]
pub struct ConsumerWants {
    /// Deliveries are settled as they go out.
    pub settled: bool,
    /// Deliveries are copies: nothing is taken.
    pub browse: bool,
    /// Only these messages.
    pub selector: Option<Selector>,
    /// It is served before those of lower priority.
    pub priority: i32,
    /// Where it begins on a stream.
    pub start: StreamStart,
}

/// One of the queues that a publish goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardTarget {
    /// Which.
    pub queue: QueueId,
    /// The queue's interest is durable (it came through a durable binding, or by name).
    pub durable: bool,
    /// It is a retained message, sent for a new subscription.
    pub retained: bool,
}

/// A shard's settings.
#[derive(Clone, Copy, Debug)]
pub struct ShardConfig {
    /// Its index.
    pub id: ShardId,
    /// Limits of each queue.
    pub limits: QueueLimits,
    /// A planted bug, for the simulator to find: confirm before the commit.
    pub confirm_before_commit: bool,
}

/// One owner of many queues.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    queues: HashMap<QueueId, Queue>,
    /// Memory is short everywhere.
    pressed: bool,
    logged: Position,
    durable: Position,
    /// Answers that wait for a commit, by position.
    answers: VecDeque<(Position, SessionId, SessionEvent)>,
    /// Stored entries that wait for a commit, by position.
    uncommitted: VecDeque<(Position, QueueId, Seq)>,
    /// Consumers that asked for a drain which the journal or their window holds up, and before which place.
    draining: Vec<(QueueId, ConsumerKey, Seq)>,
    records: Vec<Record>,
}

impl Shard {
    /// An empty shard.
    pub fn new(config: ShardConfig) -> Self {
        Self {
            config,
            queues: HashMap::new(),
            pressed: false,
            logged: Position(0),
            durable: Position(0),
            answers: VecDeque::new(),
            uncommitted: VecDeque::new(),
            draining: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Takes over a queue that a restart found. Before any command.
    pub fn recover(
        &mut self,
        id: QueueId,
        name: Arc<str>,
        _settings: &Arc<QueueSettings>,
        found: Option<&RecoveredQueue>,
    ) {
        let mut queue = Queue::new(id, name, true, self.config.limits);
        if let Some(found) = found {
            queue.recover(found);
        }
        self.queues.insert(id, queue);
    }

    /// Every queue's figures.
    pub fn stats(&self) -> impl Iterator<Item = (&Arc<str>, QueueStats)> {
        self.queues.values().map(|queue| (&queue.name, queue.stats()))
    }

    /// Applies one command: appends what must be kept to `log` and what must happen to `effects`.
    pub fn apply(&mut self, now: Time, command: ShardCommand, log: &mut Vec<Logged>, effects: &mut Vec<ShardEffect>) {
        match command {
            ShardCommand::Publish { answer, message, targets, mark, group } => {
                self.publish(now, answer, &message, &targets, mark, group, log, effects);
            }
            ShardCommand::Settle { queue, session, settle } => self.settle(now, queue, session, &settle, log, effects),
            ShardCommand::Pressure(pressed) => self.press(pressed, effects),
            ShardCommand::Durable(position) => self.committed(now, position, log, effects),
            ShardCommand::Credit { queue, session, consumer, limit, drain } => {
                let key = ConsumerKey { session, consumer };
                self.with_queue(now, queue, log, effects, |queue| queue.credit(key, limit));
                if drain && let Some(found) = self.queues.get(&queue) {
                    self.draining.push((queue, key, found.next_seq()));
                }
            }
            ShardCommand::Window { queue, session, consumer, limit_bytes } => {
                let key = ConsumerKey { session, consumer };
                self.with_queue(now, queue, log, effects, |queue| queue.window(key, limit_bytes));
            }
            ShardCommand::Create { queue, name, durable, settings: _ } => {
                let mut made = Queue::new(queue, name, durable, self.config.limits);
                made.press(self.pressed);
                self.queues.insert(queue, made);
            }
            ShardCommand::Change { .. } => {}
            ShardCommand::Delete { queue } => self.delete(queue, log, effects),
            ShardCommand::Attach { queue, session, consumer, wants, window_bytes, found } => {
                self.attach(queue, ConsumerKey { session, consumer }, wants.settled, window_bytes, found, effects);
            }
            ShardCommand::Detach { queue, session, consumer, failed, answer } => {
                let key = ConsumerKey { session, consumer };
                let mut attached = None;
                self.with_queue(now, queue, log, effects, |queue| attached = queue.detach(key, failed));
                if let Some(event) = answer {
                    self.tell_after(attached.unwrap_or_default(), session, event, effects);
                }
            }
            ShardCommand::Mark { queue, number, set, answer } => {
                if let Some(queue) = self.queues.get_mut(&queue) {
                    self.records.extend(queue.mark(number, set));
                }
                self.log(None, log);
                if let Some((session, token)) = answer {
                    self.answer(session, SessionEvent::Event(Event::Done(token)), effects);
                }
            }
            ShardCommand::Remove { queue, seq } => {
                let mut records = Vec::new();
                self.with_queue(now, queue, log, effects, |queue| records.extend(queue.remove(seq)));
                self.records.append(&mut records);
                self.log(None, log);
            }
            ShardCommand::Loaded { queue, messages, complete_to } => {
                self.with_queue(now, queue, log, effects, |queue| queue.loaded(messages, complete_to));
            }
        }
        if !self.draining.is_empty() {
            self.answer_drains(effects);
        }
    }

    #[allow(clippy::too_many_arguments)] // the parts of one command
    fn publish(
        &mut self,
        now: Time,
        answer: Option<(SessionId, Token)>,
        message: &Arc<Message>,
        targets: &[ShardTarget],
        mark: Option<(QueueId, u32)>,
        group: Option<Group>,
        log: &mut Vec<Logged>,
        effects: &mut Vec<ShardEffect>,
    ) {
        let mut reached = 0;
        for target in targets {
            // It may have been deleted since the session looked at the routes.
            let Some(queue) = self.queues.get_mut(&target.queue) else { continue };
            reached += 1;
            let (seq, record) = queue.enqueue(message.clone(), target.durable, target.retained);
            if let Some(record) = record {
                self.records.push(record);
                let position = Position(self.logged.0 + self.records.len() as u64);
                self.uncommitted.push_back((position, target.queue, seq));
            }
        }
        if let Some((queue, number)) = mark
            && let Some(queue) = self.queues.get_mut(&queue)
        {
            self.records.extend(queue.mark(number, true));
        }
        let kept = group.is_some() || !self.records.is_empty();
        self.log(group, log);
        if let Some((session, token)) = answer {
            let event = SessionEvent::PublishPart { token, reached, error: None };
            if kept {
                self.answer(session, event, effects);
            } else {
                // A transient message waits for no commit, whoever else does.
                effects.push(ShardEffect::Tell(session, event));
            }
        }
        for target in targets {
            self.with_queue(now, target.queue, log, effects, |_| ());
        }
    }

    fn settle(
        &mut self,
        now: Time,
        queue: QueueId,
        session: SessionId,
        settle: &Settle,
        log: &mut Vec<Logged>,
        effects: &mut Vec<ShardEffect>,
    ) {
        let key = ConsumerKey { session, consumer: settle.consumer };
        if let Some(found) = self.queues.get_mut(&queue) {
            if !found.has_consumer(key) {
                // Taken over: the messages are back in the queue, so «done» would not be true. It is told `TakenOver`.
                return;
            }
            found.settle(key, (settle.first, settle.last), &settle.outcome, &mut self.records, effects);
            self.records.extend(settle.mark.and_then(|number| found.mark(number, true)));
        }
        self.log(None, log);
        if let Some(token) = settle.token {
            self.answer(session, SessionEvent::Event(Event::Done(token)), effects);
        }
        self.with_queue(now, queue, log, effects, |_| ());
    }

    fn attach(
        &mut self,
        id: QueueId,
        key: ConsumerKey,
        settled: bool,
        window_bytes: u64,
        mut found: Attached,
        effects: &mut Vec<ShardEffect>,
    ) {
        let Some(queue) = self.queues.get_mut(&id) else {
            let event = SessionEvent::Attached { consumer: key.consumer, result: Err(AttachError::NotFound) };
            effects.push(ShardEffect::Tell(key.session, event));
            return;
        };
        let durable = queue.durable;
        let attached = if durable { self.logged } else { Position(0) };
        queue.attach(Consumer::new(key, attached, settled, window_bytes));
        found.marks = queue.marks();
        let event = SessionEvent::Attached { consumer: key.consumer, result: Ok((id, self.config.id, found)) };
        if durable {
            // Marks that are still on their way to the journal count as set: the answer waits for them.
            self.answer(key.session, event, effects);
        } else {
            effects.push(ShardEffect::Tell(key.session, event));
        }
    }

    fn delete(&mut self, id: QueueId, log: &mut Vec<Logged>, effects: &mut Vec<ShardEffect>) {
        let Some(queue) = self.queues.remove(&id) else { return };
        for consumer in queue.consumers() {
            let event = Event::Deleted { consumer: consumer.key.consumer };
            self.tell_after(consumer.attached, consumer.key.session, event, effects);
        }
        if queue.durable {
            self.records.extend([Record::Purge { queue: id }, delete_queue_row(id)]);
            self.log(None, log);
        }
        effects.push(ShardEffect::Full(id, false));
    }

    fn press(&mut self, pressed: bool, effects: &mut Vec<ShardEffect>) {
        self.pressed = pressed;
        for (id, queue) in &mut self.queues {
            queue.press(pressed);
            effects.extend(queue.fullness_changed().map(|full| ShardEffect::Full(*id, full)));
        }
    }

    fn committed(&mut self, now: Time, position: Position, log: &mut Vec<Logged>, effects: &mut Vec<ShardEffect>) {
        self.durable = position;
        let mut touched: Vec<QueueId> = Vec::new();
        while let Some((at, id, seq)) = self.uncommitted.front().copied()
            && at <= position
        {
            self.uncommitted.pop_front();
            if let Some(queue) = self.queues.get_mut(&id) {
                queue.committed(seq);
                if touched.last() != Some(&id) {
                    touched.push(id);
                }
            }
        }
        while self.answers.front().is_some_and(|(at, ..)| *at <= position) {
            if let Some((_, session, event)) = self.answers.pop_front() {
                effects.push(ShardEffect::Tell(session, event));
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for id in touched {
            self.with_queue(now, id, log, effects, |_| ());
        }
    }

    /// Changes a queue, then hands out what can be handed out and tells publishers whether it is full.
    fn with_queue(
        &mut self,
        now: Time,
        id: QueueId,
        log: &mut Vec<Logged>,
        effects: &mut Vec<ShardEffect>,
        change: impl FnOnce(&mut Queue),
    ) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        change(queue);
        queue.dispatch(now, &mut self.records, effects);
        if let Some(full) = queue.fullness_changed() {
            effects.push(ShardEffect::Full(id, full));
        }
        self.log(None, log);
    }

    /// Moves the collected records into the log.
    fn log(&mut self, group: Option<Group>, log: &mut Vec<Logged>) {
        if group.is_some() && self.records.is_empty() {
            self.logged.0 += 1;
            log.push(Logged { record: None, group });
            return;
        }
        self.logged.0 += self.records.len() as u64;
        log.extend(self.records.drain(..).map(|record| Logged { record: Some(record), group }));
    }

    /// Answers once all that was logged so far is committed.
    fn answer(&mut self, session: SessionId, event: SessionEvent, effects: &mut Vec<ShardEffect>) {
        if self.logged <= self.durable || self.config.confirm_before_commit {
            effects.push(ShardEffect::Tell(session, event));
        } else {
            self.answers.push_back((self.logged, session, event));
        }
    }

    /// Tells a consumer that it is one no longer, after it was told that it is one.
    fn tell_after(&mut self, attached: Position, session: SessionId, event: Event, effects: &mut Vec<ShardEffect>) {
        let event = SessionEvent::Event(event);
        if attached > self.durable {
            self.answer(session, event, effects);
        } else {
            effects.push(ShardEffect::Tell(session, event));
        }
    }

    /// Answers the drains that nothing holds up any more.
    fn answer_drains(&mut self, effects: &mut Vec<ShardEffect>) {
        let queues = &mut self.queues;
        self.draining.retain(|(id, key, before)| {
            let Some(queue) = queues.get_mut(id) else { return false };
            if queue.has_more_for(*key, *before) {
                return true;
            }
            let Some(delivered) = queue.drained(*key) else { return false };
            let event = Event::Drained { consumer: key.consumer, delivered };
            effects.push(ShardEffect::Tell(key.session, SessionEvent::Event(event)));
            false
        });
    }
}
