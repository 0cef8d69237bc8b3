//! A shard: one owner of many queues. `apply` is pure: what happens depends on the commands alone.

mod ahead;
mod command;
mod emptying;
mod fingerprints;
mod recovered;
mod remember;
mod retire;
mod transaction;
mod unreadable;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use evergate_journal::Record;
use evergate_model::ahead::AHEAD;
use evergate_model::{
    AttachError, Attached, Event, Formats, IdMap, LargeBody, Mark, Message, Outcome, PublishError, QueueId, Settle,
    Time, Token,
};

use self::ahead::Reach;
pub use self::command::{ConsumerWants, ShardCommand, ShardTarget};
pub(crate) use self::fingerprints::FingerprintRow;
use self::fingerprints::Fingerprints;
pub(crate) use self::fingerprints::in_order as fingerprints_in_order;
pub use self::fingerprints::{FingerprintLimits, Remembered, newest};
use crate::bug::Bug;
use crate::consumer::ConsumerKey;
use crate::directory::delete_queue_row;
use crate::effect::{Group, Logged, Position, SessionEvent, SessionId, ShardEffect, ShardId};
use crate::lane::{Lane, Place};
use crate::queue::{Enqueued, Out, Queue, QueueConfig, QueueLimits, QueueStats};

/// A shard's settings.
#[derive(Clone, Copy, Debug)]
pub struct ShardConfig {
    /// Its index.
    pub id: ShardId,
    /// Limits of each queue.
    pub limits: QueueLimits,
    /// Readers of the encodings that selectors look into.
    pub formats: Formats,
    /// How much is remembered of what sessions published.
    pub fingerprints: FingerprintLimits,
    /// A planted bug, for the simulator to find.
    pub bug: Option<Bug>,
}

/// One owner of many queues.
#[derive(Debug)]
pub struct Shard {
    config: ShardConfig,
    queue_config: Arc<QueueConfig>,
    /// Each in its own place: they do not move when the table grows, and the table stays in the processor's cache.
    queues: IdMap<QueueId, Box<Queue>>,
    /// Memory is short everywhere.
    pressed: bool,
    logged: Position,
    durable: Position,
    /// Answers that wait for a commit, by position.
    answers: VecDeque<(Position, SessionId, SessionEvent)>,
    /// Reads that wait for a commit, by position.
    reads: VecDeque<(Position, ShardEffect)>,
    later: Vec<ShardEffect>,
    /// Stored entries that wait for a commit, by position.
    uncommitted: VecDeque<(Position, QueueId, Place)>,
    /// When which queue has something to do by itself, and what is noted of it.
    timeouts: BTreeSet<(Time, QueueId)>,
    /// Queues that the directory is about to delete or to reopen.
    retired: BTreeSet<QueueId>,
    /// Publishes that wait for that, in order.
    held: VecDeque<ShardCommand>,
    transactions: transaction::Transactions,
    fingerprints: Fingerprints,
    records: Vec<Record>,
    /// Bodies that no message of a queue has any more, and those of them that wait until that is committed.
    released: Vec<Arc<LargeBody>>,
    leaving: VecDeque<(Position, Arc<LargeBody>)>,
    emptying: emptying::Emptying,
}

impl Shard {
    /// An empty shard.
    pub fn new(config: ShardConfig) -> Self {
        Self {
            fingerprints: Fingerprints::new(config.fingerprints, config.id),
            queue_config: Arc::new(QueueConfig { limits: config.limits, formats: config.formats, bug: config.bug }),
            config,
            queues: IdMap::default(),
            pressed: false,
            logged: Position(0),
            durable: Position(0),
            answers: VecDeque::new(),
            reads: VecDeque::new(),
            later: Vec::new(),
            uncommitted: VecDeque::new(),
            timeouts: BTreeSet::new(),
            retired: BTreeSet::new(),
            held: VecDeque::new(),
            transactions: transaction::Transactions::default(),
            records: Vec::new(),
            released: Vec::new(),
            leaving: VecDeque::new(),
            emptying: emptying::Emptying::default(),
        }
    }

    /// When to call with `Tick` next.
    pub fn next_timeout(&self) -> Option<Time> {
        self.timeouts.first().map(|(at, _)| *at)
    }

    /// Every queue's figures.
    pub fn stats(&self) -> impl Iterator<Item = (&Arc<str>, QueueStats)> {
        self.queues.values().map(|queue| (&queue.name, queue.stats()))
    }

    /// One queue's figures. Two queues may have one name while the older of them is being deleted.
    /// Tests look at it.
    pub fn stats_of(&self, id: QueueId) -> Option<QueueStats> {
        self.queues.get(&id).map(|queue| queue.stats())
    }

    /// Applies one command: appends what must be kept to `log` and what must happen to `effects`.
    #[allow(clippy::too_many_lines)] // an arm a command
    pub fn apply(&mut self, now: Time, command: ShardCommand, log: &mut Vec<Logged>, effects: &mut Vec<ShardEffect>) {
        let Some(command) = self.hold(command) else { return };
        match command {
            ShardCommand::Publish { answer, message, targets, mark, group, may_be_refused } => {
                let refusal = if may_be_refused { self.refusal(&message, queues_of(&targets)) } else { None };
                self.publish(now, answer, &message, &targets, mark, group, refusal, log, effects);
            }
            ShardCommand::FindRoom { session, token, message, queues } => {
                let error = self.refusal(&message, queues);
                effects.push(ShardEffect::Tell(session, SessionEvent::RoomFound { token, error }));
            }
            ShardCommand::Fence { session, token, queue } => self.fence(session, token, queue, effects),
            ShardCommand::ForgetFingerprints { queue } => self.forget_fingerprints(queue, log),
            ShardCommand::Settle { queue, session, settle } => self.settle(now, queue, session, &settle, log, effects),
            ShardCommand::Pledge { .. }
            | ShardCommand::PledgeReserved { .. }
            | ShardCommand::CheckRoom { .. }
            | ShardCommand::Transaction { .. }
            | ShardCommand::Rollback { .. } => self.apply_to_transaction(now, command, log, effects),
            ShardCommand::Pressure(pressed) => self.press(pressed, effects),
            ShardCommand::Durable(position) => self.committed(now, position, log, effects),
            ShardCommand::Credit { queue, session, consumer, limit, drain } => {
                let key = ConsumerKey { session, consumer };
                self.with_queue(now, queue, log, effects, |queue, _| {
                    queue.credit(key, limit);
                    if drain {
                        queue.drain(key);
                    }
                });
            }
            ShardCommand::Window { queue, session, consumer, limit_bytes } => {
                let key = ConsumerKey { session, consumer };
                self.with_queue(now, queue, log, effects, |queue, _| queue.window(key, limit_bytes));
            }
            ShardCommand::Create { queue, name, durable, settings } => {
                let mut made = Queue::new(queue, name, durable, &settings, &self.queue_config);
                made.note_idle(now);
                made.press(self.pressed);
                self.queues.insert(queue, Box::new(made));
            }
            ShardCommand::Change { queue, settings } => {
                self.with_queue(now, queue, log, effects, |queue, out| queue.change(settings, now, out));
            }
            ShardCommand::MakeDurable { queue } => {
                if let Some(queue) = self.queues.get_mut(&queue) {
                    queue.durable = true;
                }
            }
            ShardCommand::Delete { queue } => {
                self.delete(queue, log, effects);
                self.reopen(now, queue, log, effects);
            }
            ShardCommand::Retire { queue, attempt, idle_for, even_in_use } => {
                self.retire(now, queue, attempt, idle_for, even_in_use, effects);
                // Of what a restart found it may look now what has expired.
                self.with_queue(now, queue, log, effects, |_, _| ());
            }
            ShardCommand::Reopen { queue } => self.reopen(now, queue, log, effects),
            ShardCommand::Attach { queue, session, consumer, wants, window_bytes, found } => {
                self.attach(queue, ConsumerKey { session, consumer }, &wants, window_bytes, *found, effects);
                if let Some(queue) = self.queues.get_mut(&queue) {
                    queue.note_idle(now);
                }
            }
            ShardCommand::Detach { queue, session, consumer, failed, answer } => {
                let key = ConsumerKey { session, consumer };
                let mut attached = None;
                self.with_queue(now, queue, log, effects, |queue, out| {
                    attached = queue.detach(key, failed, now, out);
                });
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
            ShardCommand::Purge { queue, answer } => {
                let mut count = 0;
                self.with_queue(now, queue, log, effects, |queue, out| count = queue.purge(out));
                self.answer(answer.0, SessionEvent::Removed { token: answer.1, count }, effects);
            }
            ShardCommand::PurgeSelected { queue, selector, answer } => {
                if !self.queues.contains_key(&queue) {
                    let event = SessionEvent::Removed { token: answer.1, count: 0 };
                    effects.push(ShardEffect::Tell(answer.0, event));
                }
                self.with_queue(now, queue, log, effects, |queue, _| queue.purge_selected(selector, answer));
            }
            ShardCommand::TakeOut { queue, seqs, answer } => {
                if !self.queues.contains_key(&queue) {
                    let event = SessionEvent::Removed { token: answer.1, count: 0 };
                    effects.push(ShardEffect::Tell(answer.0, event));
                }
                self.with_queue(now, queue, log, effects, |queue, out| queue.take_out(&seqs, answer, out));
            }
            ShardCommand::Peek { queue, from, count, selector, reserve, answer } => {
                if !self.queues.contains_key(&queue) {
                    let event = SessionEvent::Peeked { token: answer.1, messages: Vec::new(), next: None };
                    effects.push(ShardEffect::Tell(answer.0, event));
                }
                self.with_queue(now, queue, log, effects, |queue, _| {
                    queue.peek(from, count, selector, reserve, answer);
                });
            }
            ShardCommand::Tick => self.tick(now, log, effects),
            ShardCommand::Remove { queue, seq } => {
                self.with_queue(now, queue, log, effects, |queue, out| queue.remove(seq, out));
            }
            ShardCommand::GiveBack { queue, seq } => {
                self.with_queue(now, queue, log, effects, |queue, out| queue.stop_leaving(seq, now, out));
            }
            ShardCommand::LoadFailed { queue, why } => self.load_failed(queue, why, effects),
            ShardCommand::Loaded { queue, messages, complete_to } => {
                let (id, _) = Lane::split(queue);
                self.with_queue(now, id, log, effects, |found, out| {
                    found.loaded(now, queue, messages, complete_to, out);
                });
            }
        }
    }

    /// Something is due in some queues.
    fn tick(&mut self, now: Time, log: &mut Vec<Logged>, effects: &mut Vec<ShardEffect>) {
        let due: Vec<QueueId> = self.timeouts.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        for id in due {
            self.with_queue(now, id, log, effects, |queue, out| queue.tick(now, out));
        }
    }

    #[allow(clippy::too_many_arguments)] // the parts of one command
    fn publish(
        &mut self,
        now: Time,
        answer: Option<(SessionId, Token)>,
        message: &Arc<Message>,
        targets: &[ShardTarget],
        mark: Option<(QueueId, Mark)>,
        group: Option<Group>,
        refusal: Option<PublishError>,
        log: &mut Vec<Logged>,
        effects: &mut Vec<ShardEffect>,
    ) {
        let (mut reached, mut waits) = (0, false);
        // What is handed out once it is committed changes nothing for consumers until then.
        let mut hands_out = false;
        for target in targets.iter().filter(|_| refusal.is_none()) {
            // It may have been deleted since the session looked at the routes.
            let Some(queue) = self.queues.get_mut(&target.queue) else { continue };
            reached += 1;
            let mut out =
                Out { records: &mut self.records, effects, later: &mut self.later, released: &mut self.released };
            match queue.enqueue(now, message.clone(), target, false, &mut out) {
                Enqueued::Stored(place) => {
                    hands_out |= !queue.waits_for_commits();
                    let position = Position(self.logged.0 + self.records.len() as u64);
                    self.uncommitted.push_back((position, target.queue, place));
                }
                Enqueued::Duplicate => waits |= message.meta.durable,
                Enqueued::Done => hands_out = true,
            }
        }
        match mark.filter(|_| refusal.is_none()) {
            Some((queue, Mark::Number(number))) => {
                let queue = self.queues.get_mut(&queue);
                self.records.extend(queue.and_then(|queue| queue.mark(number, true)));
            }
            Some((queue, Mark::Fingerprint(fingerprint))) if reached > 0 || targets.is_empty() || group.is_some() => {
                let stored = waits || targets.is_empty() || group.is_some() || !self.records.is_empty();
                self.remember(queue, (message.meta.id, fingerprint), stored);
            }
            Some((_, Mark::Fingerprint(_))) | None => {}
        }
        let kept = waits || group.is_some() || !self.records.is_empty();
        self.log(group, log);
        if self.logged <= self.durable {
            self.fingerprints_committed(log);
        }
        if let Some((session, token)) = answer {
            let event = SessionEvent::PublishPart { token, reached, error: refusal };
            if kept {
                self.answer(session, event, effects);
            } else {
                // A transient message waits for no commit, whoever else does.
                effects.push(ShardEffect::Tell(session, event));
            }
        }
        for target in targets {
            self.conclude(now, target.queue, hands_out, log, effects);
        }
    }

    /// Why a message goes to none of its targets here.
    fn refusal(&self, message: &Message, queues: impl IntoIterator<Item = QueueId>) -> Option<PublishError> {
        let mut queues = queues.into_iter().filter_map(|id| self.queues.get(&id));
        let full = queues.find(|queue| queue.refuses(message))?;
        Some(PublishError::Full { destination: full.name.clone() })
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
        let mut hands_out = true;
        if let Some(found) = self.queues.get_mut(&queue) {
            if !found.has_consumer(key) {
                // Taken over: the messages are back in the queue, so «done» would not be true. It is told `TakenOver`.
                return;
            }
            let mut out =
                Out { records: &mut self.records, effects, later: &mut self.later, released: &mut self.released };
            found.settle(key, (settle.first, settle.last), &settle.outcome, now, &mut out);
            self.records.extend(settle.mark.and_then(|number| found.mark(number, true)));
            hands_out = !matches!(settle.outcome, Outcome::Accept) || found.may_wait_for_an_accept();
        }
        self.log(None, log);
        if let Some(token) = settle.token {
            self.answer(session, SessionEvent::Event(Event::Done(token)), effects);
        }
        self.conclude(now, queue, hands_out, log, effects);
    }

    fn attach(
        &mut self,
        id: QueueId,
        key: ConsumerKey,
        wants: &ConsumerWants,
        window_bytes: u64,
        mut found: Attached,
        effects: &mut Vec<ShardEffect>,
    ) {
        let Some(queue) = self.queues.get_mut(&id) else {
            let event = SessionEvent::Attached { consumer: key.consumer, result: Err(AttachError::NotFound) };
            effects.push(ShardEffect::Tell(key.session, event));
            return;
        };
        let (durable, is_damaged) = (queue.durable, queue.is_damaged());
        let attached = if durable { self.logged } else { Position(0) };
        if !is_damaged {
            queue.attach(key, attached, wants, window_bytes);
        }
        found.marks = queue.marks();
        let event = SessionEvent::Attached { consumer: key.consumer, result: Ok((id, self.config.id, found)) };
        if durable {
            // Marks that are still on their way to the journal count as set: the answer waits for them.
            self.answer(key.session, event, effects);
        } else {
            effects.push(ShardEffect::Tell(key.session, event));
        }
        if is_damaged {
            self.tell_after(attached, key.session, Event::Deleted { consumer: key.consumer }, effects);
        }
    }

    fn delete(&mut self, id: QueueId, log: &mut Vec<Logged>, effects: &mut Vec<ShardEffect>) {
        let Some(mut queue) = self.queues.remove(&id) else { return };
        effects.extend(queue.end_peeks());
        for consumer in queue.consumers() {
            let event = Event::Deleted { consumer: consumer.key.consumer };
            self.tell_after(consumer.attached, consumer.key.session, event, effects);
        }
        if queue.holds_body {
            self.emptying.add(id, queue.next_seq());
        } else if queue.is_stored() {
            let stored = queue.stored_as().into_iter();
            self.records.extend(stored.flat_map(|id| [Record::Purge { queue: id }, delete_queue_row(id)]));
            self.records.extend(queue.delete_identities());
            self.records.extend(queue.delete_bodies());
            self.records.extend(queue.delete_failures());
        }
        effects.push(ShardEffect::Full(id, false));
        if let Some(at) = queue.noted_timeout() {
            self.timeouts.remove(&(at, id));
        }
        self.released.extend(queue.take_bodies());
        self.log(None, log);
        self.empty_bodies(log);
    }

    /// A little more of the bodies that are deleted goes.
    fn empty_bodies(&mut self, log: &mut Vec<Logged>) {
        let logged = self.logged;
        let records = self.emptying.step(self.durable, |count| Position(logged.0 + count as u64));
        self.records.extend(records);
        self.log(None, log);
    }

    fn committed(&mut self, now: Time, position: Position, log: &mut Vec<Logged>, effects: &mut Vec<ShardEffect>) {
        self.durable = position;
        let mut touched: Vec<(QueueId, Place)> = Vec::new();
        while let Some((_, id, place)) = self.uncommitted.pop_front_if(|(at, ..)| *at <= position) {
            touched.push((id, place));
        }
        while self.answers.front().is_some_and(|(at, ..)| *at <= position) {
            if let Some((_, session, event)) = self.answers.pop_front() {
                effects.push(ShardEffect::Tell(session, event));
            }
        }
        while self.leaving.front().is_some_and(|(at, _)| *at <= position) {
            self.leaving.pop_front();
        }
        while self.reads.front().is_some_and(|(at, _)| *at <= position) {
            effects.extend(self.reads.pop_front().map(|(_, read)| read));
        }
        self.fingerprints_committed(log);
        self.settle_deferred(now, position, log, effects);
        self.empty_bodies(log);
        // All of a queue at once. It is stable: its places stay in order.
        touched.sort_by_key(|(id, _)| *id);
        let (mut met, mut read) = (0, 0);
        for places in touched.chunk_by(|one, other| one.0 == other.0) {
            if met >= read {
                self.look_at(touched[met..].iter().map(|(id, _)| Some((*id, Reach::Dispatch))));
                read = met + AHEAD;
            }
            met += places.len();
            self.with_queue(now, places[0].0, log, effects, |queue, _| {
                places.iter().for_each(|(_, place)| queue.committed(*place));
                queue.identities_committed();
            });
        }
    }

    /// Changes a queue, then hands out what can be handed out and tells publishers whether it is full.
    fn with_queue(
        &mut self,
        now: Time,
        id: QueueId,
        log: &mut Vec<Logged>,
        effects: &mut Vec<ShardEffect>,
        change: impl FnOnce(&mut Queue, &mut Out<'_>),
    ) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let mut out = Out { records: &mut self.records, effects, later: &mut self.later, released: &mut self.released };
        change(queue, &mut out);
        self.conclude(now, id, true, log, effects);
    }

    /// After a change of a queue. `hands_out`: the change may have made something ready for a consumer.
    fn conclude(
        &mut self,
        now: Time,
        id: QueueId,
        hands_out: bool,
        log: &mut Vec<Logged>,
        effects: &mut Vec<ShardEffect>,
    ) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let mut out = Out { records: &mut self.records, effects, later: &mut self.later, released: &mut self.released };
        if hands_out {
            queue.dispatch(now, &mut out);
        }
        queue.note_idle(now);
        if let Some(full) = queue.fullness_changed() {
            out.effects.push(ShardEffect::Full(id, full));
            if full {
                queue.tell_overrun(out.effects);
            }
        }
        out.effects.extend(queue.notice(now).map(ShardEffect::Notice));
        if let Some((before, after)) = queue.timeout_changed() {
            if let Some(at) = before {
                self.timeouts.remove(&(at, id));
            }
            self.timeouts.extend(after.map(|at| (at, id)));
        }
        self.log(None, log);
        self.read_later(effects);
    }

    /// Reads that must not overtake what was logged.
    fn read_later(&mut self, effects: &mut Vec<ShardEffect>) {
        if self.later.is_empty() {
            return;
        }
        if self.logged <= self.durable {
            effects.append(&mut self.later);
        } else {
            self.reads.extend(self.later.drain(..).map(|read| (self.logged, read)));
        }
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
        // Another stream's deletion may be committed before what stands here behind half a group.
        if self.logged <= self.durable {
            self.released.clear();
        } else {
            self.leaving.extend(self.released.drain(..).map(|body| (self.logged, body)));
        }
    }

    /// Answers once all that was logged so far is committed.
    fn answer(&mut self, session: SessionId, event: SessionEvent, effects: &mut Vec<ShardEffect>) {
        if self.logged <= self.durable || self.config.bug == Some(Bug::ConfirmBeforeCommit) {
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
}

fn queues_of(targets: &[ShardTarget]) -> impl Iterator<Item = QueueId> {
    targets.iter().map(|target| target.queue)
}
