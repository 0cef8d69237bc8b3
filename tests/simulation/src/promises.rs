//! What is promised beyond order and safety: selectors, schedules, groups, one active consumer, copies,
//! priorities, one dead letter.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use evergate_core::{ConsumerWants, SessionId, ShardCommand};
use evergate_model::{ConsumerId, Delivery, Message, Outcome, QueueId, QueueSettings, Seq, Settle, Time};

use crate::journal::plain;
use crate::key::Key;
use crate::model::{Check, Model, Queue, Sent};
use crate::traits::{self, KEYS};

type Who = (SessionId, ConsumerId);

/// What a consumer asked for.
#[derive(Debug)]
pub struct Wishes {
    pub selector: Option<u64>,
    pub copies: bool,
    is_stream: bool,
    priority: i32,
    came: u64,
    /// Places it was sent copies of.
    seen: HashSet<Seq>,
    last_seen: Seq,
}

impl Wishes {
    pub fn of(wants: &ConsumerWants, is_stream: bool, came: u64) -> Self {
        // The simulator's selectors are `key = 1`.
        let selector = wants.selector.as_ref().and_then(|it| it.as_str().rsplit(' ').next()?.parse().ok());
        let (copies, priority) = (wants.browse || is_stream, wants.priority);
        Self { selector, copies, is_stream, priority, came, seen: HashSet::new(), last_seen: Seq(0) }
    }

    fn selects(&self, key: Key) -> bool {
        self.selector.is_none_or(|selector| key.number % KEYS == selector)
    }
}

/// What the model knows of a queue beside its line.
#[derive(Debug, Default)]
pub struct More {
    /// Deliveries without an outcome.
    pub held: BTreeMap<Seq, (Who, Key)>,
    /// Messages that came, in order.
    entered: Vec<Key>,
    /// The last that came, if there was something to drop for it.
    last_entered: Option<Key>,
    /// An operator took them away.
    pub purged: HashSet<Key>,
    handed_out: HashSet<Key>,
    refused: HashSet<Seq>,
    /// Places that were handed out while one consumer was served, and got every group.
    alone: HashSet<Seq>,
    /// Not before then, after a failed delivery.
    paused: HashMap<Seq, Time>,
    /// The last place of a group, for each selector and priority.
    groups: HashMap<(String, Option<u64>, u8), Seq>,
    letters: HashMap<(Key, String), u32>,
}

impl More {
    pub fn restarted(&mut self) {
        self.held.clear();
        self.refused.clear();
        self.paused.clear();
        self.groups.clear();
        self.last_entered = None;
    }

    /// A dead letter arrives once from each queue, for each time that it was sent there.
    pub fn is_one_letter(&mut self, key: Key, sent: &Sent, times_moved: u32, delivery: &Delivery) -> Check {
        let from = delivery.message.annotations.iter().find(|note| &*note.name == "dead-letter-queue");
        let from = from.map(|note| note.value.to_string()).unwrap_or_default();
        let count = self.letters.entry((key, from.clone())).or_insert(0);
        *count += 1;
        // A crash forgets that it had come to a subscription of QoS 0 only, but not the letter that became of it.
        if *count > sent.times + times_moved && !sent.retain {
            return Err(format!("{key:?} came to the dead letters {count} times from {from}"));
        }
        Ok(())
    }
}

impl Model {
    /// A shard is about to take a command.
    pub fn sees(&mut self, now: Time, command: &ShardCommand) {
        match command {
            ShardCommand::Publish { message, targets, .. } => {
                for target in targets {
                    self.enters(target.queue, message);
                }
            }
            ShardCommand::Transaction { transaction, publishes, .. } => {
                for (queue, who, settle) in self.pledges.remove(transaction).unwrap_or_default() {
                    self.settles(now, queue, who, &settle);
                }
                for (message, targets) in publishes {
                    for target in targets {
                        self.enters(target.queue, message);
                        if let Some(key) = Key::of(message) {
                            self.moves_to(*transaction, key, target.queue);
                            self.reaches(*transaction, key, target.queue);
                        }
                    }
                }
            }
            ShardCommand::Settle { queue, session, settle } => {
                self.fails(*queue, (*session, settle.consumer), settle);
                self.settles(now, *queue, (*session, settle.consumer), settle);
            }
            ShardCommand::Pledge { transaction, queue, session, settle } => {
                let pledge = (*queue, (*session, settle.consumer), settle.clone());
                self.pledges.entry(*transaction).or_default().push(pledge);
            }
            ShardCommand::Rollback { transaction } => {
                self.pledges.remove(transaction);
            }
            ShardCommand::Change { queue, settings } => self.goes_by(*queue, settings),
            ShardCommand::TakeOut { .. } => self.takes_out(),
            ShardCommand::Purge { queue, .. } => {
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.more.purged.extend(queue.more.entered.iter().copied());
                    let purged = &queue.more.purged;
                    queue.owed.retain(|key, _| !purged.contains(key));
                    queue.more.last_entered = None;
                }
            }
            _ => {}
        }
    }

    /// From now on.
    pub fn goes_by(&mut self, id: QueueId, settings: &Arc<QueueSettings>) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.in_force.change(settings.clone(), &queue.more.entered);
        }
    }

    fn enters(&mut self, id: QueueId, message: &Message) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        // Also one that has no key makes room for others.
        queue.in_force.has_discardable |= message.meta.is_discardable();
        let Some(key) = Key::of(message) else { return };
        let has_something_to_drop = self.pledges.is_empty() && (queue.more.held.len() as u64) < traits::SMALL;
        queue.in_force.enters(key, &queue.more.entered);
        queue.more.entered.push(key);
        queue.more.last_entered = has_something_to_drop.then_some(key);
    }

    /// What is said outside of transactions counts at once.
    fn fails(&mut self, id: QueueId, who: Who, settle: &Settle) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        if !matches!(settle.outcome, Outcome::Modify { failed: true, .. }) || settle.first > settle.last {
            return;
        }
        for (seq, (holder, _)) in queue.more.held.range(settle.first..=settle.last) {
            if *holder == who
                && !self
                    .pledges
                    .values()
                    .flatten()
                    .any(|(it, _, other)| *it == id && other.first <= *seq && *seq <= other.last)
            {
                queue.in_force.fails(*seq);
            }
        }
    }

    fn settles(&mut self, now: Time, id: QueueId, who: Who, settle: &Settle) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let places: Vec<Seq> = queue.more.held.range(settle.first..).map(|(seq, _)| *seq).collect();
        for seq in places.into_iter().filter(|seq| *seq <= settle.last) {
            if queue.more.held.get(&seq).is_none_or(|(holder, _)| *holder != who) {
                continue;
            }
            queue.more.held.remove(&seq);
            if let Outcome::Modify { failed, undeliverable_here } = settle.outcome {
                if undeliverable_here {
                    queue.more.refused.insert(seq);
                }
                if failed {
                    queue.more.paused.insert(seq, now.after(queue.in_force.settings.redelivery.delay));
                }
            }
        }
    }

    /// Whether a batch may lack a message for this queue.
    pub fn may_lack(&self, id: QueueId) -> bool {
        let id = plain(id);
        let takes_all = |name: &str| !matches!(name, "ring" | "stream" | "once");
        self.is_gone(id)
            || !self.queues.get(&id).is_some_and(|queue| takes_all(&queue.name) && !queue.in_force.was_ring)
    }

    /// Whether a consumer may be sent this at all. True: it is a copy, and nothing else is promised of it.
    pub fn check_wishes(&mut self, now: Time, who: Who, key: Key, delivery: &Delivery) -> Result<bool, String> {
        let seq = delivery.seq;
        let (Some(consumer), Some(sent)) = (self.consumers.get_mut(&who), self.sent.get(&key)) else {
            return Err(format!("{key:?} came from nowhere"));
        };
        let wishes = &mut consumer.wishes;
        let id = consumer.queue;
        if !wishes.selects(key) {
            return Err(format!("{who:?} was sent {key:?}, which it does not select"));
        }
        let Some(queue) = self.queues.get_mut(&id) else { return Ok(true) };
        // Once it is a dead letter its time is of no more account, wherever an operator moves it.
        let is_letter = delivery.message.annotations.iter().any(|note| &*note.name == "dead-letter-queue");
        if sent.deliver_at.is_some_and(|at| at > now) && !is_letter && !wishes.is_stream {
            return Err(format!("{key:?} was handed out by {} before its time", queue.name));
        }
        if wishes.copies {
            if !wishes.seen.insert(seq) {
                return Err(format!("{who:?} was sent two copies of {key:?}"));
            }
            if wishes.is_stream && seq <= wishes.last_seen {
                return Err(format!("{who:?} was sent {seq:?} of a stream after {:?}", wishes.last_seen));
            }
            wishes.last_seen = seq;
            return Ok(true);
        }
        if queue.more.paused.remove(&seq).is_some_and(|until| now < until) {
            return Err(format!("{key:?} was handed out again before its pause was over"));
        }
        if queue.in_force.is_unwanted(seq) {
            return Err(format!("{key:?} was handed out again by {}, though it failed too often", queue.name));
        }
        let (selector, is_settled) = (wishes.selector, consumer.settled);
        self.check_active(id, who)?;
        self.check_group(id, who, selector, key, delivery)?;
        self.check_priority(id, who, key)?;
        let Some(queue) = self.queues.get_mut(&id) else { return Ok(true) };
        queue.more.handed_out.insert(key);
        if !is_settled {
            queue.more.held.insert(seq, (who, key));
        }
        if queue.in_force.is_single_active() {
            queue.more.alone.insert(seq);
        } else {
            queue.more.alone.remove(&seq);
        }
        Ok(false)
    }

    /// Of the consumers of such a queue only the first is served.
    fn check_active(&self, id: QueueId, who: Who) -> Check {
        if self.queues.get(&id).is_none_or(|queue| !queue.in_force.is_single_active()) {
            return Ok(());
        }
        let takers = self.consumers.iter().filter(|(_, it)| it.queue == id && !it.wishes.copies);
        let first = takers.min_by_key(|(_, it)| (std::cmp::Reverse(it.wishes.priority), it.wishes.came));
        match first {
            Some((first, _)) if *first != who => Err(format!("{who:?} was served, though {first:?} is active")),
            _ => Ok(()),
        }
    }

    /// A group is with one consumer at a time, and in order.
    fn check_group(&mut self, id: QueueId, who: Who, selector: Option<u64>, key: Key, delivery: &Delivery) -> Check {
        let Some(sent) = self.sent.get(&key) else { return Ok(()) };
        let Some(group) = &sent.group else { return Ok(()) };
        let Some(queue) = self.queues.get_mut(&id) else { return Ok(()) };
        if queue.in_force.is_single_active() || queue.name == crate::model::DEAD_LETTERS {
            return Ok(());
        }
        // Whatever they select, and whatever they refused.
        for (holder, held) in queue.more.held.iter().filter(|(seq, _)| !queue.more.alone.contains(seq)).map(|it| it.1) {
            let is_same = self.sent.get(held).is_some_and(|other| other.group.as_ref() == Some(group));
            if *holder != who && is_same {
                return Err(format!("group {group} is with {holder:?} ({held:?}) and with {who:?} ({key:?})"));
            }
        }
        let was_away = self.operations.times_moved(key) > 0;
        if delivery.redelivered || sent.deliver_at.is_some() || delivery.retained || was_away {
            return Ok(());
        }
        let last = queue.more.groups.entry((group.clone(), selector, sent.priority)).or_default();
        if delivery.seq <= *last {
            return Err(format!("{key:?} of group {group} was handed out by {} after {last:?}", queue.name));
        }
        *last = delivery.seq;
        Ok(())
    }

    /// Nothing of higher priority that this consumer selects waits.
    fn check_priority(&self, id: QueueId, who: Who, key: Key) -> Check {
        let (Some(queue), Some(consumer), Some(sent)) =
            (self.queues.get(&id), self.consumers.get(&who), self.sent.get(&key))
        else {
            return Ok(());
        };
        let plain = traits::PLAIN.contains(&queue.name.as_str());
        // What waited beside the line for the credit of its group's consumer goes first.
        let is_grouped = sent.group.is_some();
        if !plain || is_grouped || self.operations.reserving == Some(id) || queue.more.handed_out.contains(&key) {
            return Ok(());
        }
        let waits = |(other, durable): (&Key, &bool)| {
            let sent_other = self.sent.get(other);
            *durable
                && consumer.wishes.selects(*other)
                && !queue.more.handed_out.contains(other)
                && self.operations.times_moved(*other) == 0
                && sent_other.is_some_and(|it| {
                    it.priority > sent.priority && it.deliver_at.is_none() && it.group.is_none() && !it.expires
                })
        };
        match queue.owed.iter().find(|(other, durable)| waits((other, durable))) {
            Some((other, _)) => Err(format!("{key:?} went before {other:?}, which has a higher priority")),
            None => Ok(()),
        }
    }

    /// Whether a queue's policy let a confirmed message go.
    pub fn may_be_dropped(&self, queue: &Queue, key: Key) -> bool {
        if self.sent.get(&key).is_some_and(|sent| sent.discardable) {
            return true;
        }
        if queue.name == "latest" {
            let after = queue.more.entered.iter().rposition(|entered| *entered == key).map_or(0, |at| at + 1);
            return queue.more.entered[after..].iter().any(|later| later.number % KEYS == key.number % KEYS);
        }
        if !traits::PECULIAR.contains(&queue.name.as_str()) {
            return queue.in_force.may_go.contains(&key);
        }
        traits::drops(&queue.name) && (queue.name != "ring" || queue.more.last_entered != Some(key))
    }
}
