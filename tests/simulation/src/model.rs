//! What clients were promised, and whether it is kept. It sees what clients ask, what they are told, and
//! every delivery as it leaves its queue; it knows nothing of how the core works.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use evergate_core::SessionId;
use evergate_model::{Address, AddressKind, ConsumerId, Delivery, Filter, QueueId, Seq, Time, TransactionId};

use crate::key::Key;
use crate::transaction::Transactions;

/// The text says which promise was broken.
pub type Check = Result<(), String>;

pub const DEAD_LETTERS: &str = "_DMQ";

#[derive(Debug, Default)]
pub struct Model {
    /// Starts of the node.
    pub starts: u32,
    pub sent: HashMap<Key, Sent>,
    pub queues: BTreeMap<QueueId, Queue>,
    pub transactions: Transactions,
    consumers: HashMap<(SessionId, ConsumerId), Consumer>,
    /// Numbers set on queues; `None`: a change is under way.
    marks: BTreeMap<(QueueId, u32), Option<bool>>,
    pub dispatched: u64,
    pub confirmed: u64,
}

/// A message as its producer sent it.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Sent {
    pub address: Address,
    pub durable: bool,
    pub retain: bool,
    pub expires: bool,
    /// How often it was sent without a mark to recognise it by.
    pub copies: u32,
    /// Its connection ended before the confirm: what follows on the next one does not wait for it.
    pub left_open: bool,
    pub transaction: Option<TransactionId>,
}

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Queue {
    name: String,
    durable: bool,
    /// Only a client's word deletes it.
    permanent: bool,
    since_start: u32,
    gone: bool,
    /// Some client asked to delete it.
    ending: bool,
    /// A client was told that it exists.
    promised: bool,
    /// A client was told that it is bound to this.
    filter: Option<Filter>,
    last_place: Seq,
    /// The last number that was handed out, for each producer and address.
    numbers: HashMap<(u32, Address), u64>,
    /// The same of messages in transactions, and the number that each stands behind.
    in_transactions: HashMap<(TransactionId, Address), u64>,
    floors: HashMap<(u32, Address), u64>,
    /// Which key stands at a place that was handed out.
    places: HashMap<Seq, Key>,
    copies: HashMap<Key, u32>,
    /// Confirmed messages that must reach a consumer; whether they survive a restart.
    owed: BTreeMap<Key, bool>,
    /// A consumer took it, or may have.
    taken: HashSet<Key>,
    rejected: HashSet<Key>,
    /// Places whose acceptance was confirmed.
    done: HashSet<Seq>,
}

#[derive(Debug)]
struct Consumer {
    queue: QueueId,
    settled: bool,
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
    }

    /// The connection ended before the confirm.
    pub fn left_open(&mut self, key: Key) {
        if let Some(sent) = self.sent.get_mut(&key) {
            sent.left_open = true;
        }
    }

    /// A message was routed: every confirmed subscription must be among its targets.
    pub fn routed(&self, address: &Address, found: &[(QueueId, bool)]) -> Check {
        for (id, queue) in &self.queues {
            let wants = address.kind == AddressKind::Topic
                && queue.filter.as_ref().is_some_and(|filter| filter.matches(&address.name));
            if wants && !queue.ending && !found.contains(&(*id, true)) {
                return Err(format!("{address} was not routed to {}, which is subscribed", queue.name));
            }
        }
        Ok(())
    }

    /// The queues whose confirmed subscription matches.
    pub fn subscribed(&self, address: &Address) -> Vec<(QueueId, bool)> {
        let wants = |queue: &Queue| queue.filter.as_ref().is_some_and(|filter| filter.matches(&address.name));
        self.queues.iter().filter(|(_, queue)| !queue.ending && wants(queue)).map(|(id, _)| (*id, true)).collect()
    }

    /// A producer was told that its message is safe with these queues.
    pub fn confirmed(&mut self, key: Key, targets: &[(QueueId, bool)]) {
        self.confirmed += 1;
        let Some(sent) = self.sent.get(&key) else { return };
        if sent.expires {
            return;
        }
        for (id, durable) in targets {
            if let Some(queue) = self.queues.get_mut(id).filter(|queue| !queue.gone) {
                queue.owed.insert(key, sent.durable && *durable);
            }
        }
    }

    pub fn created(&mut self, id: QueueId, name: &str, durable: bool) {
        let permanent = durable && !name.starts_with("$session/");
        let queue = Queue { name: name.into(), durable, permanent, since_start: self.starts, ..Queue::default() };
        self.queues.insert(id, queue);
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
            queue.filter = None;
        }
    }

    /// A client was told that the queue exists, and is bound to `filter`.
    pub fn promised(&mut self, id: QueueId, filter: Option<Filter>) {
        if let Some(queue) = self.queues.get_mut(&id).filter(|queue| !queue.gone && queue.durable) {
            queue.promised = true;
            if queue.permanent && !queue.ending && filter.is_some() {
                queue.filter = filter;
            }
        }
    }

    pub fn attached(&mut self, key: (SessionId, ConsumerId), queue: QueueId, settled: bool, limit_bytes: u64) {
        let consumer = Consumer { queue, settled, limit: 0, limit_bytes, delivered: 0, delivered_bytes: 0 };
        self.consumers.insert(key, consumer);
    }

    pub fn detached(&mut self, key: (SessionId, ConsumerId)) {
        self.consumers.remove(&key);
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
        if delivery.message.is_expired(now) {
            return Err("an expired message was delivered".into());
        }
        let (id, seq) = (consumer.queue, delivery.seq);
        let Some(key) = Key::of(&delivery.message) else { return Ok(()) };
        if let Some(transaction) = self.sent.get(&key).and_then(|sent| sent.transaction) {
            self.seen_in(transaction, key, is_committed(transaction))?;
        }
        let Some(consumer) = self.consumers.get_mut(&(session, delivery.consumer)) else { return Ok(()) };
        let (Some(queue), Some(sent)) = (self.queues.get_mut(&id), self.sent.get(&key)) else {
            return Err(format!("{key:?} came from nowhere"));
        };
        if queue.permanent && delivery.message.meta.durable && !is_live(id, seq) {
            return Err(format!("{key:?} was handed out by {} before its commit", queue.name));
        }
        if queue.done.contains(&seq) {
            return Err(format!("{key:?} came back to {} after its acceptance was confirmed", queue.name));
        }
        if consumer.settled {
            queue.taken.insert(key);
        }
        let behind = sent.transaction.and_then(|id| self.transactions.all.get(&id)).map(|it| (it.behind, it.left_open));
        queue.handed_out(key, sent, behind, delivery, self.starts)
    }

    /// A consumer's acceptance was confirmed, or it is not known whether it got through.
    pub fn accepted(&mut self, id: QueueId, places: &[(Seq, Key)], confirmed: bool) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        for (seq, key) in places {
            queue.taken.insert(*key);
            if confirmed {
                queue.done.insert(*seq);
            }
        }
    }

    pub fn rejected(&mut self, id: QueueId, key: Key) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.rejected.insert(key);
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
        self.consumers.clear();
        for (id, queue) in &mut self.queues {
            queue.owed.retain(|_, durable| *durable);
            queue.restarted(&self.sent);
            if found.contains(id) {
                // A deletion that was not committed did not happen.
                (queue.gone, queue.ending) = (false, false);
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
                let is_accounted_for = queue.taken.contains(key) || (queue.rejected.contains(key) && dead(key));
                if !is_accounted_for {
                    return Err(format!("{key:?} was confirmed and is lost from {}", queue.name));
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

    pub fn name(&self) -> &str {
        &self.name
    }

    fn end(&mut self) {
        self.gone = true;
        self.filter = None;
        self.owed.clear();
    }

    /// Places of messages that are not stored are used again after a restart.
    fn restarted(&mut self, sent: &HashMap<Key, Sent>) {
        if self.permanent {
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
        self.last_place = self.places.keys().max().copied().unwrap_or_default();
    }

    fn handed_out(
        &mut self,
        key: Key,
        sent: &Sent,
        behind: Option<(u64, bool)>,
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
        if seq <= self.last_place {
            return Err(format!("{key:?} at {seq:?} was handed out by {name} after {:?}", self.last_place));
        }
        self.last_place = seq;
        // Retained copies follow a subscription, whenever they were published; after a restart they look
        // like others.
        if delivery.retained || (sent.retain && delivery.redelivered) || name == DEAD_LETTERS {
            return Ok(());
        }
        let copies = self.copies.entry(key).or_insert(0);
        *copies += 1;
        if *copies > sent.copies {
            return Err(format!("{key:?} is in {name} {copies} times but was sent {} times", sent.copies));
        }
        let line = (key.producer, sent.address.clone());
        if let Some((transaction, (behind, left_open))) = sent.transaction.zip(behind) {
            let overtook = self.numbers.get(&line).copied().unwrap_or_default();
            if !left_open && overtook > behind {
                return Err(format!(
                    "{key:?} was handed out by {name} after {overtook}, which was sent after its commit"
                ));
            }
            let floor = self.floors.entry(line).or_insert(0);
            *floor = behind.max(*floor);
            let last = self.in_transactions.entry((transaction, sent.address.clone())).or_insert(0);
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
