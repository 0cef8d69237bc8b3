//! What clients were promised, and whether it is kept. It sees what clients ask, what they are told, and
//! every delivery as it leaves its queue; it knows nothing of how the core works.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use evergate_core::{ConsumerWants, SessionId};
use evergate_model::{
    Address, AddressKind, BODY_PREFIX, ConsumerId, Delivery, Dispatch, Filter, Outcome, QueueId, QueueSettings, Seq,
    Settle, Time, TransactionId,
};

use crate::bound::Interest;
use crate::in_force::InForce;
use crate::key::Key;
use crate::operations::Operations;
use crate::promises::{More, Wishes};
use crate::traits;
use crate::transaction::Transactions;

/// Messages that are handed out in order: of a producer to an address, by selector and priority.
type Line = (u32, Address, Option<u64>, u8);

/// The text says which promise was broken.
pub type Check = Result<(), String>;

pub const DEAD_LETTERS: &str = "_DMQ";

/// A word on deliveries, of whose consumer and on which queue.
pub type Pledge = (QueueId, (SessionId, ConsumerId), Settle);

#[derive(Debug, Default)]
pub struct Model {
    /// Starts of the node.
    pub starts: u32,
    pub sent: HashMap<Key, Sent>,
    pub queues: BTreeMap<QueueId, Queue>,
    pub transactions: Transactions,
    pub consumers: HashMap<(SessionId, ConsumerId), Consumer>,
    /// Numbers set on queues; `None`: a change is under way.
    marks: BTreeMap<(QueueId, u32), Option<bool>>,
    came: u64,
    /// What is to be settled when a transaction commits.
    pub pledges: HashMap<TransactionId, Vec<Pledge>>,
    pub dispatched: u64,
    pub confirmed: u64,
    pub operations: Operations,
}

/// A message as its producer sent it.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Sent {
    pub address: Address,
    pub durable: bool,
    pub retain: bool,
    pub expires: bool,
    pub priority: u8,
    pub deliver_at: Option<Time>,
    pub group: Option<String>,
    pub discardable: bool,
    /// How often it was sent without a mark to recognise it by.
    pub copies: u32,
    /// How often it was sent in all.
    pub times: u32,
    /// Its connection ended before the confirm: what follows on the next one does not wait for it.
    pub left_open: bool,
    pub transaction: Option<TransactionId>,
}

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Queue {
    pub name: String,
    durable: bool,
    /// Only a client's word deletes it.
    pub permanent: bool,
    since_start: u32,
    pub gone: bool,
    /// Some client asked to delete it.
    ending: bool,
    /// It was deleted because it was empty.
    pub retires: bool,
    /// A client was told that it exists.
    promised: bool,
    /// Which topics come into it.
    pub interest: Interest,
    /// The last place that was handed out, for each selector and priority.
    last_places: HashMap<(Option<u64>, u8), Seq>,
    /// The last number that was handed out, for each producer and address, selector and priority.
    numbers: HashMap<Line, u64>,
    /// The same of messages in transactions, and the number that each stands behind.
    in_transactions: HashMap<(TransactionId, Line), u64>,
    floors: HashMap<Line, u64>,
    pub more: More,
    pub in_force: InForce,
    /// Which key stands at a place that was handed out.
    pub places: HashMap<Seq, Key>,
    copies: HashMap<Key, u32>,
    /// Confirmed messages that must reach a consumer; whether they survive a restart.
    pub owed: BTreeMap<Key, bool>,
    /// A consumer took it, or may have.
    pub taken: HashSet<Key>,
    rejected: HashSet<Key>,
    /// Places of which it was confirmed that they were accepted or rejected.
    done: HashSet<Seq>,
}

#[derive(Debug)]
pub struct Consumer {
    pub queue: QueueId,
    pub wishes: Wishes,
    pub settled: bool,
    limit: u64,
    limit_bytes: u64,
    delivered: u64,
    delivered_bytes: u64,
}

impl Model {
    /// A producer sends, or sends again. `marked`: with a number that tells the two apart.
    pub fn sends(&mut self, key: Key, sent: Sent, marked: bool) {
        let known = self.sent.entry(key).or_insert(sent);
        known.copies += u32::from(!marked || known.copies == 0);
        known.times += 1;
    }

    /// The connection ended before the confirm.
    pub fn left_open(&mut self, key: Key) {
        if let Some(sent) = self.sent.get_mut(&key) {
            sent.left_open = true;
        }
    }

    /// A producer was told that its message is safe with these queues.
    pub fn confirmed(&mut self, key: Key, targets: &[(QueueId, bool)]) {
        self.confirmed += 1;
        let Some(sent) = self.sent.get(&key) else { return };
        for (id, durable) in targets {
            if let Some(queue) =
                self.queues.get_mut(id).filter(|queue| !queue.gone && !queue.more.purged.contains(&key))
            {
                queue.owed.insert(key, sent.durable && *durable);
            }
        }
    }

    /// A producer was told that its message is refused: nobody may have it.
    pub fn refused(&mut self, key: Key) -> Check {
        let Some(sent) = self.sent.get_mut(&key) else { return Ok(()) };
        sent.copies -= 1;
        for queue in self.queues.values() {
            let moved = self.operations.moved_to(&queue.name, key);
            if queue.copies.get(&key).is_some_and(|copies| *copies > sent.copies + moved) {
                return Err(format!("{key:?} was refused, but {} had it", queue.name));
            }
        }
        Ok(())
    }

    pub fn created(&mut self, id: QueueId, name: &str, durable: bool, settings: &Arc<QueueSettings>) {
        // Bodies go when nobody refers to them; that they are there as long as somebody does, deliveries show.
        let permanent = durable && !name.starts_with("$session/") && !name.starts_with(BODY_PREFIX);
        let mut in_force = InForce::default();
        in_force.change(settings.clone(), &[]);
        let since_start = self.starts;
        let queue = Queue { name: name.into(), durable, permanent, since_start, in_force, ..Queue::default() };
        self.queues.insert(id, queue);
        self.was_told(id, settings);
    }

    /// The queue is deleted in its shard.
    pub fn deleted(&mut self, id: QueueId) -> Check {
        let Some(queue) = self.queues.get_mut(&id) else { return Ok(()) };
        if queue.permanent && !queue.ending {
            return Err(format!("{} was deleted, though nobody asked for it", queue.name));
        }
        queue.end();
        self.consumers.retain(|_, consumer| consumer.queue != id);
        Ok(())
    }

    pub fn is_gone(&self, id: QueueId) -> bool {
        self.queues.get(&id).is_none_or(|queue| queue.gone)
    }

    /// A client asks that the queue be deleted.
    pub fn ends(&mut self, id: QueueId) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.ending = true;
            queue.interest.end();
        }
    }

    /// The directory deletes a queue that nobody needs: in the end all that it owes must have been taken.
    pub fn retires(&mut self, id: QueueId) {
        self.ends(id);
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.retires = true;
        }
    }

    /// A client was told that the queue exists, and is bound to `filter`.
    pub fn promised(&mut self, id: QueueId, filter: Option<Filter>) {
        if let Some(queue) = self.queues.get_mut(&id).filter(|queue| !queue.gone && queue.durable) {
            queue.promised = true;
            if let Some(filter) = filter.filter(|_| queue.permanent && !queue.ending) {
                queue.interest.subscribes(filter);
            }
        }
    }

    pub fn attached(&mut self, key: (SessionId, ConsumerId), queue: QueueId, wants: &ConsumerWants, limit_bytes: u64) {
        self.came += 1;
        let is_stream = self.queues.get(&queue).is_some_and(|queue| queue.name == "stream");
        let (settled, wishes) = (wants.settled, Wishes::of(wants, is_stream, self.came));
        let consumer = Consumer { queue, wishes, settled, limit: 0, limit_bytes, delivered: 0, delivered_bytes: 0 };
        self.consumers.insert(key, consumer);
    }

    pub fn detached(&mut self, key: (SessionId, ConsumerId)) {
        if let Some(consumer) = self.consumers.remove(&key)
            && let Some(queue) = self.queues.get_mut(&consumer.queue)
        {
            queue.more.held.retain(|_, (holder, _)| *holder != key);
        }
    }

    pub fn credit(&mut self, key: (SessionId, ConsumerId), limit: u64) {
        if let Some(consumer) = self.consumers.get_mut(&key) {
            consumer.limit = limit;
        }
    }

    pub fn window(&mut self, key: (SessionId, ConsumerId), limit_bytes: u64) {
        if let Some(consumer) = self.consumers.get_mut(&key) {
            consumer.limit_bytes = limit_bytes;
        }
    }

    /// A shard hands out a message. `is_live`: the journal has it there, committed and not settled.
    pub fn dispatched(
        &mut self,
        now: Time,
        session: SessionId,
        delivery: &Delivery,
        is_live: impl Fn(QueueId, Seq) -> bool,
        is_committed: impl Fn(TransactionId) -> bool,
    ) -> Check {
        self.dispatched += 1;
        let Some(consumer) = self.consumers.get_mut(&(session, delivery.consumer)) else {
            return Err(format!("{session:?} got a delivery for {:?}, which is not attached", delivery.consumer));
        };
        let size_bytes = delivery.message.size_bytes();
        if consumer.delivered >= consumer.limit {
            return Err(format!("{session:?} was sent more than its credit of {}", consumer.limit));
        }
        if consumer.delivered_bytes >= consumer.limit_bytes {
            return Err(format!("{session:?} was sent more than its window of {} bytes", consumer.limit_bytes));
        }
        consumer.delivered += 1;
        consumer.delivered_bytes += size_bytes;
        if delivery.message.is_expired(now) && !consumer.wishes.copies {
            return Err("an expired message was delivered".into());
        }
        let (id, seq) = (consumer.queue, delivery.seq);
        let Some(key) = Key::of(&delivery.message) else { return Ok(()) };
        if let Some(transaction) = self.sent.get(&key).and_then(|sent| sent.transaction) {
            self.seen_in(transaction, key, is_committed(transaction))?;
        }
        let Some(consumer) = self.consumers.get_mut(&(session, delivery.consumer)) else { return Ok(()) };
        let selector = consumer.wishes.selector;
        let is_settled = consumer.settled;
        if self.check_wishes(now, (session, delivery.consumer), key, delivery)? {
            return Ok(());
        }
        let (Some(queue), Some(sent)) = (self.queues.get_mut(&id), self.sent.get(&key)) else {
            return Err(format!("{key:?} came from nowhere"));
        };
        let is_eager = queue.in_force.settings.dispatch == Dispatch::Eager;
        if queue.permanent && delivery.message.meta.durable && !is_eager && !is_live(id, seq) {
            return Err(format!("{key:?} was handed out by {} before its commit", queue.name));
        }
        if queue.done.contains(&seq) {
            return Err(format!(
                "{key:?} came back to {} after a consumer's last word on it was confirmed",
                queue.name
            ));
        }
        if is_settled {
            queue.taken.insert(key);
        }
        let behind = sent.transaction.and_then(|id| self.transactions.all.get(&id)).map(|it| (it.behind, it.left_open));
        let moved = (self.operations.times_moved(key), self.operations.moved_to(&queue.name, key));
        queue.handed_out(key, sent, moved, (behind, selector), delivery, self.starts)
    }

    /// A consumer's word was confirmed, or it is not known whether it got through.
    pub fn settled(&mut self, id: QueueId, places: &[(Seq, Key)], outcome: &Outcome, confirmed: bool) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        for (seq, key) in places {
            match outcome {
                Outcome::Accept => queue.taken.insert(*key),
                Outcome::Reject { .. } => queue.rejected.insert(*key),
                Outcome::Release | Outcome::Unsent | Outcome::Unreadable | Outcome::Modify { .. } => return,
            };
            // An outcome that is told after a restart may be of another message, whose place was used again.
            if confirmed && queue.places.get(seq) == Some(key) {
                queue.done.insert(*seq);
            }
        }
    }

    /// A number on a queue is known (`Some`), or being changed.
    pub fn mark(&mut self, id: QueueId, number: u32, set: Option<bool>) {
        self.marks.insert((id, number), set);
    }

    /// A client is told the numbers of its queue.
    pub fn marks_told(&self, id: QueueId, told: &[u32]) -> Check {
        for ((_, number), set) in self.marks.range((id, 0)..=(id, u32::MAX)) {
            if set.is_some_and(|set| set != told.contains(number)) {
                return Err(format!("number {number} of {id:?} is wrong after attaching: told {told:?}"));
            }
        }
        Ok(())
    }

    /// The node starts anew with these queues.
    pub fn restarted(&mut self, found: &BTreeSet<QueueId>) -> Check {
        self.starts += 1;
        self.operations.crashed(found)?;
        self.consumers.clear();
        self.pledges.clear();
        for (id, queue) in &mut self.queues {
            queue.owed.retain(|_, durable| *durable);
            queue.restarted(&self.sent);
            if found.contains(id) {
                // A deletion that was not committed did not happen.
                (queue.gone, queue.ending, queue.retires) = (false, false, false);
                continue;
            }
            if queue.gone {
                continue;
            }
            if queue.permanent && !queue.ending && (queue.promised || !queue.owed.is_empty()) {
                return Err(format!("{} was there before the crash and is gone", queue.name));
            }
            queue.end();
        }
        Ok(())
    }

    /// Everything was consumed: nothing that was confirmed may be missing.
    pub fn nothing_is_lost(&self) -> Check {
        let dead = |key| self.queues.values().any(|queue| queue.name == DEAD_LETTERS && queue.taken.contains(key));
        for queue in self.queues.values() {
            for key in queue.owed.keys() {
                let may_be_dead = queue.rejected.contains(key)
                    || self.sent.get(key).is_some_and(|sent| sent.expires)
                    || traits::dead_letters(&queue.name);
                let is_accounted_for =
                    queue.taken.contains(key) || (may_be_dead && dead(key)) || self.may_be_dropped(queue, *key);
                if !is_accounted_for {
                    let by = &queue.in_force.settings;
                    return Err(format!("{key:?} was confirmed and is lost from {}, which goes by {by:?}", queue.name));
                }
            }
        }
        Ok(())
    }
}

impl Queue {
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Somebody asked to delete it.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    fn end(&mut self) {
        self.gone = true;
        self.interest.end();
        if !self.retires {
            self.owed.clear();
        }
        self.more.held.clear();
    }

    /// Places of messages that are not stored are used again after a restart.
    fn restarted(&mut self, sent: &HashMap<Key, Sent>) {
        // What an eager queue handed out before its commit was perhaps never there.
        if self.permanent && !self.in_force.was_eager {
            self.places.retain(|_, key| sent.get(key).is_some_and(|sent| sent.durable));
        } else {
            // Some of its bindings do not store: which places those had is not known here.
            self.places.clear();
            self.numbers.clear();
            self.floors.clear();
            self.in_transactions.clear();
            self.copies.clear();
        }
        self.done.retain(|seq| self.places.contains_key(seq));
        // The consumers' classes begin anew.
        self.last_places.clear();
        self.more.restarted();
        self.in_force.restarted();
    }

    fn handed_out(
        &mut self,
        key: Key,
        sent: &Sent,
        (times_moved, moved_to): (u32, u32),
        (behind, selector): (Option<(u64, bool)>, Option<u64>),
        delivery: &Delivery,
        starts: u32,
    ) -> Check {
        let (name, seq) = (&self.name, delivery.seq);
        if let Some(before) = self.places.insert(seq, key) {
            if before != key {
                return Err(format!("place {seq:?} of {name} had {before:?} and now {key:?}"));
            }
            if !delivery.redelivered {
                return Err(format!("{key:?} was handed out twice by {name} without being flagged"));
            }
            return Ok(());
        }
        if delivery.redelivered && self.since_start == starts {
            return Err(format!("{key:?} is flagged by {name} as handed out before, which it was not"));
        }
        if name == DEAD_LETTERS {
            return self.more.is_one_letter(key, sent, times_moved, delivery);
        }
        // What is scheduled comes at its time, what is grouped waits for its consumer, what was to be moved and was not
        // comes back: others pass.
        let is_in_line = sent.deliver_at.is_none() && sent.group.is_none() && times_moved == 0;
        let is_in_line = is_in_line && !self.in_force.unwanted_once.contains(&key);
        let line = (selector, sent.priority);
        let last = self.last_places.entry(line).or_default();
        if is_in_line && seq <= *last {
            return Err(format!("{key:?} at {seq:?} was handed out by {name} after {last:?}"));
        }
        if is_in_line {
            *last = seq;
        }
        // Retained copies follow a subscription, whenever they were published; after a restart they look
        // like others.
        if delivery.retained || (sent.retain && delivery.redelivered) {
            return Ok(());
        }
        let copies = self.copies.entry(key).or_insert(0);
        *copies += 1;
        let is_sent_elsewhere = sent.address.kind == AddressKind::Queue && *sent.address.name != **name;
        let copies_max = match moved_to {
            0 if name == "once" && sent.durable => 1,
            0 => sent.copies,
            _ if is_sent_elsewhere => moved_to,
            _ => moved_to + sent.copies,
        };
        if *copies > copies_max {
            return Err(format!("{key:?} is in {name} {copies} times but was sent {copies_max} times"));
        }
        if !is_in_line {
            return Ok(());
        }
        let line = (key.producer, sent.address.clone(), selector, sent.priority);
        if let Some((transaction, (behind, left_open))) = sent.transaction.zip(behind) {
            let overtook = self.numbers.get(&line).copied().unwrap_or_default();
            if !left_open && overtook > behind {
                return Err(format!(
                    "{key:?} was handed out by {name} after {overtook}, which was sent after its commit"
                ));
            }
            let floor = self.floors.entry(line.clone()).or_insert(0);
            *floor = behind.max(*floor);
            let last = self.in_transactions.entry((transaction, line)).or_insert(0);
            if key.number <= *last {
                return Err(format!("{key:?} was handed out by {name} after number {last} of its transaction"));
            }
            *last = key.number;
            return Ok(());
        }
        let floor = self.floors.get(&line).copied().unwrap_or_default();
        if !sent.left_open && key.number <= floor {
            return Err(format!("{key:?} was handed out by {name} after a transaction that was sent after {floor}"));
        }
        let last = self.numbers.entry(line).or_insert(0);
        if !sent.left_open && key.number <= *last {
            return Err(format!("{key:?} was handed out by {name} after number {last}"));
        }
        *last = key.number.max(*last);
        Ok(())
    }
}
